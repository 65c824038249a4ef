//! The policies are total: whatever happens, they answer with something that makes sense.

use std::time::Duration;

use proptest::prelude::*;
use thinking::{
    policy::{
        Action, Ask, Limits, LoopRule, Policy, PolicyEvent, PolicyKind, PolicySpec, Preset, Role,
        Targets,
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
    /// What the last action asks for.
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
        3 => (prop::sample::select(texts), 0u32..40).prop_map(|(text, n)| Happening::Looped(text, n)),
        2 => finished.clone().prop_map(|(text, n, reason)| Happening::Finished(text, n, reason)),
        40 => finished.prop_map(|(text, n, reason)| Happening::Fitting(text, n, reason)),
    ]
}

/// What a writer was last asked for, and what is written `meanwhile`.
fn under_way(last: &[Action], meanwhile: &mut Option<Ask>) -> Option<Ask> {
    match last {
        [.., Action::Ask(ask)] => Some(ask.clone()),
        [.., Action::Ask(ask), Action::Overlap(overlap)] => {
            *meanwhile = Some(overlap.clone());
            Some(ask.clone())
        }
        // The takeover was late, and what was written meanwhile goes on.
        [.., Action::Keep { .. }] => meanwhile.take(),
        _ => None,
    }
}

/// After a stretch of `text`: parts of it are kept, then one thing is asked for.
fn well_formed(actions: &[Action], text: &str, kind: PolicyKind) -> Result<(), TestCaseError> {
    let before = match actions {
        [before @ .., Action::Ask(_), Action::Overlap(_)]
        | [before @ .., Action::Insert { .. } | Action::Ask(_) | Action::End(_)] => before,
        _ => return Err(TestCaseError::fail(format!("{actions:?}"))),
    };
    for action in before {
        let Action::Keep { bytes, .. } = action else {
            return Err(TestCaseError::fail(format!("{actions:?}")));
        };
        let edge = text.is_char_boundary(*bytes as usize);
        prop_assert!(edge || kind == PolicyKind::Paper, "{:?} of {:?}", actions, text);
    }
    Ok(())
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
        let mut policy = spec.build(1, max_tokens).unwrap();
        let mut last = policy.step(PolicyEvent::Started { prompt_tokens: 5 });
        let (mut spent, mut fair) = (0u64, true);
        let mut meanwhile = None;
        for happening in happenings {
            let asked = under_way(&last, &mut meanwhile);
            if let Some(ask) = &asked
                && kind != PolicyKind::Paper
                && fair
            {
                prop_assert!(ask.max_tokens >= 1);
                prop_assert!(spent + u64::from(ask.max_tokens) <= u64::from(max_tokens));
            }
            let (text, tokens, reason) = match happening {
                Happening::Started(prompt_tokens) => {
                    last = policy.step(PolicyEvent::Started { prompt_tokens });
                    continue;
                }
                Happening::Inserted(tokens) => {
                    fair = false;
                    last = policy.step(PolicyEvent::Inserted { tokens });
                    continue;
                }
                Happening::Late => {
                    // Nobody is told so of the small writer.
                    if asked.is_some_and(|ask| ask.role == Role::Large) {
                        last = policy.step(PolicyEvent::Late);
                    }
                    continue;
                }
                Happening::Looped(text, tokens) => {
                    // Nobody is told so where nothing was asked for, or nothing is to be done about it.
                    if let Some(ask) = asked.filter(|_| policy.cuts_loops()) {
                        let tokens = tokens.min(ask.max_tokens);
                        spent += u64::from(tokens);
                        last = policy.step(PolicyEvent::Looped { text, tokens });
                        well_formed(&last, text, kind)?;
                    }
                    continue;
                }
                Happening::Finished(text, tokens, reason) => {
                    fair = false;
                    (text, tokens, reason)
                }
                Happening::Fitting(text, tokens, reason) => match (&asked, last.last()) {
                    (Some(ask), _) => (text, tokens.min(ask.max_tokens), reason),
                    (None, Some(Action::Insert { text, .. })) => {
                        let tokens = tokens.min(text.len() as u32);
                        spent += u64::from(tokens);
                        last = policy.step(PolicyEvent::Inserted { tokens });
                        continue;
                    }
                    _ => continue,
                },
            };
            spent += u64::from(tokens);
            last = policy.step(PolicyEvent::Finished { text, tokens, reason: &reason });
            well_formed(&last, text, kind)?;
        }
    }
}
