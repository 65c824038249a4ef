//! A takeover that is late is also asked of a second large node.

use std::time::Duration;

use conductor::{Input, NodeId, Outcome, progress::Progress, question::Settings};
use thinking::{
    policy::{Limits, PolicySpec},
    thinker::{Code, Event, Failure, FinishReason, TextHash, Warmed},
};

use crate::stage::{LARGE, NEXT_LARGE, SMALL, Stage, lost, strict};

const BEGIN: &str = "We add.\n\n";
const AFTER: Duration = Duration::from_millis(100);

/// Returns a stage with this many large nodes, the first of which is asked for a takeover.
fn in_a_takeover(large: usize) -> Stage {
    let settings = Settings { hedge_after: Some(AFTER), ..Settings::default() };
    let mut stage = Stage::new(1, large, settings, strict());
    stage.says(SMALL, &["We", " add.", "\n\n", "Wait", ","]);
    assert!(stage.is_asked(LARGE) && stage.text() == BEGIN);
    stage
}

/// Returns the same stage when the takeover's text is late.
fn hedged() -> Stage {
    let mut stage = in_a_takeover(2);
    stage.passes(AFTER);
    assert!(stage.is_asked(LARGE) && stage.is_asked(NEXT_LARGE), "both are asked");
    assert_eq!(stage.opened.last(), Some(&(NEXT_LARGE, BEGIN.to_owned())));
    stage
}

fn ends(mut stage: Stage) -> Outcome {
    stage.says(SMALL, &["So", " 4."]);
    stage.ends(SMALL, FinishReason::EndOfText);
    assert!(stage.has_ended);
    let outcome = stage.outcome();
    assert_eq!(outcome.text(), "We add.\n\nNo.\n\nSo 4.");
    assert_eq!(outcome.summary.degraded, None);
    outcome
}

#[test]
fn the_text_of_the_second_node_wins_where_it_is_first() {
    let mut stage = hedged();
    stage.says(NEXT_LARGE, &["No."]);
    assert!(!stage.has_session(LARGE), "nobody waits for the first one");
    assert!(stage.closed.is_empty(), "which is not to blame");
    stage.says(NEXT_LARGE, &["\n\n"]);
    assert_eq!(stage.committed(NEXT_LARGE), "We add.\n\nNo.\n\n");
    let won = |progress: &Progress| matches!(progress, Progress::HedgeWon(hedged) if hedged.node == "large-1" && hedged.waited_us == 100_000);
    assert_eq!(stage.count(won), 1);
    // The first node is a spare from now on.
    stage.event(NEXT_LARGE, lost("it crashed"));
    assert!(stage.has_session(LARGE));
    let summary = ends(stage).summary;
    assert_eq!((summary.hedges, summary.hedges_won, summary.large_resumes), (1, 1, 1));
    assert_eq!((summary.takeovers.len(), summary.large.asks), (1, 1));
}

#[test]
fn the_text_of_the_first_node_wins_where_it_is_first() {
    let mut stage = hedged();
    stage.says(LARGE, &["No."]);
    assert!(!stage.has_session(NEXT_LARGE) && stage.closed.is_empty());
    stage.says(LARGE, &["\n\n"]);
    let summary = ends(stage).summary;
    assert_eq!((summary.hedges, summary.hedges_won), (1, 0));
    assert_eq!(summary.large.node, "large-0");
}

#[test]
fn a_first_node_whose_context_is_full_ends_the_takeover_and_the_second_one_takes_its_place() {
    let mut stage = hedged();
    stage.ends(LARGE, FinishReason::ContextFull);
    assert!(stage.is_asked(SMALL) && !stage.is_asked(NEXT_LARGE), "the takeover is over");
    assert!(stage.has_session(NEXT_LARGE) && !stage.has_session(LARGE));
    stage.says(SMALL, &["So", " 4."]);
    stage.ends(SMALL, FinishReason::EndOfText);
    let outcome = stage.outcome();
    assert_eq!(outcome.text(), "We add.\n\nSo 4.");
    assert_eq!((outcome.summary.hedges_won, outcome.summary.degraded), (0, None));
}

#[test]
fn where_the_first_node_is_lost_the_second_one_is_asked_already() {
    let mut stage = hedged();
    let opened = stage.opened.len();
    stage.event(LARGE, lost("it crashed"));
    assert!(stage.is_asked(NEXT_LARGE) && stage.opened.len() == opened);
    stage.says(NEXT_LARGE, &["No.", "\n\n"]);
    let summary = ends(stage).summary;
    assert_eq!((summary.hedges_won, summary.large_resumes, summary.abandoned), (1, 0, 0));
}

#[test]
fn where_the_second_node_fails_the_first_one_goes_on() {
    let mut stage = hedged();
    stage.event(NEXT_LARGE, Event::Failed(Failure::new(Code::Overloaded, "it is full")));
    assert!(stage.is_asked(LARGE) && !stage.has_session(NEXT_LARGE));
    stage.passes(10 * AFTER);
    assert!(!stage.has_session(NEXT_LARGE), "a takeover is hedged once");
    stage.says(LARGE, &["No.", "\n\n"]);
    assert_eq!(ends(stage).summary.hedges, 1);
}

#[test]
fn a_second_node_that_says_what_it_may_not_is_given_up() {
    let unasked = Warmed {
        committed_bytes: 3,
        hash: TextHash::of("abc"),
        tokens: 1,
        prefill_tokens: 1,
        prefill_us: 1,
        reviewed_bytes: 0,
        passes_milli: 0,
    };
    for event in [lost("it crashed"), Event::Warmed(unasked)] {
        let mut stage = hedged();
        stage.event(NEXT_LARGE, event);
        let (node, _) = stage.closed.last().expect("it is given up");
        assert_eq!(*node, NEXT_LARGE);
        stage.says(LARGE, &["No.", "\n\n"]);
        ends(stage);
    }
}

#[test]
fn both_are_given_up_where_nobody_waits_any_more() {
    let settings = Settings { hedge_after: Some(AFTER), ..Settings::default() };
    let limits = Limits { deadline: Some(2 * AFTER), ..Limits::default() };
    let policy = PolicySpec::default().within(limits).build(0, 200).unwrap();
    let mut stage = Stage::new(1, 2, settings, policy);
    stage.says(SMALL, &["We", " add.", "\n\n", "Wait", ","]);
    stage.passes(AFTER);
    assert!(stage.is_asked(NEXT_LARGE));
    stage.passes(AFTER);
    assert!(!stage.has_session(NEXT_LARGE) && stage.is_asked(SMALL), "the small one continues");
    assert_eq!(stage.count(|progress| matches!(progress, Progress::Abandoned(_))), 1);
}

#[test]
fn nobody_is_asked_where_there_is_no_second_node_or_it_takes_no_sessions() {
    let mut stage = in_a_takeover(1);
    stage.passes(10 * AFTER);
    assert!(stage.is_asked(LARGE));
    let mut stage = in_a_takeover(2);
    stage.step(Input::Withdraw(NEXT_LARGE));
    stage.passes(10 * AFTER);
    assert!(!stage.has_session(NEXT_LARGE));
    stage.step(Input::Offer(NodeId::large(2), "new".to_owned()));
    stage.passes(Duration::ZERO);
    assert!(stage.is_asked(NodeId::large(2)), "it is late already");
}
