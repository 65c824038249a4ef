//! Defective policies end the answer, and the failure names the defect.

use conductor::{Ended, progress::Progress, question::Settings};
use thinking::{
    policy::{Action, Ask, End, Limited, Limits, Policy, PolicyEvent, Role, Why},
    thinker::FinishReason,
};

use crate::stage::{LARGE, SMALL, Stage};

/// Returns these lists of actions, one after the other.
struct Scripted(std::vec::IntoIter<Vec<Action>>);

impl Policy for Scripted {
    fn step(&mut self, _: PolicyEvent<'_>) -> Vec<Action> {
        self.0.next().unwrap_or_default()
    }
}

fn stage(steps: Vec<Vec<Action>>) -> Stage {
    let policy = Scripted(steps.into_iter());
    let policy = Limited::new(Box::new(policy), Limits::default(), 200);
    Stage::new(1, 1, Settings::default(), policy)
}

fn ask(role: Role) -> Action {
    Action::Ask(Ask::new(role, Why::Turn, 50))
}

/// Makes an ask provisional: none of its text is shown before it is kept.
fn provisional(action: Action) -> Action {
    match action {
        Action::Ask(ask) => Action::Ask(Ask { provisional: true, ..ask }),
        other => other,
    }
}

fn keep(role: Role, bytes: u64) -> Action {
    Action::Keep { role, bytes }
}

/// Returns the defect that ended the answer, and what was shown before.
fn defect(stage: Stage) -> (String, String) {
    assert!(stage.has_ended);
    let outcome = stage.outcome();
    let Ended::Failed { node, failure } = &outcome.ended else { panic!("{:?}", outcome.ended) };
    assert_eq!(node, "policy");
    (failure.message.clone(), outcome.text())
}

#[test]
fn what_a_policy_may_not_ask_for_is_named() {
    let small = || provisional(ask(Role::Small));
    let insert = || Action::Insert { text: "Check:".to_owned(), why: Why::Recap };
    for (steps, words) in [
        (vec![vec![]], "neither asks for more nor ends"),
        (vec![vec![keep(Role::Large, 1)]], "keeps a proposal of the Large model, which has none"),
        (vec![vec![small()], vec![keep(Role::Small, 4)]], "keeps 4 bytes of 5, inside a character"),
        (vec![vec![small()], vec![keep(Role::Small, 9)]], "keeps 9 bytes of 5"),
        (vec![vec![small()], vec![keep(Role::Small, 5)]], "neither asks for more nor ends"),
        (vec![vec![small()], vec![insert()]], "inserts text while a proposal is open"),
    ] {
        let mut stage = stage(steps);
        if stage.is_asked(SMALL) {
            stage.says(SMALL, &["We", "数"]);
            stage.ends(SMALL, FinishReason::MaxTokens);
        }
        let (message, _) = defect(stage);
        assert!(message.contains(words), "{message}, not {words}");
    }
}

#[test]
fn an_overlap_of_nothing_is_named() {
    let Action::Ask(overlap) = ask(Role::Small) else { unreachable!("an ask") };
    let (message, _) = defect(stage(vec![vec![Action::Overlap(overlap)]]));
    assert!(message.contains("overlaps an ask that is not the large model's"), "{message}");
}

#[test]
fn text_that_does_not_follow_the_answers_end_is_never_shown() {
    // Both write at the same place, and the policy keeps both.
    let both = vec![keep(Role::Large, 2), keep(Role::Small, 3), Action::End(End::EndOfText)];
    let small = provisional(ask(Role::Small));
    let mut stage = stage(vec![vec![small], vec![ask(Role::Large)], both]);
    stage.says(SMALL, &["abc"]);
    stage.ends(SMALL, FinishReason::MaxTokens);
    stage.says(LARGE, &["xy"]);
    stage.ends(LARGE, FinishReason::MaxTokens);
    let (message, text) = defect(stage);
    assert!(message.contains("does not follow the answer's end"), "{message}");
    assert_eq!(text, "xy");
}

#[test]
fn an_ask_of_a_large_node_that_is_not_there_degrades_the_answer() {
    let steps = vec![vec![ask(Role::Large)], vec![keep(Role::Large, 0), ask(Role::Small)]];
    let policy = Limited::new(Box::new(Scripted(steps.into_iter())), Limits::default(), 200);
    let mut stage = Stage::new(1, 0, Settings::default(), policy);
    assert_eq!(stage.count(|p| matches!(p, Progress::Degraded { .. })), 1);
    stage.passes(crate::stage::ms(0));
    assert!(stage.is_asked(SMALL));
}
