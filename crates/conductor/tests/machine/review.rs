//! Reviews: what is shown, corrected, waited for and accepted.

use conductor::{
    Ended, Input,
    progress::Progress,
    question::{Question, Settings},
};
use thinking::{
    policy::{End, Limits, LoopRule, PolicyKind, PolicySpec, Preset, ReviewConfig, Why},
    stops::StopTexts,
    thinker::{Code, Event, FinishReason, Objection},
    transcript::Writer,
};

use crate::stage::{LARGE, Planned, SMALL, Stage, lost, ms, question};

fn spec(change: impl Fn(&mut Limits)) -> PolicySpec {
    let mut spec = PolicySpec::new(PolicyKind::Review, Preset::Reasoning);
    spec.limits.review = Some(ReviewConfig { piece_tokens: 1, ..ReviewConfig::default() });
    change(&mut spec.limits);
    spec
}

fn stage_of(spec: PolicySpec) -> Stage {
    Stage::new(1, 1, Settings::default(), spec.build(0, 200).unwrap())
}

fn stage() -> Stage {
    stage_of(spec(|_| {}))
}

fn plan(text: &'static str, instead: &'static str) -> Planned {
    Planned { text, instead: Some(instead) }
}

fn spans(stage: Stage) -> Vec<(Writer, Why, String)> {
    let outcome = stage.outcome();
    let spans = outcome.transcript.spans().iter();
    spans.map(|span| (span.writer, span.why, span.text.clone())).collect()
}

#[test]
fn nothing_is_shown_before_it_is_judged() {
    let mut stage = stage();
    stage.silent.push(LARGE);
    stage.says(SMALL, &["7", " times"]);
    assert_eq!(stage.text(), "");
    stage.silent.clear();
    stage.settle();
    assert_eq!((stage.text(), stage.committed(LARGE)), ("7 times".into(), "7 times".into()));
}

#[test]
fn pieces_are_gathered_before_they_are_sent() {
    let gathering = spec(|limits| {
        limits.review = Some(ReviewConfig { piece_tokens: 3, ..ReviewConfig::default() });
    });
    let mut stage = stage_of(gathering);
    stage.says(SMALL, &["a", " b"]);
    assert_eq!(stage.committed(LARGE), "");
    stage.says(SMALL, &[" c", " d"]);
    assert_eq!((stage.committed(LARGE), stage.text()), ("a b c".into(), "a b c".into()));
    stage.ends(SMALL, FinishReason::EndOfText);
    assert!(stage.has_ended && stage.text() == "a b c d");
}

#[test]
fn a_correction_cuts_both_sessions_and_asks_nobody() {
    let mut stage = stage();
    stage.objections.push(plan(" 54", " 56"));
    stage.says(SMALL, &["It is", " 54"]);
    assert_eq!(stage.text(), "It is 56");
    assert_eq!(
        (stage.committed(SMALL), stage.committed(LARGE)),
        ("It is 56".into(), "It is 56".into())
    );
    assert!(stage.is_asked(SMALL) && !stage.is_asked(LARGE));
    stage.says(SMALL, &[" indeed"]);
    stage.ends(SMALL, FinishReason::EndOfText);
    let asked = stage.count(|it| matches!(it, Progress::Ask(asked) if asked.role == LARGE.role));
    assert!(stage.has_ended && asked == 0);
    let objected = stage
        .count(|it| matches!(it, Progress::Objected(it) if it.stood == " 54" && it.at_byte == 5));
    assert_eq!(objected, 1);
    let small = |text: &str| (Writer::Small, Why::Turn, text.to_owned());
    let large = (Writer::Large, Why::Review, " 56".to_owned());
    assert_eq!(spans(stage), [small("It is"), large, small(" indeed")]);
}

#[test]
fn a_correction_is_counted_with_its_token() {
    let mut stage = stage();
    stage.objections.push(plan(" 54", " 56"));
    stage.says(SMALL, &["It is", " 54"]);
    stage.ends(SMALL, FinishReason::EndOfText);
    let summary = stage.outcome().summary;
    assert_eq!((summary.corrections, summary.large.tokens, summary.takeovers.len()), (1, 1, 0));
    assert_eq!((summary.small.tokens, summary.small.discarded_tokens), (1, 1));
}

#[test]
fn an_end_waits_for_its_verdict_and_may_be_objected_to() {
    let mut stage = stage();
    stage.objections.push(plan("", " more"));
    stage.says(SMALL, &["Done."]);
    stage.ends(SMALL, FinishReason::EndOfText);
    assert!(!stage.has_ended && stage.is_asked(SMALL), "it continues");
    assert_eq!(stage.text(), "Done. more");
    stage.objections.clear();
    stage.silent.push(LARGE);
    stage.ends(SMALL, FinishReason::EndOfText);
    assert!(!stage.has_ended);
    stage.silent.clear();
    stage.settle();
    assert!(stage.has_ended);
}

#[test]
fn the_time_that_verdicts_were_waited_for_is_counted() {
    let mut stage = stage();
    stage.objections.push(plan(" 54", " 56"));
    stage.silent.push(LARGE);
    stage.says(SMALL, &["It is", " 54"]);
    stage.passes(ms(30));
    stage.silent.clear();
    stage.settle();
    assert_eq!(stage.text(), "It is 56", "the objection met a model that was writing");
    stage.silent.push(LARGE);
    stage.says(SMALL, &[" 54"]);
    stage.ends(SMALL, FinishReason::EndOfText);
    stage.passes(ms(200));
    stage.silent.clear();
    stage.settle();
    assert_eq!(stage.text(), "It is 56 56", "the next one met one that had finished");
    stage.silent.push(LARGE);
    stage.ends(SMALL, FinishReason::EndOfText);
    stage.passes(ms(50));
    stage.silent.clear();
    stage.settle();
    let time = stage.outcome().summary.time;
    assert_eq!((time.small.total_us(), time.verdicts_us), (30_000, 250_000));
    assert_eq!((time.large.total_us(), time.other_us, time.total_us), (0, 0, 280_000));
}

#[test]
fn the_wait_for_a_verdict_is_counted_once_however_it_ends() {
    type Ending = fn(&mut Stage);
    let ends: [(&str, Ending); 4] = [
        ("the verdict", Stage::settle),
        ("the user", |stage| stage.step(Input::Cancel)),
        ("the reviewer's loss", |stage| stage.event(LARGE, lost("gone"))),
        ("the small node's loss", |stage| stage.event(SMALL, lost("gone"))),
    ];
    for (what, end) in ends {
        let mut stage = stage();
        stage.silent.push(LARGE);
        stage.says(SMALL, &["It is", " 56"]);
        stage.passes(ms(30));
        stage.ends(SMALL, FinishReason::EndOfText);
        stage.passes(ms(200));
        stage.silent.clear();
        end(&mut stage);
        if !stage.has_ended {
            stage.settle();
        }
        let time = stage.outcome().summary.time;
        assert_eq!((time.small.total_us(), time.verdicts_us), (30_000, 200_000), "{what}");
        assert_eq!((time.large.total_us(), time.other_us), (0, 0), "{what}");
    }
}

#[test]
fn a_loop_and_a_stop_text_that_come_out_with_a_verdict_end_its_wait() {
    let line = "and so on it goes. ".repeat(20);
    let looping = || stage_of(spec(|limits| limits.loops = LoopRule::End));
    let stopping = || {
        let stop = StopTexts { texts: vec!["goes".to_owned()], ..StopTexts::default() };
        let policy = spec(|_| {}).build(0, 200).unwrap();
        Stage::of(Question { stop, ..question() }, (1, 1), Settings::default(), policy)
    };
    for (mut stage, expected) in [(looping(), End::Loop), (stopping(), End::Stop)] {
        stage.silent.push(LARGE);
        stage.says(SMALL, &[line.as_str()]);
        stage.passes(ms(30));
        stage.ends(SMALL, FinishReason::EndOfText);
        stage.passes(ms(200));
        stage.silent.clear();
        stage.settle();
        let outcome = stage.outcome();
        assert_eq!(outcome.ended, Ended::Complete(expected));
        let time = outcome.summary.time;
        assert_eq!((time.small.total_us(), time.verdicts_us), (30_000, 200_000), "{expected:?}");
    }
}

#[test]
fn the_large_model_may_end_the_answer() {
    let mut stage = stage();
    stage.objections.push(Planned { text: " So", instead: None });
    stage.says(SMALL, &["56.", " So"]);
    assert!(stage.has_ended);
    let outcome = stage.outcome();
    assert_eq!((outcome.text(), outcome.ended), ("56.".into(), Ended::Complete(End::EndOfText)));
    assert_eq!(outcome.summary.corrections, 0);
}

#[test]
fn more_tokens_are_asked_for() {
    let longer = spec(|limits| {
        limits.review = Some(ReviewConfig { tokens: 5, piece_tokens: 1, ..ReviewConfig::default() })
    });
    let mut stage = stage_of(longer);
    stage.objections.push(plan(" 54", " 56"));
    stage.says(SMALL, &["It is", " 54"]);
    assert!(stage.is_asked(LARGE) && !stage.is_asked(SMALL));
    assert_eq!(stage.committed(LARGE), "It is");
    stage.says(LARGE, &[" 56", ".\n\n"]);
    assert!(stage.is_asked(SMALL) && !stage.is_asked(LARGE), "to the paragraph's end at most");
    stage.ends(SMALL, FinishReason::EndOfText);
    let takeovers = stage.outcome().summary.takeovers;
    assert_eq!(takeovers.iter().map(|it| it.why).collect::<Vec<_>>(), [Why::Review]);
}

#[test]
fn the_small_model_may_try_again() {
    let trying = spec(|limits| {
        limits.review =
            Some(ReviewConfig { resample: 1, piece_tokens: 1, ..ReviewConfig::default() })
    });
    let mut stage = stage_of(trying);
    stage.objections.push(plan(" 54", " 56"));
    stage.says(SMALL, &["It is", " 54"]);
    assert_eq!((stage.text(), stage.committed(SMALL)), ("It is".into(), "It is".into()));
    stage.says(SMALL, &[" 54"]);
    assert_eq!(stage.text(), "It is 56", "it was no better");
    let seeds: Vec<u64> = stage
        .told
        .iter()
        .filter_map(|it| match &it.progress {
            Progress::Ask(asked) => Some(asked.seed),
            _ => None,
        })
        .collect();
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2]);
}

#[test]
fn a_target_overrules_what_it_has_no_room_for() {
    let thrifty = spec(|limits| limits.targets.share = Some(0.0));
    let mut stage = stage_of(thrifty);
    stage.objections.push(plan(" 54", " 56"));
    stage.says(SMALL, &["It is", " 54", " so"]);
    assert_eq!(
        (stage.text(), stage.committed(LARGE)),
        ("It is 54 so".into(), "It is 54 so".into())
    );
    stage.ends(SMALL, FinishReason::EndOfText);
    let summary = stage.outcome().summary;
    assert_eq!((summary.corrections, summary.passed_over), (0, 1));
}

#[test]
fn late_verdicts_let_text_stand() {
    let mut stage = stage_of(spec(|limits| limits.deadline = Some(ms(100))));
    stage.silent.push(LARGE);
    stage.says(SMALL, &["It is", " 54"]);
    stage.passes(ms(150));
    assert_eq!(stage.text(), "It is 54");
    stage.silent.clear();
    stage.objections.push(plan(" 54", " 56"));
    stage.settle();
    assert_eq!((stage.text(), stage.committed(LARGE)), ("It is 54".into(), "It is 54".into()));
    stage.objections.push(plan(" no", " yes"));
    stage.says(SMALL, &[" no"]);
    assert_eq!(stage.text(), "It is 54 yes", "it is judged again");
    stage.ends(SMALL, FinishReason::EndOfText);
    let summary = stage.outcome().summary;
    assert_eq!((summary.abandoned, summary.corrections, summary.degraded), (1, 1, None));
}

#[test]
fn without_a_reviewer_text_stands() {
    let mut stage = stage();
    stage.silent.push(LARGE);
    stage.says(SMALL, &["It is", " 54"]);
    stage.event(LARGE, lost("gone"));
    assert_eq!(stage.text(), "It is 54");
    stage.says(SMALL, &["."]);
    stage.ends(SMALL, FinishReason::EndOfText);
    let summary = stage.outcome().summary;
    assert!(summary.degraded.is_some() && summary.small.tokens == 3);
}

#[test]
fn an_answer_that_waits_for_a_verdict_ends_without_a_reviewer() {
    let mut stage = stage();
    stage.silent.push(LARGE);
    stage.says(SMALL, &["56"]);
    stage.ends(SMALL, FinishReason::EndOfText);
    assert!(!stage.has_ended);
    stage.event(LARGE, lost("gone"));
    assert!(stage.has_ended && stage.text() == "56");
}

#[test]
fn a_node_that_cannot_review_is_refused_before_a_word_is_shown() {
    let mut stage = Stage::of_old_nodes(spec(|_| {}).build(0, 200).unwrap());
    assert!(stage.has_ended && stage.text().is_empty());
    stage.settle();
    let Ended::Failed { node, failure } = stage.outcome().ended else { panic!("it must fail") };
    assert_eq!((node.as_str(), failure.code), ("large-0", Code::InvalidArgument));
    assert!(failure.message.contains("cannot review"), "{failure}");
}

#[test]
fn an_objection_to_what_was_passed_breaks_the_contract() {
    for (at_byte, instead, tokens) in
        [(0, Some("x"), 1), (400, Some("x"), 1), (7, Some(""), 1), (7, Some("x"), 1000)]
    {
        let mut stage = stage();
        stage.says(SMALL, &["It is", " é"]);
        let objection = Objection {
            at_byte,
            bytes: 1,
            gap: 9.0,
            rank: 1,
            log_p: -9.0,
            instead: instead.map(str::to_owned),
            tokens,
            token_ids: Vec::new(),
        };
        stage.step(Input::Event(LARGE, Event::Objection(Box::new(objection))));
        assert_eq!(stage.closed.len(), 1, "{at_byte} {instead:?} {tokens}");
        assert_eq!(stage.closed[0].1.code, Code::Internal);
    }
}

#[test]
fn strict_and_a_review_compose() {
    let mut spec = PolicySpec::new(PolicyKind::StrictReview, Preset::Reasoning);
    spec.limits.review = Some(ReviewConfig { piece_tokens: 1, ..ReviewConfig::default() });
    let mut stage = stage_of(spec);
    stage.objections.push(plan(" 54", " 56"));
    stage.says(SMALL, &["It is", " 54"]);
    stage.says(SMALL, &[".\n\n", "Wait", ", is it?"]);
    assert!(stage.is_asked(LARGE), "the trigger hands over behind judged text");
    stage.says(LARGE, &["Yes", ".\n\n"]);
    stage.ends(SMALL, FinishReason::EndOfText);
    let whys: Vec<Why> = spans(stage).into_iter().map(|(_, why, _)| why).collect();
    assert_eq!(whys, [Why::Turn, Why::Review, Why::Turn, Why::Reflection]);
}

#[test]
fn a_review_needs_sessions_that_stay_open_and_read_ahead() {
    let settings = Settings { keep_warm: false, resend: true, ..Settings::default() };
    let policy = spec(|_| {}).build(0, 200).unwrap();
    let mut stage = Stage::of(question(), (1, 1), settings, policy);
    stage.says(SMALL, &["So"]);
    assert_eq!(stage.committed(LARGE), "So", "both settings are overridden");
}
