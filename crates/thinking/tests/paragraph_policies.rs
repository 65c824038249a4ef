//! The baselines that decide paragraph by paragraph, `entropy` and `score`, move by move.

use thinking::{
    policy::{
        Action, Ask, End, Limited, Limits, Measured, Need, Policy, PolicyEvent, PolicyKind,
        PolicySpec, Preset, Role, Rules, Targets, Why,
    },
    thinker::FinishReason,
};

const STOP: FinishReason = FinishReason::Stop { end: 5 };

fn policy(rules: Rules, limits: Limits, max_tokens: u32) -> Limited {
    PolicySpec { rules, limits }.build(0, max_tokens).expect("a good policy")
}

fn entropy() -> Limited {
    policy(Rules::Entropy { over_nats: 1.0 }, Limits::default(), 200)
}

fn score() -> Limited {
    policy(Rules::Score { least: 7 }, Limits::default(), 200)
}

fn ask(actions: &[Action]) -> &Ask {
    match actions {
        [.., Action::Ask(ask)] => ask,
        other => panic!("expected an Ask, came {other:?}"),
    }
}

fn brief(actions: &[Action]) -> (Role, Why, u32, bool) {
    let ask = ask(actions);
    (ask.role, ask.why, ask.max_tokens, ask.provisional)
}

fn start(policy: &mut Limited) -> Vec<Action> {
    policy.step(PolicyEvent::Started { prompt_tokens: 9 })
}

fn finish(policy: &mut Limited, text: &str, tokens: u32, reason: FinishReason) -> Vec<Action> {
    policy.step(PolicyEvent::Finished { text, tokens, reason: &reason })
}

/// A probe of one token with this entropy.
fn probed(policy: &mut Limited, text: &str, nats: Option<f32>) -> Vec<Action> {
    policy.measured(&Measured { first_token_entropy: nats, ..Measured::default() });
    let actions = finish(policy, text, 1, FinishReason::MaxTokens);
    policy.measured(&Measured::default());
    actions
}

fn kept(role: Role, bytes: u64) -> Action {
    Action::Keep { role, bytes }
}

#[test]
fn entropy_probes_every_paragraph_and_hands_over_where_it_is_high() {
    let mut policy = entropy();
    assert_eq!(policy.need(), Some(Need::Entropies));
    let first = start(&mut policy);
    assert_eq!(brief(&first), (Role::Small, Why::Probe, 1, true));
    assert!(ask(&first).report_entropy);
    let sure = probed(&mut policy, "So", Some(1.0));
    assert_eq!(sure[0], kept(Role::Small, 2));
    assert_eq!(brief(&sure), (Role::Small, Why::Turn, 199, false));
    assert_eq!(ask(&sure).stop, ["\n\n"]);
    let next = finish(&mut policy, " it.\n\n", 9, STOP);
    assert_eq!(brief(&next), (Role::Small, Why::Probe, 1, true));
    let unsure = probed(&mut policy, "No", Some(1.1));
    assert_eq!(unsure[0], kept(Role::Small, 0));
    assert_eq!(brief(&unsure), (Role::Large, Why::Entropy, 189, false));
    let back = finish(&mut policy, "Yes.\n\n", 4, STOP);
    assert_eq!((&back[0], brief(&back).1), (&kept(Role::Large, 6), Why::Probe));
    // If no entropy is reported, nothing is handed over.
    let silent = probed(&mut policy, "A", None);
    assert_eq!(brief(&silent), (Role::Small, Why::Turn, 184, false));
    let end = finish(&mut policy, " b.", 3, FinishReason::EndOfText);
    assert_eq!(end, [kept(Role::Small, 3), Action::End(End::EndOfText)]);
}

#[test]
fn entropy_goes_on_where_the_large_writer_has_nothing() {
    let mut policy = entropy();
    start(&mut policy);
    probed(&mut policy, "No", Some(3.0));
    let late = policy.step(PolicyEvent::Late);
    assert_eq!(late[0], kept(Role::Large, 0));
    assert_eq!(brief(&late).0, Role::Small, "the paragraph is the small one's");
    assert!(!ask(&late).report_entropy, "and not in question");
    let next = finish(&mut policy, "No.\n\n", 3, STOP);
    assert_eq!(brief(&next).1, Why::Probe, "the next one is");
    // The large writer gets more tokens than a probe to lead out of a loop.
    let mut looping = policy_with_loops(Rules::Entropy { over_nats: 1.0 });
    start(&mut looping);
    probed(&mut looping, "a", None);
    let led = looping.step(PolicyEvent::Looped { text: " a a\n\n", tokens: 9 });
    assert_eq!(brief(&led), (Role::Large, Why::Loop, 190, false));
}

fn policy_with_loops(rules: Rules) -> Limited {
    let loops = PolicyKind::Entropy.usual_loops();
    policy(rules, Limits { loops, ..Limits::default() }, 200)
}

#[test]
fn score_asks_for_a_mark_and_rewrites_what_has_a_low_one() {
    let mut policy = score();
    assert_eq!(policy.need(), Some(Need::Asides));
    let first = start(&mut policy);
    assert_eq!(brief(&first), (Role::Small, Why::Turn, 200, true));
    let asked = finish(&mut policy, "So.\n\n", 4, STOP);
    assert_eq!((asked.len(), brief(&asked)), (1, (Role::Large, Why::Score, 1, true)));
    assert!(ask(&asked).aside.as_ref().is_some_and(|aside| aside.ends_with("{")));
    let stands = finish(&mut policy, "7", 1, FinishReason::MaxTokens);
    assert_eq!(stands[..2], [kept(Role::Large, 0), kept(Role::Small, 5)]);
    assert_eq!(brief(&stands), (Role::Small, Why::Turn, 195, true));
    finish(&mut policy, "No.\n\n", 4, STOP);
    let again = finish(&mut policy, "6", 1, FinishReason::MaxTokens);
    assert_eq!(again[..2], [kept(Role::Large, 0), kept(Role::Small, 0)]);
    assert_eq!(brief(&again), (Role::Large, Why::Score, 190, false));
    assert_eq!((&ask(&again).stop[..], &ask(&again).aside), (&["\n\n".to_owned()][..], &None));
    let next = finish(&mut policy, "Yes.\n\n", 5, STOP);
    assert_eq!(
        (&next[0], brief(&next)),
        (&kept(Role::Large, 6), (Role::Small, Why::Turn, 185, true))
    );
    // The last paragraph is in question like any other. A word is not a mark.
    let last = finish(&mut policy, "Done.", 3, FinishReason::EndOfText);
    assert_eq!(brief(&last).1, Why::Score);
    let end = finish(&mut policy, "well", 1, FinishReason::MaxTokens);
    let kept_all = [kept(Role::Large, 0), kept(Role::Small, 5), Action::End(End::EndOfText)];
    assert_eq!(end, kept_all);
}

#[test]
fn score_ends_within_its_tokens_and_asks_no_marks_beyond_a_target() {
    let mut policy = policy(Rules::Score { least: 10 }, Limits::default(), 5);
    start(&mut policy);
    let last = finish(&mut policy, "So.\n\n", 5, STOP);
    assert_eq!(last, [kept(Role::Small, 5), Action::End(End::MaxTokens)]);
    // A mark is not part of the answer and does not count for its share; rewritten text does.
    let targets = Targets { share: Some(0.0), ..Targets::default() };
    let limits = Limits { targets, ..Limits::default() };
    let mut thrifty = self::policy(Rules::Score { least: 10 }, limits, 200);
    start(&mut thrifty);
    assert_eq!(brief(&finish(&mut thrifty, "So.\n\n", 4, STOP)).1, Why::Score);
    let passed_over = finish(&mut thrifty, "1", 1, FinishReason::MaxTokens);
    assert_eq!(brief(&passed_over), (Role::Small, Why::Turn, 194, false), "unquestioned");
    assert_eq!(thrifty.passed_over(), 1);
    // After the thought there are no takeovers.
    let limits = Limits { thought_only: true, ..Limits::default() };
    let mut thoughtful = self::policy(Rules::Score { least: 10 }, limits, 200);
    start(&mut thoughtful);
    finish(&mut thoughtful, "So.</think>\n\n", 4, STOP);
    finish(&mut thoughtful, "x", 1, FinishReason::MaxTokens);
    let behind = finish(&mut thoughtful, "It is 4.\n\n", 4, STOP);
    assert_eq!((behind.len(), brief(&behind).0), (2, Role::Small), "{behind:?}");
}

#[test]
fn their_thresholds_are_read_from_requests_and_checked() {
    let spec = |name: &str, key: &str, value: f64| {
        let parameters = serde_json::Map::from_iter([(key.to_owned(), value.into())]);
        PolicySpec::from_request(serde_json::json!({ "name": name, "parameters": parameters }))
    };
    let entropy = spec("entropy", "entropy_nats", 0.5).unwrap();
    assert_eq!(entropy.rules, Rules::Entropy { over_nats: 0.5 });
    let again: PolicySpec =
        serde_json::from_value(serde_json::to_value(&entropy).unwrap()).unwrap();
    assert_eq!(again, entropy);
    let usual = PolicySpec::from_request(serde_json::json!({ "name": "score" })).unwrap();
    assert_eq!(usual, PolicySpec::new(PolicyKind::Score, Preset::Reasoning));
    for (name, key, value, why) in [
        ("entropy", "entropy_nats", -1.0, "a number of nats from 0 to 100"),
        ("entropy", "entropy_nat", 1.0, "entropy_nats"),
        ("score", "least_score", 0.5, "least_score"),
    ] {
        let error = spec(name, key, value).unwrap_err().to_string();
        assert!(error.contains(why) || error.contains("invalid type"), "{error}");
    }
    let eleven = PolicySpec { rules: Rules::Score { least: 11 }, limits: Limits::default() };
    assert!(eleven.check().unwrap_err().to_string().contains("from 0 to 10"));
}
