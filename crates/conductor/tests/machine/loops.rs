//! Answers that repeat themselves in a loop: the large node leads out of the first loop, and the second one ends the
//! answer.

use conductor::{Ended, NodeId, Outcome, progress::Progress, question::Settings};
use thinking::{
    policy::{End, Limited, Limits, LoopRule, PolicyKind, PolicySpec, Preset, Why},
    thinker::FinishReason,
};

use crate::stage::{LARGE, SMALL, Stage, lost, ms};

const CYCLE: [&str; 3] = ["1,", " 11", "1 "];

fn policy(kind: PolicyKind, limits: Limits) -> Limited {
    PolicySpec::new(kind, Preset::Reasoning).within(limits).build(0, 400).unwrap()
}

fn within(loops: LoopRule) -> Limits {
    Limits { loops, ..Limits::default() }
}

fn stage(kind: PolicyKind, loops: LoopRule) -> Stage {
    Stage::new(1, 1, Settings::default(), policy(kind, within(loops)))
}

/// Lets a node write these tokens as long as it is asked to.
fn writes<'a>(stage: &mut Stage, node: NodeId, tokens: impl IntoIterator<Item = &'a str>) {
    for token in tokens {
        if !stage.has_ended && stage.is_asked(node) {
            stage.says(node, &[token]);
        }
    }
}

/// Lets a node repeat a cycle as long as it is asked to.
fn circles(stage: &mut Stage, node: NodeId) {
    writes(stage, node, CYCLE.into_iter().cycle().take(300));
}

fn ended(stage: Stage) -> (End, Outcome) {
    assert!(stage.has_ended);
    let outcome = stage.outcome();
    let Ended::Complete(end) = outcome.ended else { panic!("{:?}", outcome.ended) };
    (end, outcome)
}

#[test]
fn the_large_node_leads_out_of_the_first_loop_and_the_second_one_ends_the_answer() {
    let mut stage = stage(PolicyKind::Strict, LoopRule::HandOver);
    stage.says(SMALL, &["So", " we", " begin", ": "]);
    circles(&mut stage, SMALL);
    let shown = stage.text().len();
    assert!((200..260).contains(&shown), "cut off in the middle, after {shown} bytes");
    assert!(stage.is_asked(LARGE) && !stage.is_asked(SMALL));
    stage.says(LARGE, &["No", ": ", "7", " x", "."]);
    stage.ends(LARGE, FinishReason::MaxTokens);
    assert!(stage.is_asked(SMALL) && !stage.has_ended, "it continues");
    stage.says(SMALL, &[" Or", " else", " "]);
    circles(&mut stage, SMALL);
    let (end, outcome) = ended(stage);
    assert_eq!((end, outcome.summary.loops), (End::Loop, 2));
    let whys: Vec<Why> = outcome.summary.takeovers.iter().map(|takeover| takeover.why).collect();
    assert_eq!(whys, [Why::Loop]);
    assert!(outcome.text().contains("No: 7 x. Or else 1, 111"), "{}", outcome.text());
}

#[test]
fn a_loop_ends_the_answer_at_once_or_never_where_that_is_asked_for() {
    for (loops, expected) in [(LoopRule::End, (End::Loop, 1)), (LoopRule::Off, (End::MaxTokens, 0))]
    {
        let mut stage = stage(PolicyKind::Strict, loops);
        for _ in 0..2 {
            circles(&mut stage, SMALL);
        }
        let (end, outcome) = ended(stage);
        assert_eq!((end, outcome.summary.loops), expected, "{loops}");
        assert_eq!(outcome.summary.large.asks, 0, "{loops}");
    }
}

#[test]
fn one_model_alone_ends_where_it_goes_round_in_a_loop() {
    for (kind, node) in [(PolicyKind::SmallOnly, SMALL), (PolicyKind::LargeOnly, LARGE)] {
        let mut stage = stage(kind, kind.usual_loops());
        circles(&mut stage, node);
        assert_eq!(ended(stage).0, End::Loop, "{kind}");
    }
}

#[test]
fn a_loop_over_many_stretches_and_both_models_is_one() {
    // Each paragraph is a stretch of its own.
    let mut stage = stage(PolicyKind::Periodic, LoopRule::HandOver);
    for _ in 0..40 {
        for node in [SMALL, LARGE] {
            writes(&mut stage, node, ["Then", " one", " of", " two", " remains", ".", "\n\n"]);
        }
    }
    let (end, outcome) = ended(stage);
    assert_eq!((end, outcome.summary.loops), (End::Loop, 2), "{}", outcome.text());
    assert!(outcome.text().len() < 600, "{}", outcome.text());
}

#[test]
fn where_the_large_node_is_out_or_late_the_small_one_goes_on_to_the_second_loop() {
    let hasty = Limits { deadline: Some(ms(50)), ..within(LoopRule::HandOver) };
    for is_lost in [false, true] {
        let mut stage = Stage::new(1, 1, Settings::default(), policy(PolicyKind::Strict, hasty));
        if is_lost {
            stage.event(LARGE, lost("it crashed"));
        }
        circles(&mut stage, SMALL);
        assert!(!stage.has_ended);
        stage.passes(ms(50));
        assert!(stage.is_asked(SMALL), "lost: {is_lost}");
        assert_eq!(stage.count(|progress| matches!(progress, Progress::Abandoned(_))), 1);
        circles(&mut stage, SMALL);
        let (end, outcome) = ended(stage);
        assert_eq!((end, outcome.summary.loops), (End::Loop, 2), "lost: {is_lost}");
    }
}

#[test]
fn nothing_is_written_meanwhile_where_the_large_node_leads_out_of_a_loop() {
    let limits = Limits { overlap_tokens: Some(20), ..within(LoopRule::HandOver) };
    let mut stage = Stage::new(1, 1, Settings::default(), policy(PolicyKind::Strict, limits));
    circles(&mut stage, SMALL);
    assert!(stage.is_asked(LARGE) && !stage.is_asked(SMALL));
}

#[test]
fn a_loop_is_cut_off_at_the_same_place_however_its_text_comes() {
    let text = |tokens: &[&str]| {
        let mut stage = stage(PolicyKind::SmallOnly, LoopRule::End);
        writes(&mut stage, SMALL, tokens.iter().copied());
        ended(stage).1.text()
    };
    let long = "1, 111 ".repeat(100);
    let letters: Vec<String> = long.chars().map(String::from).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    assert_eq!(text(&[&long]), text(&letters));
}
