//! Policies with targets: how much of an answer the large writer may write.

use std::time::Duration;

use proptest::prelude::*;
use thinking::{
    policy::{
        Action, Ask, Limited, Limits, Measured, ModelPrices, Policy, PolicyEvent, PolicyKind,
        PolicySpec, Preset, Role, Targets, TokenPrices, Why,
    },
    thinker::FinishReason,
    trigger::Matcher,
};

const REFLECTION: &str = "So.\n\nWait, no";
const AFFIRMATION: &str = "So.\n\nYes, it";
const VERIFICATION: &str = "So.\n\nLet me check this";

fn share(share: f64) -> Targets {
    Targets { share: Some(share), ..Targets::default() }
}

fn within(targets: Targets, kind: PolicyKind, preset: Preset) -> Limited {
    let limits = Limits { targets, ..Limits::default() };
    PolicySpec::new(kind, preset).within(limits).build(0, 4096).expect("a good policy")
}

fn strict(targets: Targets) -> Limited {
    within(targets, PolicyKind::Strict, Preset::Reasoning)
}

fn ask(actions: &[Action]) -> &Ask {
    match actions.last() {
        Some(Action::Ask(ask)) => ask,
        other => panic!("expected an Ask, came {other:?}"),
    }
}

fn brief(actions: &[Action]) -> (Role, Why, u32) {
    let ask = ask(actions);
    (ask.role, ask.why, ask.max_tokens)
}

fn finish(policy: &mut dyn Policy, text: &str, tokens: u32) -> Vec<Action> {
    policy.step(PolicyEvent::Finished { text, tokens, reason: &FinishReason::MaxTokens })
}

fn story(end: &str, tokens: u32) -> String {
    "One more word. ".repeat(tokens as usize) + end
}

/// The small writer writes this many tokens, which end with a text in which its watch finds a phrase.
fn trigger(policy: &mut dyn Policy, asked: &[Action], text: &str, tokens: u32) -> Vec<Action> {
    let text = story(text, tokens);
    let found = Matcher::new(ask(asked).watch.clone().expect("a watch"), "").push(&text);
    let reason = FinishReason::Trigger(found.expect("the text holds a phrase"));
    policy.step(PolicyEvent::Finished { text: &text, tokens, reason: &reason })
}

#[test]
fn a_takeover_beyond_the_share_is_passed_over_and_the_next_one_is_cut() {
    let mut policy = strict(share(0.1));
    let first = policy.step(PolicyEvent::Started { prompt_tokens: 9 });
    let on = trigger(&mut policy, &first, REFLECTION, 80);
    // 8 tokens are within a share of a tenth, but not worth a hand-over.
    assert!(matches!(on[0], Action::Keep { role: Role::Small, .. }) && on.len() == 2, "{on:?}");
    assert_eq!(brief(&on).0, Role::Small);
    assert!(ask(&on).watch.as_ref().expect("a watch").from_next_break);
    let taken = trigger(&mut policy, &on, REFLECTION, 80);
    assert_eq!(brief(&taken), (Role::Large, Why::Reflection, 17));
    let back = finish(&mut policy, "It is 7", 17);
    assert_eq!(brief(&back).0, Role::Small);
    let on = trigger(&mut policy, &back, REFLECTION, 30);
    assert_eq!(brief(&on).0, Role::Small, "that was all");
    assert_eq!(policy.passed_over(), 2);
}

#[test]
fn an_affirmation_must_leave_what_others_may_use() {
    let granted = |text: &str, tokens: u32| {
        let mut policy = strict(share(0.1));
        let first = policy.step(PolicyEvent::Started { prompt_tokens: 9 });
        let (role, _, max_tokens) = brief(&trigger(&mut policy, &first, text, tokens));
        (role == Role::Large).then_some(max_tokens)
    };
    // Of 100 tokens 11 are affordable, of 200 22, of 300 33.
    let table = [
        (100, [Some(10), Some(11), None]),
        (200, [Some(22), Some(20), Some(12)]),
        (300, [Some(33), Some(20), Some(20)]),
    ];
    for (tokens, expected) in table {
        let asked = [VERIFICATION, REFLECTION, AFFIRMATION].map(|text| granted(text, tokens));
        assert_eq!(asked, expected, "{tokens}");
    }
}

#[test]
fn an_extension_is_cut_to_what_was_left_for_it() {
    let mut policy = strict(share(0.1));
    let first = policy.step(PolicyEvent::Started { prompt_tokens: 9 });
    let taken = trigger(&mut policy, &first, REFLECTION, 260);
    assert_eq!(brief(&taken), (Role::Large, Why::Reflection, 20));
    let more = verify(&mut policy, 16);
    assert_eq!(brief(&more), (Role::Large, Why::Verification, 12));
}

/// The large writer announces a verification, which extends its takeover.
fn verify(policy: &mut dyn Policy, tokens: u32) -> Vec<Action> {
    let reason = FinishReason::Stop { end: 16 };
    policy.step(PolicyEvent::Finished { text: "Let me verify.\n\n", tokens, reason: &reason })
}

#[test]
fn an_extension_that_is_passed_over_leaves_what_was_written() {
    let mut policy = within_8_s();
    paced(&mut policy, 2.0, 0.0);
    policy.measured(&Measured { elapsed: Duration::from_secs(7), ..Measured::default() });
    let back = verify(&mut policy, 16);
    assert_eq!(back[0], Action::Keep { role: Role::Large, bytes: 16 });
    assert_eq!((back.len(), brief(&back).0), (2, Role::Small), "{back:?}");
}

#[test]
fn a_beginning_beyond_the_share_is_the_small_writers() {
    for kind in [PolicyKind::Strict, PolicyKind::Paper, PolicyKind::Random, PolicyKind::Periodic] {
        let mut policy = within(share(0.1), kind, Preset::Instruct);
        let first = policy.step(PolicyEvent::Started { prompt_tokens: 9 });
        assert_eq!((first.len(), brief(&first).0), (1, Role::Small), "{kind}");
        let mut all = within(share(1.0), kind, Preset::Instruct);
        let mut plain = within(Targets::default(), kind, Preset::Instruct);
        let started = PolicyEvent::Started { prompt_tokens: 9 };
        assert_eq!(
            all.step(started),
            plain.step(started),
            "{kind}: the whole share limits nothing"
        );
    }
}

fn within_8_s() -> Limited {
    strict(Targets { latency: Some(Duration::from_secs(8)), ..Targets::default() })
}

/// The measurements of a stretch that ended at this time.
fn measured(elapsed_s: f64, handover_s: f64, first_text_s: f64, wall_s: f64) -> Measured {
    let s = Duration::from_secs_f64;
    Measured {
        elapsed: s(elapsed_s),
        large_opened: Some(s(handover_s)),
        first_text: Some(s(first_text_s)),
        wall: s(wall_s),
        first_token_entropy: None,
    }
}

/// By this time the small writer has written 20 tokens, at 10 per second, and doubts.
fn paced(policy: &mut dyn Policy, elapsed_s: f64, handover_s: f64) -> Vec<Action> {
    let first = policy.step(PolicyEvent::Started { prompt_tokens: 9 });
    policy.measured(&measured(elapsed_s, handover_s, 0.0, 1.9));
    trigger(policy, &first, REFLECTION, 20)
}

#[test]
fn a_latency_leaves_time_for_the_hand_over_and_the_rest() {
    // The large writer is assumed to be as fast: 20 tokens take 2 s, whoever writes them, and at least 19 more are
    // expected. A hand-over takes up to three times as long as opening took.
    let table = [
        (2.0, 0.1, Some(20)),
        (5.6, 0.1, Some(20)),
        (5.9, 0.1, None),
        (4.0, 1.5, None),
        (6.5, 0.0, None),
    ];
    for (elapsed_s, handover_s, expected) in table {
        let mut policy = within_8_s();
        let taken = paced(&mut policy, elapsed_s, handover_s);
        let granted = (brief(&taken).0 == Role::Large).then_some(brief(&taken).2);
        assert_eq!(granted, expected, "{elapsed_s} {handover_s}");
        if granted.is_some() {
            let within = ask(&taken).first_text_within.expect("a time").as_secs_f64();
            assert!((within - (8.0 - elapsed_s - 2.0)).abs() < 0.01, "{within}");
        }
    }
}

/// After a takeover of 20 tokens at this pace, the small writer writes 100 more and doubts again at this time.
fn again(token_s: f64, elapsed_s: f64) -> Vec<Action> {
    let mut policy = within_8_s();
    paced(&mut policy, 2.0, 0.01);
    policy.measured(&measured(3.0, 0.01, 0.01, 0.01 + 19.0 * token_s));
    let back = finish(&mut policy, "It is 7", 20);
    policy.measured(&measured(elapsed_s, 0.01, 0.0, 2.0));
    trigger(&mut policy, &back, REFLECTION, 100)
}

#[test]
fn a_slow_large_writer_is_given_what_time_there_is() {
    // About 140 tokens are written and as many expected, which take the small writer 4.5 s at its new pace.
    let granted = [2.0, 2.4, 3.5].map(|elapsed_s| {
        let (role, _, tokens) = brief(&again(0.1, elapsed_s));
        (role == Role::Large).then_some(tokens)
    });
    assert!(matches!(granted, [Some(20), Some(10..20), None]), "{granted:?}");
}

#[test]
fn a_quick_large_writer_takes_over_also_when_the_target_is_out_of_reach() {
    let taken = again(0.005, 7.9);
    assert_eq!(brief(&taken).0, Role::Large, "the answer is done sooner");
    let within = ask(&taken).first_text_within.expect("a time");
    assert!(within > Duration::from_millis(100), "{within:?}: it may wait for as long as it saves");
}

#[test]
fn a_takeover_that_was_late_is_not_tried_again_where_there_is_no_time() {
    let mut policy = within_8_s();
    let taken = paced(&mut policy, 2.0, 0.0);
    assert_eq!(brief(&taken).0, Role::Large);
    policy.measured(&Measured { elapsed: Duration::from_secs(6), ..Measured::default() });
    let on = policy.step(PolicyEvent::Late);
    assert_eq!(on[0], Action::Keep { role: Role::Large, bytes: 0 });
    let on = trigger(&mut policy, &on, REFLECTION, 20);
    assert_eq!(brief(&on).0, Role::Small);
}

#[test]
fn a_cost_pays_for_every_token_that_is_read_or_made() {
    let prices = |input_per_million, output_per_million| ModelPrices {
        input_per_million,
        cached_input_per_million: 0.0,
        output_per_million,
    };
    let prices = TokenPrices { small: prices(0.0, 1.0), large: prices(1.0, 9.0) };
    // The prompt and the 98 kept tokens are read and 100 tokens generated: 308 millionths. 98 more are expected: 196.
    // Each token of a takeover costs 7 more than a token of the small writer.
    let table = [(650, Some(20)), (640, Some(19)), (580, Some(10)), (570, None), (100, None)];
    for (millionths, expected) in table {
        let cost = Some((f64::from(millionths) / 1e6, prices));
        let mut policy = strict(Targets { cost, ..Targets::default() });
        let first = policy.step(PolicyEvent::Started { prompt_tokens: 110 });
        let (role, _, tokens) = brief(&trigger(&mut policy, &first, VERIFICATION, 100));
        assert_eq!((role == Role::Large).then_some(tokens.min(20)), expected, "{millionths}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    /// Whatever is written, the share holds after every takeover.
    #[test]
    fn no_takeover_goes_beyond_the_share(
        target in 0.0f64..1.0,
        instruct: bool,
        stretches in prop::collection::vec(
            (1u32..200, prop::sample::select(vec![REFLECTION, AFFIRMATION, VERIFICATION])),
            1..40,
        ),
    ) {
        let preset = if instruct { Preset::Instruct } else { Preset::Reasoning };
        let mut policy = within(share(target), PolicyKind::Strict, preset);
        let mut actions = policy.step(PolicyEvent::Started { prompt_tokens: 9 });
        let (mut small, mut large) = (0, 0);
        for (tokens, phrase) in stretches {
            let Some(Action::Ask(asked)) = actions.last().cloned() else { break };
            let tokens = tokens.min(asked.max_tokens);
            if asked.role == Role::Large {
                actions = finish(&mut policy, "It is 7", tokens);
                large += tokens;
                prop_assert!(f64::from(large) <= target * f64::from(small + large) + 1e-6, "{large} beside {small}");
            } else if asked.watch.is_some() {
                actions = trigger(&mut policy, &actions, phrase, tokens);
                let Some(Action::Keep { bytes, .. }) = actions.first() else { break };
                small += (u64::from(tokens) * bytes / story(phrase, tokens).len() as u64) as u32;
            } else {
                actions = finish(&mut policy, "One.\n\n", tokens);
                small += tokens;
            }
        }
    }
}
