//! What the policies do: `strict` move by move, the shares of the baselines, and late takeovers.

use std::time::Duration;

use thinking::{
    policy::{
        Action, Ask, End, Limited, Limits, Need, Policy, PolicyError, PolicyEvent, PolicyKind,
        PolicySpec, Preset, ReviewConfig, Role, Strict, StrictConfig, Why,
    },
    thinker::{FinishReason, ModelCard},
    trigger::Matcher,
};

const BREAK: &str = "\n\n";

fn ask(actions: &[Action]) -> &Ask {
    match actions {
        [.., Action::Ask(ask)] | [.., Action::Ask(ask), Action::Overlap(_)] => ask,
        other => panic!("expected an Ask, came {other:?}"),
    }
}

fn end(actions: &[Action]) -> End {
    match actions.last() {
        Some(Action::End(end)) => *end,
        other => panic!("expected an End, came {other:?}"),
    }
}

fn brief(actions: &[Action]) -> (Role, Why, u32) {
    let ask = ask(actions);
    (ask.role, ask.why, ask.max_tokens)
}

fn finish(policy: &mut dyn Policy, text: &str, tokens: u32, reason: FinishReason) -> Vec<Action> {
    policy.step(PolicyEvent::Finished { text, tokens, reason: &reason })
}

/// The small writer writes a text in which its watch finds a phrase.
fn trigger(policy: &mut dyn Policy, asked: &[Action], text: &str, tokens: u32) -> Vec<Action> {
    let watch = ask(asked).watch.clone().expect("the small writer is watched");
    let mut matcher = Matcher::new(watch, "");
    let found = matcher.push(text).expect("the text holds a phrase");
    finish(policy, text, tokens, FinishReason::Trigger(found))
}

fn started(policy: &mut dyn Policy) -> Vec<Action> {
    policy.step(PolicyEvent::Started { prompt_tokens: 9 })
}

#[test]
fn strict_cuts_at_the_break_and_hands_over_n1_tokens() {
    let mut strict = Strict::new(StrictConfig::default(), 1000);
    let first = started(&mut strict);
    assert_eq!(brief(&first), (Role::Small, Why::Turn, 1000));
    assert!(!ask(&first).provisional);
    let taken = trigger(&mut strict, &first, "So.\n\nWait, no", 10);
    assert_eq!(taken[0], Action::Keep { role: Role::Small, bytes: 5 });
    assert_eq!(brief(&taken), (Role::Large, Why::Reflection, 20));
    assert_eq!(ask(&taken).stop, [BREAK]);
    let back = finish(&mut strict, "Wait, it is 7", 20, FinishReason::MaxTokens);
    assert_eq!(back[0], Action::Keep { role: Role::Large, bytes: 13 });
    assert_eq!(brief(&back), (Role::Small, Why::Turn, 970));
    let yes = trigger(&mut strict, &back, "a\n\nYes, it", 5);
    assert_eq!(brief(&yes), (Role::Large, Why::Affirmation, 20));
}

#[test]
fn strict_extends_a_verification() {
    let mut strict = Strict::new(StrictConfig::default(), 1000);
    let first = started(&mut strict);
    let taken = trigger(&mut strict, &first, "So.\n\nLet me check this", 10);
    assert_eq!(brief(&taken), (Role::Large, Why::Verification, 145));
    let back = finish(&mut strict, "I verify and check", 145, FinishReason::MaxTokens);
    assert_eq!(ask(&back).role, Role::Small, "it is already extended");
}

#[test]
fn strict_extends_a_takeover_in_which_the_large_writer_verifies() {
    let mut strict = Strict::new(StrictConfig::default(), 1000);
    let first = started(&mut strict);
    trigger(&mut strict, &first, "So.\n\nWait, no", 10);
    let more = finish(&mut strict, "Let me verify.\n\n", 5, FinishReason::Stop { end: 16 });
    assert_eq!(brief(&more), (Role::Large, Why::Verification, 125));
    let back = finish(&mut strict, "I check it.\n\n", 9, FinishReason::Stop { end: 13 });
    assert_eq!(ask(&back).role, Role::Small, "a takeover is extended once");
}

#[test]
fn strict_puts_in_the_recap_sentence_after_too_many_reflections() {
    let config = StrictConfig { reflections_before_recap: 2, ..StrictConfig::default() };
    let mut strict = Strict::new(config, 10_000);
    let mut last = started(&mut strict);
    let mut recaps = Vec::new();
    for reflection in 1..=12 {
        let taken = trigger(&mut strict, &last, "So.\n\nWait, no", 10);
        if let Some(Action::Insert { text, why: Why::Recap }) = taken.last() {
            assert_eq!(text, "Let me check whether there are some wrong steps:");
            let stretch = strict.step(PolicyEvent::Inserted { tokens: 10 });
            recaps.push((reflection, brief(&stretch).2));
            assert_eq!(ask(&stretch).why, Why::ExcessiveReflection);
        }
        last = finish(&mut strict, "It is 7", 20, FinishReason::MaxTokens);
    }
    // The third reflection, then the eighth after it: both numbers grow.
    assert_eq!(recaps, [(3, 125), (11, 150)]);
}

#[test]
fn strict_lets_the_large_writer_begin_for_an_instruct_model() {
    let mut strict = Strict::new(StrictConfig::instruct(), 1000);
    let first = started(&mut strict);
    assert_eq!(brief(&first), (Role::Large, Why::Begin, 100));
    assert!(ask(&first).stop.is_empty(), "the beginning continues past breaks");
    let turn = finish(&mut strict, "Okay.\n\nSo", 100, FinishReason::MaxTokens);
    assert_eq!((ask(&turn).role, ask(&turn).stop.as_slice()), (Role::Small, &[BREAK.into()][..]));
    let taken = finish(&mut strict, "One.\n\n", 4, FinishReason::Stop { end: 6 });
    assert_eq!(brief(&taken), (Role::Large, Why::Schedule, 20));
}

#[test]
fn strict_takes_over_to_the_budget_when_breaks_do_not_end_it() {
    let config = StrictConfig { end_at_break: false, ..StrictConfig::default() };
    let mut strict = Strict::new(config, 18);
    let first = started(&mut strict);
    let taken = trigger(&mut strict, &first, "\n\nWait, no", 10);
    assert_eq!(brief(&taken), (Role::Large, Why::Reflection, 8));
    assert!(ask(&taken).stop.is_empty());
    let last = finish(&mut strict, "It is 7", 8, FinishReason::MaxTokens);
    assert_eq!(end(&last), End::MaxTokens);
}

#[test]
fn every_policy_ends_with_the_text() {
    // `score` also asks for a mark of the last paragraph.
    for &kind in PolicyKind::ALL.iter().filter(|kind| **kind != PolicyKind::Score) {
        let mut policy = PolicySpec::new(kind, Preset::Reasoning).build(0, 4096).unwrap();
        let role = ask(&started(&mut policy)).role;
        let last = finish(&mut policy, "7.", 3, FinishReason::EndOfText);
        assert_eq!(last, [Action::Keep { role, bytes: 2 }, Action::End(End::EndOfText)], "{kind}");
        let after = finish(&mut policy, "more", 1, FinishReason::MaxTokens);
        assert!(matches!(after.last(), Some(Action::End(_))), "{kind} stays ended: {after:?}");
    }
}

#[test]
fn every_policy_passes_on_what_cut_it_short() {
    let table = [
        (FinishReason::Deadline, End::Deadline),
        (FinishReason::Cancelled, End::Cancelled),
        (FinishReason::ContextFull, End::ContextFull),
    ];
    for &kind in PolicyKind::ALL {
        for (reason, expected) in &table {
            let mut policy = PolicySpec::new(kind, Preset::Reasoning).build(0, 4096).unwrap();
            let writer = ask(&started(&mut policy)).role;
            let actions = finish(&mut policy, "7", 1, reason.clone());
            if (writer, *expected) == (Role::Large, End::ContextFull) {
                // Its context may be the smaller one: that ends its stretch, not the answer.
                assert!(matches!(actions.last(), Some(Action::Ask(_))), "{kind}: {actions:?}");
            } else {
                assert_eq!(end(&actions), *expected, "{kind}");
            }
        }
    }
}

/// Writes paragraphs whose length depends on the writer. Returns the large writer's share of the tokens, and the
/// writers.
fn produced_share(kind: PolicyKind, share: f64, seed: u64) -> (f64, Vec<Role>) {
    let spec = PolicySpec::new(kind, Preset::Reasoning).with_share(share);
    let mut policy = spec.build(seed, 100_000).expect("a good policy");
    let mut actions = started(&mut policy);
    let (mut tokens, mut writers) = ([0u32; 2], Vec::new());
    while let Some(Action::Ask(ask)) = actions.last() {
        let role = ask.role;
        assert_eq!(ask.stop, [BREAK]);
        let length = if role == Role::Large { 31 } else { 17 }.min(ask.max_tokens);
        tokens[role as usize] += length;
        writers.push(role);
        actions = finish(&mut policy, "A.\n\n", length, FinishReason::Stop { end: 4 });
    }
    assert_eq!(end(&actions), End::MaxTokens);
    (f64::from(tokens[1]) / f64::from(tokens[0] + tokens[1]), writers)
}

#[test]
fn scattered_tokens_reach_their_share_one_at_a_time() {
    for share in [0.0, 0.02, 0.5, 1.0] {
        let spec = PolicySpec::new(PolicyKind::RandomToken, Preset::Reasoning).with_share(share);
        let mut policy = spec.build(3, 40_000).unwrap();
        let mut tokens = [0u32; 2];
        let mut actions = policy.step(PolicyEvent::Started { prompt_tokens: 5 });
        while let Some(Action::Ask(ask)) = actions.last() {
            assert!(ask.role == Role::Small || ask.max_tokens == 1, "{ask:?}");
            tokens[ask.role as usize] += ask.max_tokens;
            let (tokens, reason) = (ask.max_tokens, &FinishReason::MaxTokens);
            actions = policy.step(PolicyEvent::Finished { text: "x", tokens, reason });
        }
        let produced = f64::from(tokens[1]) / f64::from(tokens[0] + tokens[1]);
        assert!((produced - share).abs() < 0.01, "{share}: {produced}");
    }
}

#[test]
fn periodic_policy_reaches_its_share_of_tokens() {
    for share in [0.0, 0.05, 0.2, 0.5, 0.9, 1.0] {
        let (produced, _) = produced_share(PolicyKind::Periodic, share, 0);
        assert!((produced - share).abs() < 0.005, "{share}: {produced}");
    }
}

#[test]
fn random_policy_draws_paragraphs_by_its_seed() {
    for share in [0.0, 0.2, 1.0] {
        let (_, writers) = produced_share(PolicyKind::Random, share, 7);
        let large = writers.iter().filter(|role| **role == Role::Large).count();
        let drawn = large as f64 / writers.len() as f64;
        assert!((drawn - share).abs() < 0.03, "{share}: {drawn}");
    }
    let writers = |seed| produced_share(PolicyKind::Random, 0.5, seed).1;
    assert_eq!(writers(1), writers(1));
    assert_ne!(writers(1), writers(2));
}

fn hasty() -> Limits {
    Limits { deadline: Some(Duration::from_millis(300)), ..Limits::default() }
}

fn overlap(actions: &[Action]) -> &Ask {
    match actions.last() {
        Some(Action::Overlap(ask)) => ask,
        other => panic!("expected an Overlap, came {other:?}"),
    }
}

fn overlapped(kind: PolicyKind, preset: Preset, max_tokens: u32) -> Limited {
    let limits = Limits { overlap_tokens: Some(20), ..Limits::default() };
    let spec = PolicySpec::new(kind, preset).with_share(1.0).within(limits);
    spec.build(0, max_tokens).expect("a good policy")
}

#[test]
fn what_was_written_meanwhile_is_a_turn_where_the_takeover_is_late() {
    let mut strict = overlapped(PolicyKind::Strict, Preset::Reasoning, 1000);
    let first = started(&mut strict);
    let taken = trigger(&mut strict, &first, "So.\n\nWait, no", 10);
    assert_eq!((ask(&taken).role, ask(&taken).first_text_within), (Role::Large, None));
    let meanwhile = overlap(&taken);
    assert_eq!((meanwhile.role, meanwhile.why, meanwhile.max_tokens), (Role::Small, Why::Turn, 20));
    assert!(meanwhile.provisional && meanwhile.watch.as_ref().unwrap().from_next_break);
    let late = strict.step(PolicyEvent::Late);
    assert_eq!(late, [Action::Keep { role: Role::Large, bytes: 0 }], "the overlap continues");
    // A trigger in the overlap's text is handled like any other.
    let matched =
        Matcher::new(meanwhile.watch.clone().unwrap(), "So.\n\n").push("Wait.\n\nYes, it");
    let found = FinishReason::Trigger(matched.unwrap());
    let again = finish(&mut strict, "Wait.\n\nYes, it", 9, found);
    assert_eq!(again[0], Action::Keep { role: Role::Small, bytes: 7 });
    assert_eq!(brief(&again), (Role::Large, Why::Affirmation, 20));
    overlap(&again);
}

#[test]
fn what_was_written_meanwhile_is_not_heard_of_where_the_takeover_is_in_time() {
    let mut strict = overlapped(PolicyKind::Strict, Preset::Reasoning, 1000);
    let first = started(&mut strict);
    trigger(&mut strict, &first, "So.\n\nWait, no", 10);
    let back = finish(&mut strict, "It is 7", 20, FinishReason::MaxTokens);
    assert_eq!(back[0], Action::Keep { role: Role::Large, bytes: 7 });
    assert_eq!(brief(&back), (Role::Small, Why::Turn, 970), "it costs no budget");
}

#[test]
fn what_is_written_meanwhile_fits_the_budget() {
    for (left, fits) in [(30, Some(20)), (21, Some(20)), (20, Some(19)), (2, Some(1)), (1, None)] {
        let mut strict = overlapped(PolicyKind::Strict, Preset::Reasoning, 10 + left);
        let first = started(&mut strict);
        let taken = trigger(&mut strict, &first, "So.\n\nWait, no", 10);
        let tokens = match taken.last() {
            Some(Action::Overlap(ask)) => Some(ask.max_tokens),
            _ => None,
        };
        assert_eq!(tokens, fits, "{left} left");
    }
}

#[test]
fn the_small_writer_stands_in_with_what_it_wrote_meanwhile() {
    let mut periodic = overlapped(PolicyKind::Periodic, Preset::Reasoning, 1000);
    overlap(&started(&mut periodic));
    assert_eq!(periodic.step(PolicyEvent::Late), [Action::Keep { role: Role::Large, bytes: 0 }]);
    let next = finish(&mut periodic, "A.\n\n", 3, FinishReason::Stop { end: 4 });
    assert_eq!(next[0], Action::Keep { role: Role::Small, bytes: 4 });
    assert_eq!(ask(&next).role, Role::Large);
}

#[test]
fn a_probe_that_is_not_decided_on_leaves_no_room_for_an_overlap() {
    let stop = || FinishReason::Stop { end: 4 };
    for choose_large in [true, false] {
        let yaml = format!("choose_large: {choose_large}");
        let limits = Limits { overlap_tokens: Some(20), ..Limits::default() };
        let spec = PolicySpec::from_yaml(PolicyKind::Paper, &yaml).unwrap().within(limits);
        let mut paper = spec.build(0, 4096).unwrap();
        started(&mut paper);
        finish(&mut paper, "A.\n\n", 3, stop());
        let taken = finish(&mut paper, "Wait, no", 20, FinishReason::MaxTokens);
        assert_eq!(ask(&taken).role, Role::Large);
        let overlaps = matches!(taken.last(), Some(Action::Overlap(_)));
        assert_eq!(overlaps, choose_large, "else the probe may yet be kept");
    }
}

fn impatient(kind: PolicyKind, preset: Preset, share: f64) -> Limited {
    let spec = PolicySpec::new(kind, preset).with_share(share).within(hasty());
    spec.build(0, 4096).expect("a good policy")
}

#[test]
fn an_impatient_policy_goes_on_behind_a_late_takeover() {
    let mut strict = impatient(PolicyKind::Strict, Preset::Reasoning, 0.0);
    let first = started(&mut strict);
    assert_eq!(ask(&first).first_text_within, None, "the small writer has all the time it needs");
    let taken = trigger(&mut strict, &first, "So.\n\nWait, no", 10);
    assert_eq!(ask(&taken).first_text_within, Some(Duration::from_millis(300)));
    let on = strict.step(PolicyEvent::Late);
    assert_eq!(on[0], Action::Keep { role: Role::Large, bytes: 0 });
    assert_eq!(brief(&on).0, Role::Small);
    let passes_over = |actions: &[Action]| {
        ask(actions).watch.as_ref().expect("the small writer is watched").from_next_break
    };
    assert!(passes_over(&on), "it must not be cut off at the same place again");
    // The node wrote less than it was asked for: the text is still in the same paragraph.
    let on = finish(&mut strict, "Wait, is", 2, FinishReason::MaxTokens);
    assert!(passes_over(&on));
    let taken = trigger(&mut strict, &on, " it 5?\n\nYes, it", 8);
    assert_eq!(taken[0], Action::Keep { role: Role::Small, bytes: 8 });
    assert_eq!(brief(&taken), (Role::Large, Why::Affirmation, 20));
    let back = finish(&mut strict, "Yes", 20, FinishReason::MaxTokens);
    assert!(!passes_over(&back), "the next place is another");
}

#[test]
fn the_small_writer_stands_in_where_the_large_one_is_wanted_again_at_once() {
    for kind in [PolicyKind::Random, PolicyKind::Periodic] {
        let mut policy = impatient(kind, Preset::Reasoning, 1.0);
        assert_eq!(ask(&started(&mut policy)).role, Role::Large);
        let instead = policy.step(PolicyEvent::Late);
        assert_eq!(instead[0], Action::Keep { role: Role::Large, bytes: 0 });
        assert_eq!((ask(&instead).role, ask(&instead).why), (Role::Small, Why::Turn), "{kind}");
        assert_eq!(ask(&instead).first_text_within, None);
        let next = finish(&mut policy, "A.\n\n", 3, FinishReason::Stop { end: 4 });
        assert_eq!(next[0], Action::Keep { role: Role::Small, bytes: 4 }, "{kind}");
        assert_eq!(ask(&next).role, Role::Large, "{kind}: at the next place it is asked again");
    }
}

#[test]
fn where_the_large_writer_writes_alone_the_small_one_stands_in_to_the_next_break() {
    let spec = PolicySpec::new(PolicyKind::LargeOnly, Preset::Reasoning);
    let mut policy = spec.build(0, 50).unwrap();
    assert_eq!(brief(&started(&mut policy)), (Role::Large, Why::Turn, 50));
    let instead = policy.step(PolicyEvent::Late);
    assert_eq!(brief(&instead), (Role::Small, Why::Turn, 49));
    assert_eq!(ask(&instead).stop, ["\n\n"]);
    let next = finish(&mut policy, "A.\n\n", 3, FinishReason::Stop { end: 4 });
    assert_eq!(next[0], Action::Keep { role: Role::Small, bytes: 4 });
    assert_eq!((brief(&next), ask(&next).stop.len()), ((Role::Large, Why::Turn, 46), 0));
    let on = finish(&mut policy, "So it is", 3, FinishReason::MaxTokens);
    assert_eq!(brief(&on), (Role::Large, Why::Turn, 43), "its end does not end the answer");
}

#[test]
fn a_late_beginning_leaves_the_answer_to_the_small_writer() {
    for kind in [PolicyKind::Strict, PolicyKind::Paper] {
        let mut policy = impatient(kind, Preset::Instruct, 0.0);
        assert_eq!(brief(&started(&mut policy)), (Role::Large, Why::Begin, 100));
        let on = policy.step(PolicyEvent::Late);
        assert_eq!((ask(&on).role, ask(&on).why), (Role::Small, Why::Turn));
        let taken = finish(&mut policy, "One.\n\n", 4, FinishReason::Stop { end: 6 });
        assert_eq!(taken[0], Action::Keep { role: Role::Small, bytes: 6 });
    }
}

#[test]
fn a_policy_without_takeovers_has_none_to_give_up() {
    for kind in [PolicyKind::SmallOnly, PolicyKind::LargeOnly] {
        let error = PolicySpec::new(kind, Preset::Reasoning).within(hasty()).build(0, 4096).err();
        assert_eq!(error, Some(PolicyError::NoTakeovers { kind }));
    }
}

/// A policy with takeovers in the thought only; the large writer writes whenever it may.
fn thought_only(kind: PolicyKind) -> Limited {
    let limits = Limits { thought_only: true, ..Limits::default() };
    let spec = PolicySpec::new(kind, Preset::Reasoning).with_share(1.0).within(limits);
    spec.build(0, 1000).expect("a good policy")
}

#[test]
fn takeovers_may_end_with_the_thought() {
    for mark in ["</think>", "[/THINK]"] {
        let mut strict = thought_only(PolicyKind::Strict);
        let first = started(&mut strict);
        assert_eq!(brief(&trigger(&mut strict, &first, "So.\n\nWait, no", 5)).0, Role::Large);
        let text = format!("It is 7.\n{mark}\n\n");
        let turn = finish(&mut strict, &text, 5, FinishReason::MaxTokens);
        let watch = ask(&turn).watch.clone().expect("the small writer is watched");
        assert!(watch.until.iter().any(|end| end == mark), "{watch:?}");
        // A node that does not know `until`, and so does not stop watching there.
        let again = trigger(&mut strict, &turn, "\n\nWait, no", 5);
        assert_eq!(brief(&again), (Role::Small, Why::Turn, 984), "an empty stretch costs one");
        assert_eq!(strict.passed_over(), 0, "no target prevented it");
    }
}

#[test]
fn a_thought_ends_also_in_the_middle_of_what_is_kept() {
    let mut strict = thought_only(PolicyKind::Strict);
    let first = started(&mut strict);
    let forgotten = "So.\n\nWait, </think> no";
    let taken = trigger(&mut strict, &first, forgotten, 5);
    assert_eq!(brief(&taken).0, Role::Large, "what is forgotten does not count");
    finish(&mut strict, "Yes.</thi", 5, FinishReason::MaxTokens);
    let turn = finish(&mut strict, "nk>\n\nSo ", 5, FinishReason::MaxTokens);
    assert_eq!(brief(&trigger(&mut strict, &turn, "\n\nWait, no", 5)).0, Role::Small);
}

#[test]
fn a_schedule_gives_the_answer_proper_to_the_small_writer() {
    let mut random = thought_only(PolicyKind::Random);
    let first = started(&mut random);
    assert_eq!(ask(&first).role, Role::Large);
    let next = finish(&mut random, "x</think>\n\n", 5, FinishReason::Stop { end: 12 });
    assert_eq!(ask(&next).role, Role::Small);
    let usual = PolicySpec::new(PolicyKind::Random, Preset::Reasoning).with_share(1.0);
    let mut usual = usual.build(0, 1000).expect("a good policy");
    started(&mut usual);
    let next = finish(&mut usual, "x</think>\n\n", 5, FinishReason::Stop { end: 12 });
    assert_eq!(ask(&next).role, Role::Large, "as in the authors' loop");
}

#[test]
fn a_node_fits_a_policy_that_needs_no_more_than_it_can() {
    for &kind in PolicyKind::ALL {
        let review = kind.reviews().then(ReviewConfig::default);
        let limits = Limits { review, ..Limits::default() };
        let spec = PolicySpec::new(kind, Preset::Reasoning).within(limits);
        let policy = spec.build(0, 100).expect("a good policy");
        let cuts = policy.review().is_some() || policy.need() == Some(Need::Asides);
        let tells = policy.need() == Some(Need::Entropies);
        let (old, new) = (
            ModelCard::default(),
            ModelCard { can_review: true, can_report_entropy: true, ..ModelCard::default() },
        );
        assert_eq!(kind.fits(Role::Large, &old), !cuts, "{kind}");
        assert_eq!(kind.fits(Role::Small, &old), !tells, "{kind}");
        assert!(kind.fits(Role::Large, &new) && kind.fits(Role::Small, &new), "{kind}");
    }
}
