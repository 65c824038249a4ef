//! How an answer's deadline and its models' contexts limit it, and what a node may report.

use std::time::Duration;

use conductor::{Ended, NodeId, Outcome, progress::Progress, question::Settings};
use thinking::{
    policy::{End, Limits, PolicyKind, PolicySpec, Preset},
    thinker::{Code, Delta, Event, Failure, FinishReason, Finished, Timing},
    trigger::{TriggerKind, TriggerMatch},
};

use crate::stage::{LARGE, NEXT_LARGE, SMALL, Stage, lost, ms, question, strict};

const NEXT_SMALL: NodeId = NodeId { role: thinking::policy::Role::Small, index: 1 };

fn failed(code: Code) -> Event {
    Event::Failed(Failure::new(code, "it failed"))
}

/// The small node writes a paragraph and doubts; the large one is asked.
fn doubt(stage: &mut Stage) {
    stage.says(SMALL, &["We", " add.", "\n\n", "Wait", ","]);
}

fn ended(stage: Stage) -> (End, Outcome) {
    assert!(stage.has_ended);
    let outcome = stage.outcome();
    let Ended::Complete(end) = outcome.ended else { panic!("{:?}", outcome.ended) };
    (end, outcome)
}

fn with_deadline(large: usize) -> Stage {
    let question = conductor::question::Question { deadline: Some(ms(500)), ..question() };
    Stage::of(question, (2, large), Settings::default(), strict())
}

#[test]
fn a_deadline_that_passes_in_a_takeover_cuts_the_answer_off() {
    // After the deadline, a node fails a session whose text is not in its cache yet, or may be lost.
    for (node, code) in [
        (SMALL, Code::DeadlineExceeded),
        (SMALL, Code::Unavailable),
        (LARGE, Code::DeadlineExceeded),
        (LARGE, Code::Unavailable),
    ] {
        let mut stage = with_deadline(1);
        doubt(&mut stage);
        stage.says(LARGE, &["No"]);
        stage.passes(ms(500));
        stage.event(node, failed(code));
        let (end, outcome) = ended(stage);
        assert_eq!((end, outcome.text().as_str()), (End::Deadline, "We add.\n\nNo"), "{node:?}");
        assert_eq!((outcome.summary.resumes, outcome.summary.degraded), (0, None), "{node:?}");
    }
}

#[test]
fn a_large_node_that_nobody_waits_for_does_not_degrade_an_answer_whose_time_is_up() {
    let mut stage = with_deadline(1);
    stage.says(SMALL, &["We"]);
    stage.passes(ms(500));
    stage.event(LARGE, failed(Code::DeadlineExceeded));
    assert!(stage.closed.is_empty(), "it is not to blame");
    stage.says(SMALL, &[" add"]);
    stage.ends(SMALL, FinishReason::Deadline);
    let (end, outcome) = ended(stage);
    assert_eq!((end, outcome.summary.degraded), (End::Deadline, None));
}

#[test]
fn a_small_context_that_is_full_ends_the_answer_whoever_wrote_last() {
    let mut stage = Stage::new(2, 1, Settings::default(), strict());
    doubt(&mut stage);
    stage.says(LARGE, &["No"]);
    stage.event(SMALL, failed(Code::ContextTooLong));
    let (end, outcome) = ended(stage);
    assert_eq!((end, outcome.text().as_str()), (End::ContextFull, "We add.\n\nNo"));
    assert_eq!(outcome.summary.resumes, 0, "another one of the same kind is full as well");
}

#[test]
fn an_answer_that_fits_no_small_node_that_is_left_ends_as_full() {
    let mut stage = Stage::new(2, 1, Settings::default(), strict());
    stage.silent.push(NEXT_SMALL);
    stage.says(SMALL, &["We", " add.", "\n\n"]);
    stage.event(SMALL, lost("it crashed"));
    stage.event(NEXT_SMALL, failed(Code::ContextTooLong));
    let (end, outcome) = ended(stage);
    assert_eq!((end, outcome.summary.resumes), (End::ContextFull, 1));
}

#[test]
fn a_question_that_fits_no_small_node_fails() {
    let mut stage = Stage::silent_from_the_start(1, 0, SMALL);
    stage.event(SMALL, failed(Code::ContextTooLong));
    let outcome = stage.outcome();
    let Ended::Failed { failure, .. } = &outcome.ended else { panic!("{:?}", outcome.ended) };
    assert_eq!(failure.code, Code::ContextTooLong);
}

#[test]
fn a_large_context_that_is_full_ends_its_part_and_not_the_answer() {
    for kind in [PolicyKind::Strict, PolicyKind::Random, PolicyKind::LargeOnly] {
        let policy = PolicySpec::new(kind, Preset::Reasoning).with_share(1.0);
        let mut stage = Stage::new(1, 1, Settings::default(), policy.build(0, 200).unwrap());
        if kind == PolicyKind::Strict {
            doubt(&mut stage);
        }
        stage.says(LARGE, &["No"]);
        stage.ends(LARGE, FinishReason::ContextFull);
        stage.passes(Duration::ZERO);
        assert!(!stage.has_session(LARGE) && stage.is_asked(SMALL), "{kind:?}");
        assert_eq!(stage.count(|p| matches!(p, Progress::Degraded { .. })), 1, "{kind:?}");
        stage.passes(ms(60_000));
        assert!(!stage.has_session(LARGE), "{kind:?}: it would be full again");
        stage.says(SMALL, &[" 4."]);
        stage.ends(SMALL, FinishReason::EndOfText);
        let (end, outcome) = ended(stage);
        assert_eq!(end, End::EndOfText, "{kind:?}");
        assert!(outcome.text().ends_with("No 4."), "{kind:?}: {}", outcome.text());
    }
}

#[test]
fn another_large_node_takes_the_place_of_one_that_is_full() {
    let mut stage = Stage::new(1, 2, Settings::default(), strict());
    doubt(&mut stage);
    stage.says(LARGE, &["No"]);
    stage.ends(LARGE, FinishReason::ContextFull);
    assert!(stage.has_session(NEXT_LARGE) && stage.is_asked(SMALL));
    assert_eq!(stage.count(|p| matches!(p, Progress::Degraded { .. })), 0);
}

#[test]
fn what_a_large_model_wrote_until_it_was_full_stays_when_the_time_is_up() {
    let mut stage = with_deadline(2);
    doubt(&mut stage);
    // The line break may be the beginning of the stop text, so it is not shown yet.
    stage.says(LARGE, &["No", "\n"]);
    stage.passes(ms(500));
    stage.ends(LARGE, FinishReason::ContextFull);
    assert!(!stage.has_session(NEXT_LARGE), "nobody takes its place");
    assert!(stage.is_asked(SMALL));
    stage.ends(SMALL, FinishReason::Deadline);
    let (end, outcome) = ended(stage);
    assert_eq!((end, outcome.text().as_str()), (End::Deadline, "We add.\n\nNo\n"));
    assert_eq!((outcome.summary.large_resumes, outcome.summary.degraded), (0, None));
}

#[test]
fn with_resend_a_spare_goes_on_with_the_next_takeover_and_not_at_once() {
    let settings = Settings { resend: true, ..Settings::default() };
    let mut stage = Stage::new(1, 2, settings, strict());
    doubt(&mut stage);
    stage.says(LARGE, &["No"]);
    stage.ends(LARGE, FinishReason::ContextFull);
    assert!(!stage.has_session(NEXT_LARGE) && stage.is_asked(SMALL));
    doubt(&mut stage);
    assert!(stage.is_asked(NEXT_LARGE));
    stage.says(NEXT_LARGE, &["Yes"]);
    stage.ends(NEXT_LARGE, FinishReason::EndOfText);
    assert_eq!(stage.count(|p| matches!(p, Progress::Resumed(_))), 0);
    let (_, outcome) = ended(stage);
    let summary = &outcome.summary;
    assert_eq!((summary.large_resumes, summary.takeovers.len()), (0, 2));
    assert_eq!((summary.degraded.as_deref(), summary.large.node.as_str()), (None, "large-1"));
}

#[test]
fn a_node_that_takes_a_stretch_up_watches_the_break_at_which_it_begins() {
    let limits = Limits { deadline: Some(ms(100)), ..Limits::default() };
    let mut stage = Stage::new(
        2,
        1,
        Settings::default(),
        PolicySpec::default().within(limits).build(0, 200).unwrap(),
    );
    doubt(&mut stage);
    // The takeover is late: this place is skipped, but not the next one.
    stage.passes(ms(100));
    stage.says(SMALL, &["Wait", ",", " it", " is", " 5.", "\n\n"]);
    stage.event(SMALL, lost("it crashed"));
    assert!(stage.is_asked(NEXT_SMALL));
    stage.says(NEXT_SMALL, &["Wait", ","]);
    assert!(stage.is_asked(LARGE), "a doubt after the new break counts");
    assert_eq!(stage.text(), "We add.\n\nWait, it is 5.\n\n");
}

#[test]
fn a_node_that_takes_a_stretch_up_passes_over_the_place_that_was_passed_over() {
    let limits = Limits { deadline: Some(ms(100)), ..Limits::default() };
    let mut stage = Stage::new(
        2,
        1,
        Settings::default(),
        PolicySpec::default().within(limits).build(0, 200).unwrap(),
    );
    doubt(&mut stage);
    stage.passes(ms(100));
    stage.says(SMALL, &["So"]);
    stage.event(SMALL, lost("it crashed"));
    stage.says(NEXT_SMALL, &[" wait", ","]);
    assert!(stage.is_asked(NEXT_SMALL) && !stage.is_asked(LARGE));
}

#[test]
fn a_small_node_that_is_far_behind_is_asked_all_the_same() {
    let mut policy = PolicySpec::new(PolicyKind::Random, Preset::Reasoning).with_share(1.0);
    policy.limits = Limits { deadline: Some(ms(100)), overlap_tokens: Some(5), ..policy.limits };
    let mut stage = Stage::new(1, 1, Settings::default(), policy.build(0, 200).unwrap());
    // It writes on while the large one is asked, and takes long to carry out what it is sent.
    stage.silent.push(SMALL);
    for _ in 0..12 {
        stage.says(LARGE, &["Ok.", "\n\n"]);
    }
    stage.passes(ms(100));
    stage.silent.clear();
    stage.settle();
    assert!(stage.is_asked(SMALL), "the takeover is late, and nobody else writes");
    stage.says(SMALL, &["So", " 4."]);
    stage.ends(SMALL, FinishReason::EndOfText);
    assert_eq!(ended(stage).0, End::EndOfText);
}

#[test]
fn a_small_node_that_is_far_behind_is_asked_for_its_own_turn_too() {
    let mut policy = PolicySpec::new(PolicyKind::Random, Preset::Reasoning).with_share(0.9);
    policy.limits.overlap_tokens = Some(5);
    // Finds a seed with which the small node owes the ends of many overlaps when its turn comes.
    let turn_after_many = |seed| {
        let mut stage = Stage::new(1, 1, Settings::default(), policy.build(seed, 200).unwrap());
        stage.silent.push(SMALL);
        let turns = (0..30).take_while(|_| {
            let is_large = stage.is_asked(LARGE);
            stage.says(LARGE, &["Ok.", "\n\n"]);
            is_large
        });
        (9..30).contains(&turns.count()).then_some(stage)
    };
    let mut stage = (0..1000).find_map(turn_after_many).unwrap();
    stage.silent.clear();
    stage.settle();
    assert!(stage.is_asked(SMALL), "nobody else writes");
}

#[test]
fn of_a_large_node_that_writes_on_no_more_than_what_it_was_asked_for_is_shown_and_counted() {
    // The text and tokens of each of its 20,000 deltas, and how many bytes are shown.
    for (text, tokens, shown) in
        [("ab ", 1, 20 * 3), ("ab ", 20_000, 0), (&"ab ".repeat(300), 1, 900), ("ab ", 0, 0)]
    {
        let mut stage = Stage::new(1, 1, Settings::default(), strict());
        doubt(&mut stage);
        assert!(stage.is_asked(LARGE));
        let begin = stage.text().len();
        let mut settled_bytes = 0;
        for _ in 0..20_000 {
            settled_bytes += text.len() as u64;
            let delta = Delta { text: text.to_owned(), tokens, settled_bytes, ..Delta::default() };
            stage.event(LARGE, Event::Delta(delta));
        }
        let long = text.len() > 3;
        let large = stage.text().len() - begin;
        assert!(large == shown || long && large < 20 * 128 + 1024, "{large} of {tokens} tokens");
        assert!(!stage.has_session(LARGE) && stage.is_asked(SMALL), "it is given up");
        stage.says(SMALL, &[" 4."]);
        stage.ends(SMALL, FinishReason::EndOfText);
        let (end, outcome) = ended(stage);
        assert_eq!(end, End::EndOfText);
        assert!(outcome.summary.large.tokens <= 20, "{} tokens", outcome.summary.large.tokens);
        let told = outcome.summary.degraded.unwrap();
        assert!(told.contains("it broke the protocol: it wrote"), "{told}");
    }
}

#[test]
fn a_node_that_reports_what_cannot_be_is_given_up() {
    let delta = |text: &str, tokens: u32| {
        Event::Delta(Delta { text: text.to_owned(), tokens, ..Delta::default() })
    };
    let finished = |reason: FinishReason, tokens: u32| {
        let timing = Timing::default();
        Event::Finished(Finished {
            reason,
            tokens,
            bytes: 3,
            prefill_tokens: 0,
            cached_tokens: 0,
            timing,
            passes_milli: 0,
        })
    };
    let shorter = |event: Event| match event {
        Event::Finished(finished) => Event::Finished(Finished { bytes: 2, ..finished }),
        other => other,
    };
    let trigger = FinishReason::Trigger(TriggerMatch {
        kind: TriggerKind::Reflection,
        phrase: "wait".to_owned(),
        cut: 1,
        start: 3,
        end: 7,
    });
    for (event, words) in [
        (delta("We", 201), "more than it was asked for"),
        (delta(&"We".repeat(5000), 1), "more than it was asked for"),
        (delta("We", 0), "text without tokens"),
        (finished(FinishReason::MaxTokens, 201), "those it reports differ"),
        (finished(FinishReason::MaxTokens, 0), "those it reports differ"),
        (shorter(finished(FinishReason::MaxTokens, 1)), "the length it reports differ"),
        (finished(FinishReason::Cancelled, 1), "not told to cancel"),
        (finished(FinishReason::Deadline, 1), "no deadline"),
        (finished(FinishReason::Stop { end: 4 }, 1), "a place that its text does not have"),
        (finished(trigger, 1), "a place that its text does not have"),
    ] {
        let mut stage = Stage::new(2, 0, Settings::default(), strict());
        if let Event::Finished(_) = event {
            stage.event(SMALL, delta("数", 1));
        }
        stage.event(SMALL, event.clone());
        let [(node, failure)] = &stage.closed[..] else { panic!("{event:?}: {:?}", stage.closed) };
        assert_eq!((*node, failure.code), (SMALL, Code::Internal), "{event:?}");
        assert!(failure.message.contains(words), "{event:?}: {failure}");
        assert!(stage.is_asked(NEXT_SMALL), "{event:?}: the next one continues");
    }
}

#[test]
fn what_requests_found_cached_is_added_to_what_was_cached_at_the_opening() {
    let mut stage = Stage::new(1, 0, Settings::default(), strict());
    stage.event(SMALL, Event::Delta(Delta { text: "7".into(), tokens: 1, ..Delta::default() }));
    let finished = Finished {
        reason: FinishReason::EndOfText,
        tokens: 2,
        bytes: 1,
        prefill_tokens: 3,
        cached_tokens: 40,
        timing: Timing::default(),
        passes_milli: 1500,
    };
    stage.event(SMALL, Event::Finished(finished));
    let (_, outcome) = ended(stage);
    assert_eq!(outcome.summary.small.cached_tokens, 40);
    assert_eq!(outcome.summary.small.passes_milli, 1500);
}
