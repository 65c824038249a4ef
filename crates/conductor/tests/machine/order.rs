//! Events in any order: at worst they end their session, never the process.

use std::time::Duration;

use conductor::{
    Conductor, Effect, Ended, Input, NodeId, NodeNames, progress::Progress, question::Settings,
};
use proptest::prelude::*;
use thinking::{
    policy::{Limits, PolicySpec, Role},
    thinker::{
        Code, Delta, Event, Failure, FinishReason, Finished, ModelCard, Opened, TextHash, Timing,
        Warmed,
    },
    trigger::{TriggerKind, TriggerMatch},
};

use crate::stage::{SMALL, Stage, lost, question, strict};

fn opened() -> Event {
    Event::Opened(Box::new(Opened {
        card: ModelCard::default(),
        prompt_tokens: 1,
        cached_tokens: 0,
    }))
}

fn warmed(committed_bytes: u64) -> Event {
    let hash = TextHash::default();
    Event::Warmed(Warmed {
        committed_bytes,
        hash,
        tokens: 1,
        prefill_tokens: 1,
        prefill_us: 9,
        reviewed_bytes: 0,
        passes_milli: 0,
    })
}

fn finished(reason: FinishReason, bytes: u64, tokens: u32) -> Event {
    let timing = Timing { queue_us: u64::MAX, prefill_us: 1, decode_us: u64::MAX };
    let (prefill_tokens, cached_tokens, passes_milli) = (tokens, tokens, tokens);
    Event::Finished(Finished {
        reason,
        tokens,
        bytes,
        prefill_tokens,
        cached_tokens,
        timing,
        passes_milli,
    })
}

#[test]
fn an_event_that_the_contract_does_not_allow_ends_its_session() {
    for (event, words) in [
        (opened(), "accepted the question twice"),
        (warmed(0), "reported text it was not given"),
        (finished(FinishReason::MaxTokens, 7, 1), "the length it reports differ"),
    ] {
        let mut stage = Stage::new(2, 1, Settings::default(), strict());
        stage.event(SMALL, event);
        let [(node, failure)] = &stage.closed[..] else { panic!("{:?}", stage.closed) };
        assert_eq!((*node, failure.code), (SMALL, Code::Internal));
        assert!(failure.message.contains(words), "{failure}");
        assert_eq!(stage.count(|p| matches!(p, Progress::Resumed(_))), 1);
        assert!(stage.is_asked(NodeId::small(1)), "the next one is asked for the same");
    }
    for event in [Event::Delta(Delta::default()), finished(FinishReason::MaxTokens, 0, 0)] {
        let mut stage = Stage::new(1, 2, Settings::default(), strict());
        stage.event(NodeId::large(0), event);
        assert!(stage.closed[0].1.message.contains("without being asked"), "{:?}", stage.closed);
        assert!(stage.has_session(NodeId::large(1)));
    }
}

#[test]
fn events_of_nodes_without_a_session_are_passed_over() {
    let mut stage = Stage::new(2, 2, Settings::default(), strict());
    let told = stage.told.len();
    for node in [NodeId::small(1), NodeId::large(1), NodeId::small(9), NodeId::large(usize::MAX)] {
        for event in [opened(), warmed(3), lost("gone"), Event::Delta(Delta::default())] {
            stage.event(node, event);
        }
    }
    assert_eq!((stage.told.len(), stage.closed.len()), (told, 0));
}

fn any_event() -> impl Strategy<Value = Event> {
    let text = prop::sample::select(vec!["", "a", "数", "\n\n", "Wait,", "so on\n"]);
    let number = || prop::sample::select(vec![0, 1, 2, 3, 9, u64::MAX]);
    let reason = (0..7_u8, number()).prop_map(|(kind, at)| match kind {
        0 => FinishReason::EndOfText,
        1 => FinishReason::MaxTokens,
        2 => FinishReason::Stop { end: at },
        3 => FinishReason::Cancelled,
        4 => FinishReason::Deadline,
        5 => FinishReason::ContextFull,
        _ => FinishReason::Trigger(TriggerMatch {
            kind: TriggerKind::Reflection,
            phrase: "wait".to_owned(),
            cut: at,
            start: at,
            end: at,
        }),
    });
    let codes = vec![Code::Unavailable, Code::ContextTooLong, Code::DeadlineExceeded];
    prop_oneof![
        2 => Just(opened()),
        3 => Just(warmed(0)),
        1 => number().prop_map(warmed),
        6 => (text, number(), number()).prop_map(|(text, settled_bytes, tokens)| {
            let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
            let (text, token_ids) = (text.to_owned(), vec![7]);
            let first_token_entropy = None;
            Event::Delta(Delta { text, tokens, token_ids, settled_bytes, first_token_entropy })
        }),
        4 => (reason, number(), number()).prop_map(|(reason, bytes, tokens)| {
            finished(reason, bytes, u32::try_from(tokens).unwrap_or(u32::MAX))
        }),
        1 => prop::sample::select(codes)
            .prop_map(|code| Event::Failed(Failure::new(code, "it failed"))),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    let role = prop::sample::select(vec![Role::Small, Role::Large]);
    prop_oneof![
        12 => (role, 0..3_usize, any_event())
            .prop_map(|(role, index, event)| Input::Event(NodeId { role, index }, event)),
        2 => Just(Input::Wake),
        1 => Just(Input::Event(SMALL, opened())),
    ]
}

/// Draws the settings and a policy's limits.
fn any_limits() -> impl Strategy<Value = (Settings, Limits)> {
    let deadline = prop::option::of((1..90_u64).prop_map(Duration::from_millis));
    let drawn = (any::<bool>(), any::<bool>(), prop::option::of(1..9_u32), deadline);
    drawn.prop_map(|(keep_warm, resend, overlap_tokens, deadline)| {
        let settings = Settings { keep_warm, resend, ..Settings::default() };
        (settings, Limits { deadline, overlap_tokens, ..Limits::default() })
    })
}

proptest! {
    /// Includes numbers that no sound node reports. What was shown is the answer, and the same inputs give the same
    /// effects.
    #[test]
    fn no_order_of_events_ends_the_process(
        inputs in prop::collection::vec((any_input(), 0..40_000_u64), 0..60),
        (settings, limits) in any_limits(),
    ) {
        let run = || {
            let policy = PolicySpec::default().within(limits).build(1, 200).unwrap();
            let names = |part: &str| (0..3).map(|i| format!("{part}{i}")).collect();
            let nodes = NodeNames { small: names("s"), large: names("l") };
            let (mut conductor, mut effects) =
                Conductor::start(question(), settings, policy, nodes);
            let mut now = Duration::ZERO;
            for (input, after_ms) in &inputs {
                now += Duration::from_millis(*after_ms);
                let ended = effects.contains(&Effect::End);
                let more = conductor.step(input.clone(), now);
                assert!(!ended || more.is_empty(), "nothing follows the end");
                effects.extend(more);
                assert!(conductor.wake_at() <= Duration::from_secs(24 * 3600 + 1), "within a day");
            }
            (effects, conductor.conclude(&[]))
        };
        let (effects, outcome) = run();
        prop_assert_eq!(&run(), &(effects.clone(), outcome.clone()));
        let shown = effects.iter().filter_map(|effect| match effect {
            Effect::Tell(stamped) => match &stamped.progress {
                Progress::Text(text) => Some(text.text.as_str()),
                _ => None,
            },
            _ => None,
        });
        prop_assert_eq!(shown.collect::<String>(), outcome.text());
        if let Ended::Failed { node, failure } = &outcome.ended {
            prop_assert!(node != "policy", "{}", failure);
        }
    }

    /// Nodes that keep the contract of sessions never get a command that it does not allow: the stage's nodes would
    /// refuse it. One large node of three is enough for a whole answer.
    #[test]
    fn nodes_may_be_lost_at_any_moment(
        moments in prop::collection::vec((0..12_u8, 0..7_usize), 0..120),
        (settings, limits) in any_limits(),
    ) {
        let policy = PolicySpec::default().within(limits).build(1, 200).unwrap();
        let mut stage = Stage::new(4, 3, settings, policy);
        let mut large_losses = 0;
        for (what, which) in moments {
            let role = if which % 2 == 0 { Role::Small } else { Role::Large };
            let node = (0..4).map(|index| NodeId { role, index });
            let Some(node) = node.into_iter().find(|node| stage.has_session(*node)) else { continue };
            if stage.has_ended {
                break;
            }
            match what {
                0 => {
                    large_losses += u32::from(role == Role::Large);
                    stage.event(node, lost("gone"));
                }
                1 => stage.passes(Duration::from_millis(7 * which as u64)),
                2 if stage.is_asked(node) => stage.ends(node, FinishReason::MaxTokens),
                _ if stage.is_asked(node) => {
                    stage.says(node, &["So", " 数", ".", "\n\n", "Wait", ",", " 4"][which..=which]);
                }
                _ => {}
            }
        }
        if !stage.has_ended {
            stage.step(Input::Cancel);
        }
        let outcome = stage.outcome();
        let is_policy = matches!(&outcome.ended, Ended::Failed { node, .. } if node == "policy");
        prop_assert!(!is_policy, "{:?}", outcome.ended);
        let summary = outcome.summary;
        prop_assert!(large_losses >= 3 || summary.degraded.is_none());
        prop_assert_eq!(u64::from(summary.hash_repairs), 0);
    }
}
