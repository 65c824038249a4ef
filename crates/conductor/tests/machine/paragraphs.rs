//! Policies that ask a model about a paragraph: probes with their entropy, and marks requested in asides.

use conductor::{Ended, Input, progress::Progress, question::Settings};
use thinking::{
    policy::{Limits, PolicyKind, PolicySpec, Preset, Role, Why},
    thinker::{Code, FinishReason},
    transcript::Writer,
};

use crate::stage::{LARGE, SMALL, Stage, lost, ms, question};

fn spec(kind: PolicyKind) -> PolicySpec {
    PolicySpec::new(kind, Preset::Reasoning)
}

fn stage_with(kind: PolicyKind, settings: Settings, limits: Limits) -> Stage {
    Stage::new(1, 1, settings, spec(kind).within(limits).build(0, 200).unwrap())
}

fn stage(kind: PolicyKind) -> Stage {
    stage_with(kind, Settings::default(), Limits::default())
}

fn spans(stage: Stage) -> Vec<(Writer, Why, String)> {
    let outcome = stage.outcome();
    let spans = outcome.transcript.spans().iter();
    spans.map(|span| (span.writer, span.why, span.text.clone())).collect()
}

/// The small node writes a paragraph, and the large one gives it this mark.
fn marked(stage: &mut Stage, paragraph: &[&str], mark: &str) {
    stage.says(SMALL, paragraph);
    stage.says(LARGE, &[mark]);
}

#[test]
fn an_unsure_first_token_hands_the_paragraph_over() {
    let mut stage = stage(PolicyKind::Entropy);
    stage.entropy = 0.5;
    stage.says(SMALL, &["It"]);
    assert_eq!(stage.text(), "It", "it was sure enough");
    stage.entropy = 2.0;
    stage.says(SMALL, &[" is", " so", ".\n\n", "No"]);
    assert_eq!(stage.text(), "It is so.\n\n");
    assert!(stage.is_asked(LARGE) && !stage.is_asked(SMALL));
    stage.says(LARGE, &["Yes", ".\n\n"]);
    assert!(stage.is_asked(SMALL) && !stage.is_asked(LARGE), "to the paragraph's end");
    stage.ends(SMALL, FinishReason::EndOfText);
    let expected = [
        (Writer::Small, Why::Probe, "It"),
        (Writer::Small, Why::Turn, " is so.\n\n"),
        (Writer::Large, Why::Entropy, "Yes.\n\n"),
    ];
    assert_eq!(spans(stage), expected.map(|(writer, why, text)| (writer, why, text.to_owned())));
}

#[test]
fn a_mark_is_asked_for_aside_and_lets_a_paragraph_stand_or_not() {
    for settings in [
        Settings::default(),
        Settings { keep_warm: false, ..Settings::default() },
        Settings { resend: true, ..Settings::default() },
    ] {
        let mut stage = stage_with(PolicyKind::Score, settings, Limits::default());
        stage.says(SMALL, &["7", " x 8", ".\n\n"]);
        assert_eq!(stage.text(), "", "it may be forgotten");
        let asked = stage.committed(LARGE);
        assert!(asked.starts_with("7 x 8.\n\n") && asked.ends_with("\\boxed{"), "{asked:?}");
        stage.says(LARGE, &["9"]);
        assert_eq!(stage.text(), "7 x 8.\n\n");
        assert!(stage.is_asked(SMALL) && !stage.is_asked(LARGE));
        marked(&mut stage, &["It is 54", ".\n\n"], "2");
        assert_eq!(stage.text(), "7 x 8.\n\n", "it is forgotten");
        assert_eq!(stage.committed(LARGE), "7 x 8.\n\n");
        stage.says(LARGE, &["It is 56", ".\n\n"]);
        stage.says(SMALL, &["Done"]);
        stage.ends(SMALL, FinishReason::EndOfText);
        assert!(!stage.has_ended && stage.is_asked(LARGE), "its end is in question too");
        stage.says(LARGE, &["8"]);
        assert!(stage.has_ended);
        let summary = stage.outcome().summary;
        assert_eq!((summary.takeovers.len(), summary.large.tokens), (1, 2));
        assert_eq!((summary.large.discarded_tokens, summary.small.discarded_tokens), (3, 2));
    }
}

#[test]
fn a_paragraph_without_a_mark_stands() {
    let late = Limits { deadline: Some(ms(100)), ..Limits::default() };
    for is_late in [false, true] {
        let mut stage = stage_with(PolicyKind::Score, Settings::default(), late);
        stage.says(SMALL, &["So", ".\n\n"]);
        match is_late {
            true => stage.passes(ms(150)),
            // An end of text in place of a mark.
            false => stage.ends(LARGE, FinishReason::EndOfText),
        }
        assert_eq!(stage.text(), "So.\n\n", "late: {is_late}");
        assert_eq!(stage.committed(LARGE), "So.\n\n");
        marked(&mut stage, &["No", ".\n\n"], "1");
        assert!(stage.is_asked(LARGE) && stage.text() == "So.\n\n", "the next one is in question");
        stage.step(Input::Cancel);
        let large = stage.outcome().summary.large;
        assert_eq!(large.tokens, 0, "an aside is not part of the answer");
        assert!(large.discarded_tokens >= 1);
    }
}

#[test]
fn a_large_node_that_is_lost_aside_is_asked_again_elsewhere_or_not_at_all() {
    let policy = || spec(PolicyKind::Score).build(0, 200).unwrap();
    let mut two = Stage::new(1, 2, Settings::default(), policy());
    two.says(SMALL, &["So", ".\n\n"]);
    two.event(LARGE, lost("gone"));
    let next = crate::stage::NEXT_LARGE;
    assert!(two.committed(next).ends_with("\\boxed{") && two.is_asked(next));
    two.says(next, &["3"]);
    assert_eq!((two.committed(next), two.text()), (String::new(), String::new()));
    let mut one = Stage::new(1, 1, Settings::default(), policy());
    one.says(SMALL, &["So", ".\n\n"]);
    one.event(LARGE, lost("gone"));
    assert_eq!(one.text(), "So.\n\n");
    assert!(one.is_asked(SMALL));
}

#[test]
fn a_small_node_that_is_lost_meanwhile_loses_nothing() {
    let policy = spec(PolicyKind::Score).build(0, 200).unwrap();
    let mut stage = Stage::of(question(), (2, 1), Settings::default(), policy);
    stage.says(SMALL, &["So", ".\n\n"]);
    stage.event(SMALL, lost("gone"));
    stage.says(LARGE, &["9"]);
    assert_eq!((stage.text(), stage.committed(LARGE)), ("So.\n\n".into(), "So.\n\n".into()));
}

#[test]
fn nodes_that_cannot_take_their_part_are_refused_before_a_word_is_shown() {
    for (kind, role, words) in [
        (PolicyKind::Entropy, Role::Small, "cannot report the entropy"),
        (PolicyKind::Score, Role::Large, "cannot take back text"),
    ] {
        let mut stage = Stage::of_old_nodes(spec(kind).build(0, 200).unwrap());
        assert!(stage.has_ended && stage.text().is_empty(), "{kind}");
        stage.settle();
        let asked = stage.count(|it| matches!(it, Progress::Text(_)));
        let Ended::Failed { node, failure } = stage.outcome().ended else { panic!("{kind}") };
        assert_eq!((asked, failure.code), (0, Code::InvalidArgument), "{kind}");
        assert!(node.starts_with(&role.to_string()), "{node}");
        assert!(failure.message.contains(words), "{failure}");
    }
}
