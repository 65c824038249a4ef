//! Answers that the driver recorded, over scripted nodes in paused time: their replay takes equally long.

use std::{future::pending, sync::Arc, time::Duration};

use answer::{
    Node, Outcome, Progress, Question, Run, Settings, Writer, answer,
    journal::{Header, Journal, JournalWriter},
    progress::{DeltaLog, LoggedDelta},
};
use lab::replay::{Conditions, RecordedOver, Recording, Replayed, replay};
use thinking::{
    beginning::AnswerBeginning,
    policy::{PolicyKind, PolicySpec, Preset, Role, Rules, Why},
    stops::StopTexts,
    testing::{Options, Script, ScriptedThinker},
    thinker::Thinker,
};

use crate::{
    by_hand::{question, story},
    journal, over,
};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// An answer, and what the driver recorded of it.
pub(crate) struct Driven {
    pub(crate) journal: Journal,
    pub(crate) outcome: Outcome,
}

impl Driven {
    pub(crate) fn recording(&self) -> Recording {
        Recording::new(&self.journal, RecordedOver::Loopback).unwrap()
    }

    /// Returns how many events match.
    pub(crate) fn count(&self, like: impl Fn(&Progress) -> bool) -> usize {
        self.journal.events.iter().filter(|stamped| like(&stamped.progress)).count()
    }

    /// Returns the same as older programs would have recorded it.
    pub(crate) fn without_deltas(&self) -> Driven {
        let (mut journal, outcome) = (self.journal.clone(), self.outcome.clone());
        for stamped in &mut journal.events {
            if let Progress::Finished(finished) = &mut stamped.progress {
                finished.deltas = DeltaLog::default();
            }
        }
        Driven { journal, outcome }
    }
}

/// Writes a paragraph, doubts in the next one, and concludes when there is enough.
fn small_script() -> Script {
    Script::function(|committed, _| {
        let paragraph = "We add 数学 and count on from there up to the very end";
        let words = paragraph.split_inclusive(' ').chain([".", "\n\n"]);
        let more = words.chain(["Wait", ",", " is", " it", " 5", "?"]);
        let tokens: Vec<&str> = match committed.len() {
            0..900 => more.collect(),
            _ => vec!["So", " 4", "."],
        };
        tokens.iter().map(|token| (*token).to_owned()).collect()
    })
}

/// Verifies for as long as it may.
fn large_script() -> Script {
    let paragraph = ["Let", " me", " check", " 🙂", " again", ".", "\n\n"];
    Script::function(move |_, _| paragraph.repeat(20).into_iter().map(str::to_owned).collect())
}

/// Asks scripted nodes a question. `read_ms`: how long the large one takes to read a token.
pub(crate) async fn driven(spec: PolicySpec, read_ms: u64) -> Driven {
    asked(question("q"), spec, read_ms).await
}

async fn asked(question: Question, spec: PolicySpec, read_ms: u64) -> Driven {
    let node = |name: &str, script, token_ms, prefill_ms| {
        let (token_delay, prefill_delay) = (ms(token_ms), ms(prefill_ms));
        let options = Options { token_delay, prefill_delay, ..Options::default() };
        let thinker: Arc<dyn Thinker> = Arc::new(ScriptedThinker::with_options(script, options));
        Node::new(name, thinker)
    };
    let settings = Settings::default();
    let policy = spec.build(question.seed, question.max_tokens).unwrap();
    let small = [node("s", small_script(), 10, 1)].into_iter().collect();
    let large = spec.kind().uses_large().then(|| node("l", large_script(), 25, read_ms));
    let names = (vec!["s".to_owned()], large.iter().map(|node| node.name.clone()));
    let header = Header::new(&question, spec, settings, names.0, names.1);
    let mut bytes = Vec::new();
    let mut writer = JournalWriter::new(&mut bytes, &header).unwrap();
    let large = large.into_iter().collect();
    let run = Run { question, small, large, policy, settings };
    let outcome = answer(run, &mut writer, pending()).await;
    writer.finish().unwrap();
    Driven { journal: Journal::read(&bytes[..], "j").unwrap(), outcome }
}

pub(crate) fn every_policy() -> Vec<PolicySpec> {
    // Answers with a review or with marks are not replayed.
    let is_replayed = |kind: &&PolicyKind| !kind.reviews() && **kind != PolicyKind::Score;
    let kinds = PolicyKind::ALL.iter().filter(is_replayed);
    let mut specs: Vec<_> = kinds.map(|kind| PolicySpec::new(*kind, Preset::Reasoning)).collect();
    specs.extend(
        [PolicyKind::Strict, PolicyKind::Paper].map(|k| PolicySpec::new(k, Preset::Instruct)),
    );
    specs.push(recaps());
    for spec in &mut specs {
        if let Rules::Periodic { period_tokens, .. } = &mut spec.rules {
            *period_tokens = 30;
        }
        // Scattered tokens are rare; this share gives the answer some.
        if let Rules::RandomToken { share } = &mut spec.rules {
            *share = 0.3;
        }
    }
    specs
}

/// The default policy with a recap sentence at every second reflection.
fn recaps() -> PolicySpec {
    let mut spec = PolicySpec::default();
    if let Rules::Strict(config) = &mut spec.rules {
        (config.reflections_before_recap, config.reflections_growth) = (1, 0);
    }
    spec
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_judged_is_not_replayed() {
    let driven = driven(PolicySpec::new(PolicyKind::Review, Preset::Reasoning), 2).await;
    let refused = Recording::new(&driven.journal, RecordedOver::Loopback).unwrap_err();
    assert!(refused.to_string().contains("reviewed it"), "{refused}");
    let driven = self::driven(PolicySpec::new(PolicyKind::Score, Preset::Reasoning), 2).await;
    let refused = Recording::new(&driven.journal, RecordedOver::Loopback).unwrap_err();
    assert!(refused.to_string().contains("asked for marks"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_the_driver_recorded_takes_as_long_in_replay_whatever_the_policy() {
    for spec in every_policy() {
        let driven = driven(spec.clone(), 2).await;
        let summary = &driven.outcome.summary;
        let has_takeovers = spec.kind().has_takeovers();
        assert_eq!(has_takeovers, !summary.takeovers.is_empty(), "{spec:?}");
        // Reading the recording already checks that its text is the recorded one.
        let replayed = replay(&driven.recording(), &Conditions::none()).unwrap();
        assert_eq!(replayed.diverged, None, "{spec:?}");
        assert_eq!(replayed.time, summary.time, "{spec:?}");
        assert_eq!(replayed.takeovers, summary.takeovers, "{spec:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_on_from_a_beginning_and_meets_no_stop_text_is_replayed() {
    let content = "It is 4, since 数学".to_owned();
    let beginning = AnswerBeginning { content, ..AnswerBeginning::default() };
    // A text that begins in every paragraph and is never completed.
    let stop = StopTexts { texts: vec!["on from there\n".to_owned()], in_thought: true };
    let question = Question { beginning, stop, ..question("q") };
    let driven = asked(question.clone(), PolicySpec::default(), 2).await;
    assert!(driven.outcome.text().contains("on from there up"));
    let replayed = replay(&driven.recording(), &Conditions::none()).unwrap();
    assert_eq!(replayed.time, driven.outcome.summary.time);
    let stop = StopTexts { texts: vec!["very end.\n\nL".to_owned()], in_thought: true };
    let stopped = asked(Question { stop, ..question }, PolicySpec::default(), 2).await;
    let refused = Recording::new(&stopped.journal, RecordedOver::Loopback).unwrap_err();
    assert!(refused.to_string().contains("a stop text"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_recap_sentence_that_was_shown_in_pieces_is_replayed_as_one() {
    let whole = driven(recaps(), 2).await;
    let recap = whole.outcome.transcript.spans().iter().find(|span| span.writer == Writer::Policy);
    let recap = recap.unwrap().text.clone();
    let from = recap.floor_char_boundary(recap.len() / 2);
    // Never completed: it holds back the sentence's second half, or all of it, until more text comes.
    for begin in [&recap[from..], &recap] {
        let stop = StopTexts { texts: vec![format!("{begin}\u{1}")], in_thought: true };
        let driven = asked(Question { stop, ..question("q") }, recaps(), 2).await;
        let pieces = driven.count(
            |progress| matches!(progress, Progress::Text(text) if text.writer == Writer::Policy),
        );
        let recaps = whole.count(
            |progress| matches!(progress, Progress::Text(text) if text.writer == Writer::Policy),
        );
        let halves = if begin.len() < recap.len() { 2 } else { 1 };
        assert_eq!(pieces, halves * recaps, "{begin:?}");
        let replayed = replay(&driven.recording(), &Conditions::none()).unwrap();
        assert_eq!(replayed.diverged, None, "{begin:?}");
        assert_eq!(replayed.time, driven.outcome.summary.time, "{begin:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_model_alone_needs_no_large_node() {
    let driven = driven(PolicySpec::new(PolicyKind::SmallOnly, Preset::Reasoning), 2).await;
    let replayed = over(&driven.recording(), "geo");
    assert_eq!(replayed.time, driven.outcome.summary.time);
}

#[tokio::test(start_paused = true)]
async fn each_stretch_of_the_large_model_takes_a_round_trip_more() {
    for spec in [PolicySpec::default(), PolicySpec::new(PolicyKind::Strict, Preset::Instruct)] {
        let driven = driven(spec, 0).await;
        let summary = &driven.outcome.summary;
        let far = over(&driven.recording(), "rtt=100ms");
        let asks = u64::from(summary.large.asks);
        let begins_small = summary.takeovers[0].why != Why::Begin;
        assert_eq!(begins_small, far.time.first_text_us == summary.time.first_text_us);
        assert_eq!(far.time.total_us, summary.time.total_us + asks * 100_000);
        let verifies = |takeover: &&answer::Takeover| takeover.why == Why::Verification;
        assert!(far.takeovers.iter().any(|takeover| verifies(&takeover)));
        for (far, near) in far.takeovers.iter().zip(&summary.takeovers) {
            assert_eq!(far.handoff_us, near.handoff_us.map(|us| us + 100_000));
            assert_eq!(
                (far.why, far.tokens, far.text_bytes),
                (near.why, near.tokens, near.text_bytes)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_instruct_pairs_paragraphs_are_shown_as_they_are_written() {
    // Nothing is watched, so nothing is held back for a window after a break.
    let driven = driven(PolicySpec::new(PolicyKind::Strict, Preset::Instruct), 2).await;
    let unsettled = driven.count(|progress| match progress {
        Progress::Finished(finished) => {
            finished.deltas.iter().any(|delta| delta.settled < delta.end)
        }
        _ => false,
    });
    assert_eq!(unsettled, 0);
    // The same holds for a journal without pieces: the large node reads the shown text equally early.
    let older = over(&driven.without_deltas().recording(), "rtt=100ms");
    let newer = over(&driven.recording(), "rtt=100ms");
    let waited_us = |replayed: &Replayed| -> u64 {
        replayed.takeovers.iter().filter_map(|takeover| takeover.handoff_us).sum()
    };
    let apart_us = waited_us(&older).abs_diff(waited_us(&newer));
    assert!(apart_us < 10_000, "{apart_us}");
}

#[tokio::test(start_paused = true)]
async fn journals_tell_in_which_pieces_a_proposal_came() {
    let driven = driven(PolicySpec::default(), 2).await;
    let mut held_back = 0;
    for stamped in &driven.journal.events {
        let Progress::Finished(finished) = &stamped.progress else { continue };
        let deltas: Vec<LoggedDelta> = finished.deltas.iter().collect();
        assert_eq!(deltas[0].at_us, finished.first_text_us.unwrap());
        assert_eq!(deltas.last().unwrap().end, finished.bytes);
        let pace_us = if finished.role == Role::Small { 10_000 } else { 25_000 };
        for pair in deltas.windows(2) {
            assert_eq!(pair[1].at_us - pair[0].at_us, pace_us);
        }
        held_back += deltas.iter().filter(|delta| delta.settled < delta.end).count();
    }
    assert!(held_back > 0, "the window after a break is open");
}

/// The takeover's hand-over time when the small model's pieces come after these fractions of its time.
fn handoff_us(share: impl Fn(u64) -> f64) -> u64 {
    let mut stretches = story();
    stretches[0].read_us = 80_000;
    let mut journal = journal(&stretches);
    let first = journal.events.iter_mut().find_map(|stamped| match &mut stamped.progress {
        Progress::Finished(finished) => Some(finished),
        _ => None,
    });
    let first = first.unwrap();
    let (begin_us, wall_us) = (first.first_text_us.unwrap(), first.wall_us);
    let delta = |n: u64| {
        let at_us = begin_us + ((wall_us - begin_us) as f64 * share(n)) as u64;
        LoggedDelta { at_us, end: 4 * n, tokens: 1, settled: 4 * n }
    };
    first.deltas = (1..=50).map(delta).collect();
    let recording = Recording::new(&journal, RecordedOver::Loopback).unwrap();
    over(&recording, "rtt=1ms").takeovers[0].handoff_us.unwrap()
}

#[test]
fn tokens_come_when_they_were_recorded_to_come() {
    let even_us = handoff_us(|n| (n - 1) as f64 / 49.0);
    // Text that comes at the end can only be read then.
    let late_us = handoff_us(|n| if n == 1 { 0.0 } else { 1.0 });
    assert!(late_us > even_us + 50_000, "{late_us} and {even_us}");
}
