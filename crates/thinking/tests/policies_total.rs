//! The policies are total: whatever happens, they answer with a meaningful step.

use std::time::Duration;

use proptest::prelude::*;
use thinking::{
    policy::{
        Action, Ask, Limited, Limits, LoopRule, Policy, PolicyEvent, PolicyKind, PolicySpec,
        Preset, Role, Targets,
    },
    thinker::FinishReason,
    trigger::{TriggerKind, TriggerMatch},
};

fn reasons() -> impl Strategy<Value = FinishReason> + Clone {
    let kinds =
        [TriggerKind::Affirmation, TriggerKind::Reflection, TriggerKind::Verification].to_vec();
    prop_oneof![
        1 => Just(FinishReason::EndOfText),
        6 => Just(FinishReason::MaxTokens),
        6 => (0u64..20).prop_map(|end| FinishReason::Stop { end }),
        1 => Just(FinishReason::Deadline),
        1 => Just(FinishReason::ContextFull),
        6 => (prop::sample::select(kinds), 0u64..12).prop_map(|(kind, cut)| {
            let phrase = "wait".to_owned();
            FinishReason::Trigger(TriggerMatch { kind, phrase, cut, start: cut, end: cut + 4 })
        }),
    ]
}

#[derive(Debug, Clone)]
enum Happening {
    Started(u32),
    Finished(&'static str, u32, FinishReason),
    Inserted(u32),
    Late,
    Looped(&'static str, u32),
    Objected(&'static str, u32, Option<&'static str>),
    /// A result that fits what the last action asked for.
    Fitting(&'static str, u32, FinishReason),
}

fn happenings() -> impl Strategy<Value = Happening> {
    let texts = ["", "So.\n\nWait, no", "数学é\n\n", "yes", "let me check", "a\n\nb\n\n"].to_vec();
    let finished =
        (prop::sample::select(texts.clone()), prop_oneof![0u32..40, any::<u32>()], reasons());
    prop_oneof![
        1 => any::<u32>().prop_map(Happening::Started),
        1 => any::<u32>().prop_map(Happening::Inserted),
        3 => Just(Happening::Late),
        3 => (prop::sample::select(texts.clone()), 0u32..40)
            .prop_map(|(text, n)| Happening::Looped(text, n)),
        9 => (prop::sample::select(texts), 0u32..40, prop::option::weighted(0.9, Just(" 7")))
            .prop_map(|(text, n, instead)| Happening::Objected(text, n, instead)),
        2 => finished.clone().prop_map(|(text, n, reason)| Happening::Finished(text, n, reason)),
        40 => finished.prop_map(|(text, n, reason)| Happening::Fitting(text, n, reason)),
    ]
}

/// Returns what a writer was last asked for, and stores an overlap in `meanwhile`.
fn under_way(last: &[Action], meanwhile: &mut Option<Ask>) -> Option<Ask> {
    match last {
        [.., Action::Ask(ask)] => Some(ask.clone()),
        [.., Action::Ask(ask), Action::Overlap(overlap)] => {
            *meanwhile = Some(overlap.clone());
            Some(ask.clone())
        }
        // The takeover was late, and the overlap's text continues.
        [.., Action::Keep { .. }] => meanwhile.take(),
        _ => None,
    }
}

/// Checks that a step after a stretch of `text` keeps parts of it and then asks for one thing.
fn well_formed(actions: &[Action], text: &str, kind: PolicyKind) -> Result<(), TestCaseError> {
    let before = match actions {
        [before @ .., Action::Ask(_), Action::Overlap(_)]
        | [before @ .., Action::Insert { .. } | Action::Ask(_) | Action::End(_)]
        | [before @ .., Action::Overrule] => before,
        _ => return Err(TestCaseError::fail(format!("{actions:?}"))),
    };
    for action in before {
        let (Action::Keep { bytes, .. } | Action::Correct { bytes }) = action else {
            return Err(TestCaseError::fail(format!("{actions:?}")));
        };
        let edge = text.is_char_boundary(*bytes as usize);
        // `score` keeps a paragraph only after it has received the mark.
        let is_other = matches!(kind, PolicyKind::Paper | PolicyKind::Score);
        prop_assert!(edge || is_other, "{:?} of {:?}", actions, text);
    }
    Ok(())
}

/// A policy that receives events.
struct Trial {
    kind: PolicyKind,
    max_tokens: u32,
    policy: Limited,
    /// The actions of its last step.
    last: Vec<Action>,
    /// What is written while the large writer is waited for.
    meanwhile: Option<Ask>,
    spent: u64,
    /// Whether every event so far was one that the policy had asked for.
    is_fair: bool,
}

impl Trial {
    fn new(kind: PolicyKind, max_tokens: u32, mut policy: Limited) -> Self {
        let last = policy.step(PolicyEvent::Started { prompt_tokens: 5 });
        Trial { kind, max_tokens, policy, last, meanwhile: None, spent: 0, is_fair: true }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), TestCaseError> {
        let asked = under_way(&self.last, &mut self.meanwhile);
        self.keeps_the_budget(asked.as_ref())?;
        match happening {
            Happening::Started(prompt_tokens) => self.hear(PolicyEvent::Started { prompt_tokens }),
            Happening::Inserted(tokens) => {
                self.is_fair = false;
                self.hear(PolicyEvent::Inserted { tokens });
            }
            // `Late` is never sent about the small writer.
            Happening::Late if asked.as_ref().is_some_and(|ask| ask.role == Role::Large) => {
                self.hear(PolicyEvent::Late);
            }
            Happening::Late => {}
            // `Looped` is sent only if something was asked for and the policy cuts loops.
            Happening::Looped(text, tokens) => {
                if let Some(ask) = asked.filter(|_| self.policy.cuts_loops()) {
                    let tokens = tokens.min(ask.max_tokens);
                    return self.wrote(text, tokens, PolicyEvent::Looped { text, tokens });
                }
            }
            // `Objected` is sent only if the large writer reviews.
            Happening::Objected(text, tokens, instead) => {
                let reviews = self.policy.review().is_some();
                if let Some(ask) = asked.filter(|ask| reviews && ask.role == Role::Small) {
                    let tokens = tokens.min(ask.max_tokens.saturating_sub(1));
                    let (before, instead_tokens) = (self.spent, 1);
                    let event = PolicyEvent::Objected { text, tokens, instead, instead_tokens };
                    self.wrote(text, tokens, event)?;
                    // An overruled objection changes nothing: the proposal continues.
                    self.spent = match &self.last[..] {
                        [Action::Overrule] => before,
                        _ => self.spent + u64::from(instead.is_some()),
                    };
                }
            }
            Happening::Finished(text, tokens, reason) => {
                self.is_fair = false;
                let finished = PolicyEvent::Finished { text, tokens, reason: &reason };
                return self.wrote(text, tokens, finished);
            }
            Happening::Fitting(text, tokens, reason) => match (&asked, self.last.last()) {
                (Some(ask), _) => {
                    let tokens = tokens.min(ask.max_tokens);
                    let finished = PolicyEvent::Finished { text, tokens, reason: &reason };
                    return self.wrote(text, tokens, finished);
                }
                (None, Some(Action::Insert { text, .. })) => {
                    let tokens = tokens.min(text.len() as u32);
                    self.spent += u64::from(tokens);
                    self.hear(PolicyEvent::Inserted { tokens });
                }
                _ => {}
            },
        }
        Ok(())
    }

    /// Checks that the ask fits the remaining budget, as long as no unrequested event has come.
    fn keeps_the_budget(&self, asked: Option<&Ask>) -> Result<(), TestCaseError> {
        if let Some(ask) = asked.filter(|_| self.is_fair && self.kind != PolicyKind::Paper) {
            prop_assert!(ask.max_tokens >= 1);
            prop_assert!(self.spent + u64::from(ask.max_tokens) <= u64::from(self.max_tokens));
        }
        Ok(())
    }

    fn hear(&mut self, event: PolicyEvent<'_>) {
        self.last = self.policy.step(event);
    }

    /// Sends the event of a stretch of text, and checks the step that follows.
    fn wrote(
        &mut self,
        text: &str,
        tokens: u32,
        event: PolicyEvent<'_>,
    ) -> Result<(), TestCaseError> {
        self.spent += u64::from(tokens);
        self.hear(event);
        well_formed(&self.last, text, self.kind)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn policies_are_total(
        kind in prop::sample::select(PolicyKind::ALL.to_vec()),
        preset in prop::sample::select(Preset::ALL.to_vec()),
        max_tokens in prop_oneof![0u32..300, any::<u32>()],
        share in 0.0f64..=1.0,
        impatient: bool,
        cuts_loops: bool,
        overlap_tokens in prop::option::of(1u32..40),
        target_share in prop::option::of(0.0f64..=1.0),
        thought_only: bool,
        happenings in prop::collection::vec(happenings(), 0..60),
    ) {
        let solo = matches!(kind, PolicyKind::SmallOnly | PolicyKind::LargeOnly);
        let targets = Targets { share: target_share, ..Targets::default() };
        let hasty = Limits { deadline: Some(Duration::from_millis(300)), ..Limits::default() };
        let loops = if cuts_loops { kind.usual_loops() } else { LoopRule::Off };
        let limits = match impatient && !solo {
            true => Limits { overlap_tokens, targets, thought_only, loops, ..hasty },
            false => Limits { loops, ..Limits::default() },
        };
        let spec = PolicySpec::new(kind, preset).with_share(share).within(limits);
        let mut trial = Trial::new(kind, max_tokens, spec.build(1, max_tokens).unwrap());
        for happening in happenings {
            trial.happen(happening)?;
        }
    }
}
