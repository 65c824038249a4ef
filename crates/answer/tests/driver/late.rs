//! Takeovers that come too late, and what the small model writes meanwhile.

use std::{sync::Arc, time::Duration};

use answer::{Ended, Outcome, Progress, Run, Settings};
use thinking::{
    policy::{End, Limits, Why},
    testing::{FaultKind, Options, Script, ScriptedThinker},
    thinker::{Append, Command, Thinker},
};

use crate::support::{
    Far, STORY, Seen, answered, fails, fault, large_script, limited, question, run, small_script,
    strict, thinker,
};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The story if the small model answers its doubt itself.
pub(crate) const ALONE: &str = "We add 数学.\n\nWait, is it 5?";

fn within(run: Run, limits: Limits) -> Run {
    Run { policy: limited(limits, run.question.max_tokens), ..run }
}

fn impatient(run: Run, deadline: Duration) -> Run {
    within(run, Limits { deadline: Some(deadline), ..Limits::default() })
}

pub(crate) fn overlapped(run: Run, tokens: u32) -> Run {
    within(run, Limits { overlap_tokens: Some(tokens), ..Limits::default() })
}

fn far(near: &Arc<ScriptedThinker>, one_way: Duration) -> Arc<dyn Thinker> {
    Arc::new(Far { near: Arc::clone(near), one_way })
}

/// Returns how long the abandoned takeovers were waited for, in microseconds.
pub(crate) fn waits_us(seen: &Seen) -> Vec<u64> {
    let waited = |progress: &Progress| match progress {
        Progress::Abandoned(abandoned) => Some(abandoned.waited_us),
        _ => None,
    };
    seen.0.iter().filter_map(|stamped| waited(&stamped.progress)).collect()
}

/// Returns what a node was sent: appends with their text, and other commands by name.
fn sent(thinker: &ScriptedThinker) -> Vec<String> {
    let name = |command| match command {
        Command::Open(_) => "open".to_owned(),
        Command::Append(Append { text, .. }) => format!("append {text}"),
        Command::Propose(_) => "propose".to_owned(),
        Command::Commit { bytes } => format!("commit {bytes}"),
        Command::Cancel => "cancel".to_owned(),
        Command::Cut(cut) => format!("cut {}", cut.bytes),
    };
    thinker.commands().into_iter().map(|(_, command)| name(command)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_small_model_goes_on_at_the_deadline_where_the_takeover_would_have_begun() {
    let (small, large) = (thinker(small_script(), vec![]), thinker(large_script(), vec![]));
    let run = run(&[small], Some(far(&large, ms(500))));
    let (outcome, seen) = answered(impatient(run, ms(300))).await;
    assert_eq!(outcome.text(), ALONE);
    assert_eq!(outcome.ended, Ended::Complete(End::EndOfText));
    let summary = &outcome.summary;
    assert_eq!((summary.abandoned, summary.takeovers.len()), (1, 0));
    assert_eq!(summary.degraded, None, "late is not dead");
    assert_eq!(waits_us(&seen), [300_000]);
    assert_eq!(summary.time.large.network_us, 300_000, "the wait is accounted for");
    // 7 tokens to the doubt, the wait, then 6 tokens and the end of text.
    assert_eq!(summary.time.total_us, 70_000 + 300_000 + 70_000);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_in_time_is_as_if_there_were_no_deadline() {
    let mut seen = Vec::new();
    for deadline in [None, Some(ms(125))] {
        let (small, large) = (thinker(small_script(), vec![]), thinker(large_script(), vec![]));
        let run = run(&[small], Some(far(&large, ms(50))));
        let run = match deadline {
            Some(deadline) => impatient(run, deadline),
            None => run,
        };
        let (outcome, events) = answered(run).await;
        assert_eq!(outcome.text(), STORY);
        assert_eq!(outcome.summary.abandoned, 0);
        assert_eq!(outcome.summary.takeovers[0].handoff_us, Some(110_000));
        seen.push(events.0);
    }
    assert_eq!(seen[0], seen[1]);
}

/// A small model that doubts in every paragraph and ends after this many.
pub(crate) fn doubtful(paragraphs: usize) -> Script {
    Script::function(move |committed, _| {
        let written = committed.matches("\n\n").count();
        let doubt = ["Wait", ",", " is", " it", " so", "?", "\n\n"];
        let left = paragraphs.saturating_sub(written);
        doubt.iter().cycle().take(7 * left).map(|token| (*token).to_owned()).collect()
    })
}

#[tokio::test(start_paused = true)]
async fn the_next_takeover_is_asked_for_before_the_end_of_the_one_before_is_here() {
    let (small, large) = (thinker(doubtful(6), vec![]), thinker(large_script(), vec![]));
    let run = run(&[small], Some(far(&large, ms(400))));
    let (outcome, seen) = answered(impatient(run, ms(30))).await;
    assert_eq!(outcome.text(), "Wait, is it so?\n\n".repeat(6));
    // The first paragraph follows no break, and after the last one nothing is left to write.
    assert_eq!((outcome.summary.abandoned, outcome.summary.takeovers.len()), (5, 0));
    assert_eq!(waits_us(&seen), [30_000; 5], "each waits for itself alone");
    assert_eq!(outcome.summary.hash_repairs, 0);
    let (asks, ends) = (
        seen.count(|p| matches!(p, Progress::Ask(ask) if ask.why == Why::Reflection)),
        seen.count(|p| matches!(p, Progress::Finished(end) if end.reason == "cancelled")),
    );
    assert!(asks == 5 && ends < 3, "{asks} asked, {ends} ended when the answer did");
}

#[tokio::test(start_paused = true)]
async fn the_large_node_stays_warm_and_can_take_over_later() {
    // The first takeover is late because the large model takes long to prefill; later ones are not.
    let large = Arc::new(ScriptedThinker::with_options(
        large_script(),
        Options { prefill_delay: ms(5), token_delay: ms(10), ..Options::default() },
    ));
    let small =
        thinker(Script::text(format!("{}{}", "so ".repeat(60), "\n\nWait, so?".repeat(6))), vec![]);
    let mut run = run(&[small], Some(far(&large, ms(5))));
    run.settings = Settings { keep_warm: false, ..Settings::default() };
    let (outcome, seen) = answered(impatient(run, ms(120))).await;
    let summary = &outcome.summary;
    assert!(summary.abandoned > 0 && !summary.takeovers.is_empty(), "{summary:?}");
    assert_eq!((summary.hash_repairs, &summary.degraded), (0, &None));
    assert_eq!(large.started_sessions(), 1, "the session was never opened again");
    let commands = sent(&large);
    let cancel = commands.iter().position(|command| command == "cancel").unwrap();
    assert_eq!(commands[cancel - 1..=cancel + 1], ["propose", "cancel", "commit 0"]);
    assert!(commands[cancel + 2].starts_with("append Wait, so?"), "{commands:?}");
    // The ends of abandoned proposals arrived while the other model wrote.
    assert!(seen.count(|p| matches!(p, Progress::Finished(f) if f.reason == "cancelled")) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_far_behind_is_asked_no_more() {
    let (small, large) = (thinker(doubtful(40), vec![]), thinker(large_script(), vec![]));
    let run = run(&[small], Some(far(&large, ms(20_000))));
    let (outcome, seen) = answered(impatient(run, ms(30))).await;
    let waits = waits_us(&seen);
    assert!(waits.len() > 12, "every takeover is given up: {waits:?}");
    assert!(waits[..8].iter().all(|us| *us == 30_000) && waits[8..].iter().all(|us| *us == 0));
    assert_eq!((outcome.summary.degraded, outcome.summary.takeovers.len()), (None, 0));
    tokio::time::sleep(ms(60_000)).await;
    let proposals = sent(&large).into_iter().filter(|command| command == "propose").count();
    assert!(proposals <= 8, "{proposals}");
}

#[tokio::test(start_paused = true)]
async fn what_the_large_node_made_for_nothing_is_counted() {
    let large = thinker(Script::babble(), vec![]);
    let small = thinker(doubtful(40), vec![]);
    let mut run = run(&[small], Some(far(&large, ms(50))));
    run.question = question(1000);
    let (outcome, _) = answered(impatient(run, ms(90))).await;
    let (summary, made) = (&outcome.summary, large.computed_tokens());
    assert_eq!(summary.takeovers.len(), 0);
    assert!(summary.abandoned > 5);
    // From when the ask arrives until the cancel arrives 90 ms later it writes 9 tokens each time. All are counted
    // except what was still in flight when the answer ended.
    let told = summary.large.discarded_tokens;
    assert!(made <= 9 * u64::from(summary.abandoned) && told + 9 >= made, "{told} of {made}");
}

#[tokio::test(start_paused = true)]
async fn a_large_node_that_never_says_more_is_dead_and_not_late() {
    let text = format!("So.\n\nWait, {}", "and so on ".repeat(300));
    for kind in [FaultKind::Silence, fails(thinking::thinker::Code::Unavailable, "it crashed")] {
        let is_silent = matches!(kind, FaultKind::Silence);
        let after = if is_silent { 0 } else { 1 };
        // Open, one append, propose.
        let large = thinker(large_script(), vec![fault(2, after, kind)]);
        let mut run =
            run(&[thinker(Script::text(text.clone()), vec![])], Some(far(&large, ms(100))));
        (run.question, run.policy) = (question(2000), strict(2000));
        run.settings =
            Settings { large_timeout: ms(5000), keep_warm: false, ..Settings::default() };
        let (outcome, _) = answered(impatient(run, ms(150))).await;
        assert_eq!(outcome.text(), text);
        let reason = if is_silent { "it gave no sign of life for 5s" } else { "it crashed" };
        let degraded = outcome.summary.degraded.as_deref();
        assert_eq!(degraded, Some(format!("large node large: {reason}").as_str()));
        assert_eq!(outcome.summary.abandoned, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_this_process_makes_no_takeover_late() {
    let (small, large) = (thinker(small_script(), vec![]), thinker(large_script(), vec![]));
    let run = impatient(run(&[small], Some(far(&large, ms(50)))), ms(300));
    let pause = async {
        tokio::time::sleep(ms(75)).await;
        tokio::time::advance(Duration::from_secs(5)).await;
        std::future::pending().await
    };
    let mut seen = Seen::default();
    let outcome: Outcome = answer::answer(run, &mut seen, pause).await;
    assert_eq!((outcome.text().as_str(), outcome.summary.abandoned), (STORY, 0));
}

/// Returns the numbers and seeds of the asks, without overlaps.
fn asks(seen: &Seen) -> Vec<(u32, u64)> {
    let asked = |progress: &Progress| match progress {
        Progress::Ask(ask) if ask.ask < 1 << 31 => Some((ask.ask, ask.seed)),
        _ => None,
    };
    seen.0.iter().filter_map(|stamped| asked(&stamped.progress)).collect()
}

#[tokio::test(start_paused = true)]
async fn where_the_large_model_is_always_first_an_overlap_changes_no_word() {
    let mut takeovers = 0;
    for seed in 0..20 {
        let mut outcomes = Vec::new();
        for overlap in [false, true] {
            let babble = || thinker(Script::babble(), vec![]);
            let mut run = run(&[babble()], Some(babble()));
            run.question.seed = seed;
            let run = if overlap { overlapped(run, 20) } else { run };
            let (outcome, seen) = answered(run).await;
            outcomes.push((outcome.text(), asks(&seen), outcome.summary));
        }
        let [(text, asks, plain), (same_text, same_asks, overlapped)] = &outcomes[..] else {
            unreachable!("two runs")
        };
        assert_eq!((text, asks), (same_text, same_asks), "seed {seed}");
        assert_eq!(overlapped.abandoned, 0);
        assert_eq!(overlapped.time.total_us, plain.time.total_us, "it takes no extra time");
        takeovers += plain.takeovers.len();
    }
    assert!(takeovers > 40, "{takeovers}");
}

#[tokio::test(start_paused = true)]
async fn what_was_written_meanwhile_for_nothing_is_cancelled_and_counted() {
    let (small, large) = (thinker(small_script(), vec![]), thinker(large_script(), vec![]));
    let run = run(&[small.clone()], Some(far(&large, ms(20))));
    let (outcome, seen) = answered(overlapped(run, 20)).await;
    assert_eq!((outcome.text().as_str(), outcome.summary.abandoned), (STORY, 0));
    assert!(!seen.text().contains("Wait"), "nothing of it was shown");
    // Two tokens were cut off at the trigger; the large model's first text arrives after 50 ms.
    let discarded = outcome.summary.small.discarded_tokens;
    assert!((2 + 4..=2 + 5).contains(&discarded), "{discarded}");
    let made = small.computed_tokens();
    assert_eq!(made, outcome.summary.small.tokens + discarded, "the counts agree with the node");
    let commands = sent(&small);
    let cancel = commands.iter().position(|command| command == "cancel").unwrap();
    assert_eq!(commands[cancel - 1..=cancel + 1], ["propose", "cancel", "commit 0"]);
}

#[tokio::test(start_paused = true)]
async fn where_the_small_model_is_first_its_text_is_kept() {
    // The overlap covers all of the text, some, or hardly any; the rest is an ordinary turn.
    for (tokens, asked) in [(20, 1), (6, 2), (2, 2), (1, 2)] {
        let (small, large) = (thinker(small_script(), vec![]), thinker(large_script(), vec![]));
        let run = run(&[small.clone()], Some(far(&large, ms(500))));
        let (outcome, seen) = answered(overlapped(run, tokens)).await;
        assert_eq!(outcome.text(), ALONE, "overlap of {tokens}");
        let summary = &outcome.summary;
        assert_eq!((summary.abandoned, summary.takeovers.len()), (1, 0));
        assert_eq!(summary.small.discarded_tokens, 2, "only what was cut off at the trigger");
        assert_eq!(waits_us(&seen), [10_000 * u64::from(tokens.min(7))]);
        assert_eq!(summary.time.total_us, 140_000, "nobody waited for the large model");
        assert_eq!((summary.time.large.total_us(), summary.time.other_us), (0, 0));
        let turns = asks(&seen).len() - 1;
        assert_eq!(turns, asked, "overlap of {tokens}: {:?}", sent(&small));
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_the_overlap_is_shown_and_goes_on() {
    let (small, large) = (thinker(small_script(), vec![]), thinker(large_script(), vec![]));
    let limits = Limits { deadline: Some(ms(35)), overlap_tokens: Some(100), ..Limits::default() };
    let run = within(run(&[small.clone()], Some(far(&large, ms(500)))), limits);
    let (outcome, seen) = answered(run).await;
    assert_eq!(outcome.text(), ALONE);
    assert_eq!((waits_us(&seen), outcome.summary.time.total_us), (vec![35_000], 140_000));
    let given_up = seen.0.iter().position(|s| matches!(s.progress, Progress::Abandoned(_)));
    let given_up = given_up.unwrap();
    let shown = seen.0[given_up..].iter().find_map(|stamped| match &stamped.progress {
        Progress::Text(text) => Some((stamped.at_us, text.text.clone())),
        _ => None,
    });
    assert_eq!(shown, Some((seen.0[given_up].at_us, "Wait, is".to_owned())));
    let proposals = sent(&small).into_iter().filter(|command| command == "propose").count();
    assert_eq!(proposals, 2, "what was begun meanwhile is not asked for again");
}

#[tokio::test(start_paused = true)]
async fn a_trigger_in_what_was_written_meanwhile_is_one_like_any_other() {
    let (small, large) = (thinker(doubtful(6), vec![]), thinker(large_script(), vec![]));
    let run = run(&[small], Some(far(&large, ms(400))));
    let (outcome, seen) = answered(overlapped(run, 30)).await;
    assert_eq!(outcome.text(), "Wait, is it so?\n\n".repeat(6));
    assert_eq!((outcome.summary.abandoned, outcome.summary.hash_repairs), (5, 0));
    // Seven tokens up to the break and two for the phrase after it; after the last break the text ends.
    assert_eq!(waits_us(&seen), [90_000, 90_000, 90_000, 90_000, 80_000]);
}

#[tokio::test(start_paused = true)]
async fn nodes_may_break_while_both_write() {
    // Open, one append, propose.
    let large = thinker(large_script(), vec![fault(2, 0, FaultKind::Vanish)]);
    let mut broken = run(&[thinker(small_script(), vec![])], Some(far(&large, ms(25))));
    broken.settings = Settings { keep_warm: false, ..Settings::default() };
    let (outcome, _) = answered(overlapped(broken, 20)).await;
    assert_eq!(outcome.text(), ALONE);
    assert!(outcome.summary.degraded.is_some() && outcome.summary.abandoned == 1);

    // Open, propose, commit, propose.
    let first = thinker(small_script(), vec![fault(3, 2, FaultKind::Vanish)]);
    for (one_way, text) in [(20, STORY), (500, ALONE)] {
        let small: [Arc<dyn Thinker>; 2] = [first.clone(), thinker(small_script(), vec![])];
        let run = run(&small, Some(far(&thinker(large_script(), vec![]), ms(one_way))));
        let (outcome, _) = answered(overlapped(run, 20)).await;
        assert_eq!((outcome.text().as_str(), outcome.summary.resumes), (text, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_without_text_comes_first_too() {
    let large = thinker(Script::text(""), vec![]);
    let run = run(&[thinker(small_script(), vec![])], Some(far(&large, ms(10))));
    let (outcome, _) = answered(overlapped(run, 20)).await;
    assert_eq!(outcome.text(), "We add 数学.\n\n");
    assert_eq!(outcome.ended, Ended::Complete(End::EndOfText));
    assert_eq!(outcome.summary.abandoned, 0);
}
