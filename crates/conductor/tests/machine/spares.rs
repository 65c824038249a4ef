//! Several large nodes: if one is lost another continues; if all are lost one comes back.

use conductor::{
    Ended,
    progress::{Progress, Resumed, Writer},
    question::Settings,
};
use thinking::{
    policy::{End, Limits, PolicySpec, Role, Why},
    thinker::{Code, Event, Failure, FinishReason},
};

use crate::stage::{LARGE, NEXT_LARGE, SMALL, Stage, lost, ms, strict};

/// The text up to the first takeover.
const BEGIN: &str = "We add.\n\n";

/// Returns a stage with this many large nodes, the first of which is asked for a takeover.
fn in_a_takeover(large: usize, settings: Settings) -> Stage {
    let mut stage = Stage::new(1, large, settings, strict());
    doubt(&mut stage);
    assert_eq!(stage.text(), BEGIN);
    assert!(stage.is_asked(LARGE));
    stage
}

/// The small node writes a paragraph and doubts.
fn doubt(stage: &mut Stage) {
    stage.says(SMALL, &["We", " add.", "\n\n", "Wait", ","]);
}

/// The small node ends the answer.
fn ends(stage: &mut Stage) {
    stage.says(SMALL, &["So", " 4."]);
    stage.ends(SMALL, FinishReason::EndOfText);
    assert!(stage.has_ended);
}

fn resumed(stage: &Stage) -> Vec<Resumed> {
    let resumed = |progress: &Progress| match progress {
        Progress::Resumed(resumed) => Some(Resumed::clone(resumed)),
        _ => None,
    };
    stage.told.iter().filter_map(|stamped| resumed(&stamped.progress)).collect()
}

#[test]
fn one_that_is_lost_while_nobody_waits_for_it_is_replaced_at_once_and_the_next_one_is_warm() {
    let mut stage = Stage::new(1, 2, Settings::default(), strict());
    stage.says(SMALL, &["We", " add.", "\n\n"]);
    stage.event(LARGE, lost("it crashed"));
    assert_eq!(stage.opened.last(), Some(&(NEXT_LARGE, BEGIN.to_owned())));
    let [resumed] = &resumed(&stage)[..] else { panic!("{:?}", resumed(&stage)) };
    assert_eq!((resumed.role, resumed.code), (Role::Large, Code::Unavailable));
    assert_eq!((resumed.from.as_str(), resumed.to.as_str()), ("large-0", "large-1"));
    assert_eq!(resumed.committed_bytes, BEGIN.len() as u64);
    stage.says(SMALL, &["Wait", ","]);
    assert!(stage.is_asked(NEXT_LARGE) && !stage.is_asked(SMALL));
    stage.says(NEXT_LARGE, &["No.", "\n\n"]);
    ends(&mut stage);
    let outcome = stage.outcome();
    assert_eq!(outcome.text(), "We add.\n\nNo.\n\nSo 4.");
    let summary = &outcome.summary;
    assert_eq!((summary.large_resumes, summary.resumes, summary.abandoned), (1, 0, 0));
    assert_eq!((summary.degraded.as_deref(), summary.large.node.as_str()), (None, "large-1"));
}

#[test]
fn a_takeover_without_text_is_asked_of_the_next_one() {
    let mut stage = in_a_takeover(3, Settings::default());
    stage.event(LARGE, lost("it crashed"));
    assert!(stage.is_asked(NEXT_LARGE) && !stage.is_asked(SMALL));
    // A node that refuses counts as lost too.
    stage.event(NEXT_LARGE, Event::Failed(Failure::new(Code::Overloaded, "it is full")));
    let last = conductor::NodeId::large(2);
    stage.says(last, &["No.", "\n\n"]);
    ends(&mut stage);
    let outcome = stage.outcome();
    assert_eq!(outcome.ended, Ended::Complete(End::EndOfText));
    assert_eq!(outcome.text(), "We add.\n\nNo.\n\nSo 4.");
    let summary = &outcome.summary;
    assert_eq!((summary.large_resumes, summary.abandoned, summary.large.asks), (2, 0, 1));
    assert_eq!(summary.degraded, None, "somebody took over");
    let [takeover] = &summary.takeovers[..] else { panic!("{:?}", summary.takeovers) };
    assert!(!takeover.interrupted && takeover.tokens == 2);
}

#[test]
fn a_takeover_that_was_begun_goes_on_from_what_was_shown() {
    let mut stage = in_a_takeover(2, Settings::default());
    stage.says(LARGE, &["Hmm", ", no"]);
    stage.event(LARGE, lost("it crashed"));
    assert_eq!(stage.opened.last(), Some(&(NEXT_LARGE, "We add.\n\nHmm, no".to_owned())));
    stage.says(NEXT_LARGE, &[", 4.", "\n\n"]);
    ends(&mut stage);
    let outcome = stage.outcome();
    assert_eq!(outcome.text(), "We add.\n\nHmm, no, 4.\n\nSo 4.");
    let summary = &outcome.summary;
    assert_eq!((&summary.degraded, summary.takeovers.len()), (&None, 1));
    assert_eq!((summary.takeovers[0].tokens, summary.takeovers[0].interrupted), (4, false));
    let spans = outcome.transcript.spans().iter();
    let spans: Vec<_> = spans.map(|span| (span.writer, span.tokens)).collect();
    assert_eq!(spans, [(Writer::Small, 3), (Writer::Large, 4), (Writer::Small, 2)]);
}

#[test]
fn a_takeover_whose_tokens_are_used_up_is_not_asked_for_again() {
    let mut stage = in_a_takeover(2, Settings::default());
    stage.says(LARGE, &["a "; 20]);
    assert!(!stage.is_asked(LARGE), "20 tokens are a takeover");
    let mut stage = in_a_takeover(2, Settings::default());
    let text = "a ".repeat(20);
    let delta = thinking::thinker::Delta {
        settled_bytes: text.len() as u64,
        text,
        tokens: 20,
        ..Default::default()
    };
    stage.event(LARGE, Event::Delta(delta));
    stage.event(LARGE, lost("it crashed before it said that it had finished"));
    assert!(!stage.is_asked(NEXT_LARGE) && stage.is_asked(SMALL));
    ends(&mut stage);
    let summary = stage.outcome().summary;
    assert_eq!((summary.takeovers[0].tokens, summary.takeovers[0].interrupted), (20, false));
}

#[test]
fn the_deadline_of_a_takeover_holds_over_both_nodes() {
    let deadline = Some(ms(300));
    let policy = PolicySpec::default().within(Limits { deadline, ..Limits::default() });
    let policy = policy.build(0, 200).unwrap();
    let mut stage = Stage::new(1, 2, Settings::default(), policy);
    doubt(&mut stage);
    stage.passes(ms(200));
    stage.event(LARGE, lost("it crashed"));
    assert!(stage.is_asked(NEXT_LARGE));
    stage.passes(ms(99));
    assert!(!stage.is_asked(SMALL));
    stage.passes(ms(1));
    assert!(stage.is_asked(SMALL) && !stage.is_asked(NEXT_LARGE), "late is late");
    assert_eq!(stage.count(|p| matches!(p, Progress::Abandoned(a) if a.waited_us == 300_000)), 1);
}

#[test]
fn a_silent_one_is_replaced_after_its_time() {
    let settings = Settings { large_timeout: ms(5000), ..Settings::default() };
    let mut stage = in_a_takeover(2, settings);
    stage.passes(ms(5000));
    assert!(stage.is_asked(NEXT_LARGE));
    stage.passes(ms(4999));
    assert!(stage.is_asked(NEXT_LARGE), "the next one has its own time");
    stage.passes(ms(1));
    assert!(stage.is_asked(SMALL), "no large node is left");
    let told = stage.count(|p| matches!(p, Progress::Degraded { reason } if reason.contains("5s")));
    assert_eq!(told, 1);
}

#[test]
fn when_all_are_lost_each_is_tried_again_and_the_first_that_accepts_is_at_work() {
    let mut stage = in_a_takeover(2, Settings::default());
    stage.event(LARGE, lost("the first crashed"));
    stage.passes(ms(10_000));
    assert!(!stage.has_session(LARGE), "while one is at work no other one is tried");
    stage.event(NEXT_LARGE, lost("the second crashed"));
    assert!(stage.is_asked(SMALL), "the takeover is given up");
    assert_eq!(stage.count(|p| matches!(p, Progress::Degraded { .. })), 1);
    // The first has been away for long, so it is tried at once, but it is still unreachable.
    stage.silent.push(LARGE);
    stage.passes(ms(1));
    assert!(stage.has_session(LARGE) && !stage.has_session(NEXT_LARGE));
    stage.event(LARGE, lost("it is still unreachable"));
    stage.passes(ms(998));
    assert!(!stage.has_session(NEXT_LARGE));
    stage.passes(ms(1));
    assert!(stage.has_session(NEXT_LARGE), "one second after it was lost");
    assert_eq!(stage.count(|p| matches!(p, Progress::Rejoined(_))), 1);
    stage.says(SMALL, &["So.", "\n\n", "Wait", ","]);
    stage.says(NEXT_LARGE, &["Yes.", "\n\n"]);
    ends(&mut stage);
    let outcome = stage.outcome();
    let summary = &outcome.summary;
    assert_eq!(summary.degraded.as_deref(), Some("large node large-1: the second crashed"));
    assert_eq!((summary.rejoins, summary.large_resumes), (1, 1));
    assert_eq!((summary.takeovers.len(), summary.abandoned), (1, 1));
}

#[test]
fn a_takeover_that_is_asked_for_while_all_are_away_is_late_at_once() {
    let mut stage = Stage::new(1, 2, Settings::default(), strict());
    for node in [LARGE, NEXT_LARGE] {
        stage.event(node, Event::Failed(Failure::new(Code::Unauthenticated, "no token")));
    }
    doubt(&mut stage);
    stage.passes(ms(0));
    assert!(stage.is_asked(SMALL));
    assert_eq!(stage.count(|p| matches!(p, Progress::Abandoned(a) if a.waited_us == 0)), 1);
    stage.passes(ms(100_000));
    assert_eq!(stage.opened.len(), 3, "what will not pass is not tried again");
}

#[test]
fn where_every_takeover_opens_a_session_the_next_node_is_given_the_next_one() {
    let settings = Settings { resend: true, ..Settings::default() };
    let mut stage = in_a_takeover(2, settings);
    stage.says(LARGE, &["Hmm"]);
    stage.event(LARGE, lost("it crashed"));
    stage.says(NEXT_LARGE, &[", no.", "\n\n"]);
    assert!(!stage.has_session(NEXT_LARGE), "the takeover is over");
    stage.says(SMALL, &["So.", "\n\n", "Wait", ","]);
    assert!(stage.is_asked(NEXT_LARGE), "it stays at work");
    // Between two takeovers no node has a session to lose.
    stage.says(NEXT_LARGE, &["Yes.", "\n\n"]);
    ends(&mut stage);
    let opened: Vec<_> = stage.opened.iter().map(|(node, text)| (*node, text.as_str())).collect();
    let whole = "We add.\n\nHmm, no.\n\nSo.\n\n";
    let texts = [(SMALL, ""), (LARGE, BEGIN), (NEXT_LARGE, "We add.\n\nHmm"), (NEXT_LARGE, whole)];
    assert_eq!(opened, texts);
    let outcome = stage.outcome();
    assert_eq!((outcome.summary.takeovers.len(), outcome.summary.degraded), (2, None));
    let whys = outcome.transcript.spans().iter().filter(|span| span.why == Why::Reflection);
    assert_eq!(whys.count(), 2);
}

#[test]
fn a_node_that_breaks_the_contract_is_replaced_like_one_that_is_gone() {
    let mut stage = in_a_takeover(2, Settings::default());
    let finished = thinking::thinker::Finished {
        reason: FinishReason::MaxTokens,
        tokens: 1,
        bytes: 99,
        prefill_tokens: 0,
        cached_tokens: 0,
        timing: thinking::thinker::Timing::default(),
        passes_milli: 0,
    };
    stage.event(LARGE, Event::Finished(finished));
    assert!(stage.is_asked(NEXT_LARGE));
    assert_eq!(stage.closed[0].0, LARGE);
    assert_eq!(stage.closed[0].1.code, Code::Internal);
}
