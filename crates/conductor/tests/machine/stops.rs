//! Stop texts end an answer whichever model writes them and however they are cut into pieces; a given beginning is
//! continued.

use conductor::{
    Ended, Outcome,
    progress::{Asked, Progress, Text},
    question::{Question, Settings},
};
use proptest::prelude::*;
use thinking::{
    beginning::AnswerBeginning,
    policy::{Action, Ask, End, Limited, Limits, Policy, PolicyEvent, Role, Why},
    stops::StopTexts,
    thinker::FinishReason,
};

use crate::stage::{LARGE, SMALL, Stage, question, strict};

/// Both models write in turns of this many tokens, the small one first.
struct Relay {
    tokens: u32,
    provisional: bool,
    next: Role,
}

impl Policy for Relay {
    fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        if let PolicyEvent::Finished { text, reason, .. } = event {
            actions.push(Action::Keep { role: self.next.other(), bytes: text.len() as u64 });
            if *reason == FinishReason::EndOfText {
                actions.push(Action::End(End::EndOfText));
                return actions;
            }
        }
        let why = if self.next == Role::Large { Why::Schedule } else { Why::Turn };
        let provisional = self.provisional;
        actions.push(Action::Ask(Ask { provisional, ..Ask::new(self.next, why, self.tokens) }));
        self.next = self.next.other();
        actions
    }
}

fn stops(texts: &[&str]) -> StopTexts {
    StopTexts { texts: texts.iter().map(|&text| text.to_owned()).collect(), in_thought: true }
}

/// Returns an answer that stops at these texts, written in turns of this many tokens.
fn relay(stop: StopTexts, tokens: u32, provisional: bool) -> Stage {
    let policy = Relay { tokens, provisional, next: Role::Small };
    let policy = Limited::new(Box::new(policy), Limits::default(), 1000);
    Stage::of(Question { stop, ..question() }, (1, 1), Settings::default(), policy)
}

/// Lets whichever node is asked write the next of these tokens, and then ends the answer if it has not ended. Returns
/// how many tokens were used.
fn write(stage: &mut Stage, tokens: &[&str]) -> usize {
    for (written, token) in tokens.iter().enumerate() {
        if stage.has_ended {
            return written;
        }
        let node = if stage.is_asked(SMALL) { SMALL } else { LARGE };
        stage.says(node, &[token]);
    }
    if !stage.has_ended {
        let node = if stage.is_asked(SMALL) { SMALL } else { LARGE };
        stage.ends(node, FinishReason::EndOfText);
    }
    tokens.len()
}

fn ended(stage: Stage) -> (End, Outcome) {
    assert!(stage.has_ended);
    let outcome = stage.outcome();
    let Ended::Complete(end) = outcome.ended else { panic!("{:?}", outcome.ended) };
    (end, outcome)
}

#[test]
fn a_stop_text_is_found_at_every_place_of_every_hand_over() {
    let (text, stop) = ("It is 5.\n\n数Q: and more of it", "\n\n数Q:");
    let places = text.char_indices().map(|(at, _)| at);
    for at in places.clone().skip(1) {
        for then in places.clone().filter(|then| *then > at) {
            let tokens = [&text[..at], &text[at..then], &text[then..]];
            for provisional in [false, true] {
                let mut stage = relay(stops(&["never", stop]), 1, provisional);
                let written = write(&mut stage, &tokens);
                let stop_ends = text.find(stop).unwrap() + stop.len();
                let needed = tokens.iter().scan(0, |end, token| {
                    *end += token.len();
                    Some(*end)
                });
                let needed = needed.take_while(|end| *end < stop_ends).count() + 1;
                assert_eq!(written, needed, "no node continues: {tokens:?}");
                let (end, outcome) = ended(stage);
                assert_eq!((end, outcome.text().as_str()), (End::Stop, "It is 5."), "{tokens:?}");
                assert_eq!(outcome.summary.stopped_by.as_deref(), Some(stop));
            }
        }
    }
}

#[test]
fn both_models_stop_in_the_step_in_which_the_stop_text_is_complete() {
    let mut stage = relay(stops(&["x = 5"]), 3, false);
    for token in ["So", " x", " ="] {
        stage.says(SMALL, &[token]);
    }
    assert!(stage.is_asked(LARGE) && !stage.has_ended);
    assert_eq!(stage.text(), "So ", "what may begin it is not shown");
    let asked =
        |stage: &Stage| stage.count(|progress| matches!(progress, Progress::Ask(Asked { .. })));
    let before = asked(&stage);
    stage.says(LARGE, &[" 5"]);
    assert!(stage.has_ended);
    assert_eq!(asked(&stage), before, "nobody is asked any more");
    let (_, outcome) = ended(stage);
    assert_eq!(outcome.text(), "So ");
    let summary = &outcome.summary;
    assert_eq!((summary.small.tokens, summary.large.tokens), (3, 1), "they were generated");
    assert_eq!((summary.small.text_bytes, summary.large.text_bytes), (3, 0));
}

#[test]
fn what_was_held_back_is_shown_by_its_writers_when_the_answer_ends() {
    let mut stage = relay(stops(&["abcd"]), 1, false);
    write(&mut stage, &["xa", "b", "c"]);
    let shown = stage.told.iter().filter_map(|stamped| match &stamped.progress {
        Progress::Text(Text { text, writer, .. }) => Some(format!("{writer:?} {text}")),
        _ => None,
    });
    let shown: Vec<String> = shown.collect();
    assert_eq!(shown, ["Small x", "Small a", "Large b", "Small c"]);
    let (end, outcome) = ended(stage);
    assert_eq!((end, outcome.text().as_str()), (End::EndOfText, "xabc"));
}

#[test]
fn what_is_given_of_an_answer_is_continued_by_both_and_not_shown() {
    let content = "No, because".to_owned();
    let beginning = AnswerBeginning { content, ..AnswerBeginning::default() };
    let question = Question { beginning, stop: stops(&["because 13"]), ..question() };
    let mut stage = Stage::of(question, (1, 1), Settings::default(), strict());
    assert_eq!(stage.committed(SMALL), "No, because");
    assert_eq!(stage.committed(LARGE), "No, because");
    stage.says(SMALL, &[" 13", " * 17", ".\n\n", "Wait", ","]);
    stage.says(LARGE, &["Yes"]);
    assert!(!stage.has_ended, "a stop text does not begin in it");
    for node in [SMALL, LARGE] {
        assert_eq!(stage.committed(node), "No, because 13 * 17.\n\n");
    }
    assert_eq!(stage.text(), " 13 * 17.\n\nYes");
}

proptest! {
    #[test]
    fn an_answer_ends_before_the_first_stop_text_of_its_text(
        text in "[ab\n数]{1,30}",
        texts in prop::collection::vec("[ab\n数]{1,4}", 1..4),
        length in 1usize..4,
        turn in 1u32..4,
        provisional: bool,
    ) {
        let letters: Vec<char> = text.chars().collect();
        let tokens: Vec<String> = letters.chunks(length).map(|token| token.iter().collect()).collect();
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut stage = relay(stops(&texts), turn, provisional);
        write(&mut stage, &tokens);
        let ends = texts.iter().filter_map(|stop| Some((text.find(stop)? + stop.len(), stop)));
        let first = ends.map(|(end, stop)| (end, end - stop.len())).min();
        let (end, outcome) = ended(stage);
        let expected = first.map_or(text.as_str(), |(_, at)| &text[..at]);
        prop_assert_eq!(outcome.text(), expected);
        let expected = if first.is_some() { End::Stop } else { End::EndOfText };
        prop_assert_eq!(end, expected);
    }
}
