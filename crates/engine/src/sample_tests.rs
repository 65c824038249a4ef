//! Tests of `sample`: what each rule keeps, what is refused, and that a seed decides every draw.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn off() -> Sampling {
    Sampling { temperature: 1.0, top_k: 0, top_p: 0.0, min_p: 0.0, repetition_penalty: 0.0 }
}

fn drawn(rules: Sampling, logits: &[f32], times: u32) -> Vec<u32> {
    let mut sampler = Sampler::new(rules).unwrap();
    let mut draws = Draws::new(7);
    (0..times).map(|_| sampler.draw(logits, &[], &mut draws).unwrap()).collect()
}

fn support(rules: Sampling, logits: &[f32]) -> Vec<u32> {
    drawn(rules, logits, 3000).into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn each_rule_keeps_the_tokens_it_should() {
    // Probabilities 0.5, 0.25, 0.125, 0.125.
    let logits = [0.5f32.ln(), 0.25f32.ln(), 0.125f32.ln(), 0.125f32.ln()];
    let cases = [
        (off(), vec![0, 1, 2, 3]),
        (Sampling { temperature: 0.0, ..off() }, vec![0]),
        (Sampling { top_k: 1, ..off() }, vec![0]),
        (Sampling { top_k: 3, ..off() }, vec![0, 1, 2]),
        (Sampling { top_k: 9, ..off() }, vec![0, 1, 2, 3]),
        (Sampling { top_p: 0.4, ..off() }, vec![0]),
        (Sampling { top_p: 0.7, ..off() }, vec![0, 1]),
        (Sampling { top_p: 0.8, ..off() }, vec![0, 1, 2]),
        (Sampling { top_p: 1.0, ..off() }, vec![0, 1, 2, 3]),
        (Sampling { min_p: 0.4, ..off() }, vec![0, 1]),
        (Sampling { min_p: 1.0, ..off() }, vec![0]),
        (Sampling { top_k: 2, top_p: 0.9, min_p: 0.1, ..off() }, vec![0, 1]),
    ];
    for (rules, expected) in cases {
        assert_eq!(support(rules, &logits), expected, "{rules:?}");
    }
}

proptest! {
    /// Few different logits, so that many are equal, in vocabularies that are searched in one go and in many.
    #[test]
    fn the_likeliest_are_those_that_sorting_finds(
        logits in prop::collection::vec((-4i8..4).prop_map(|it| f32::from(it) / 2.0), 1..600),
        count in 1usize..80,
    ) {
        let mut sorted: Vec<Candidate> = Vec::new();
        collect_likeliest(&logits, 0, &mut sorted);
        prop_assert_eq!(sorted.len(), logits.len());
        sorted.sort_by(likelier_first);
        let mut found = Vec::new();
        collect_likeliest(&logits, count, &mut found);
        found.sort_by(likelier_first);
        let ids = |all: &[Candidate]| all.iter().map(|it| it.id).collect::<Vec<_>>();
        prop_assert_eq!(ids(&found), ids(&sorted[..count.min(logits.len())]));
    }
}

#[test]
fn greedy_takes_the_first_of_equals() {
    assert_eq!(drawn(Sampling { temperature: 0.0, ..off() }, &[1.0, 3.0, 3.0], 1), [1]);
}

#[test]
fn the_penalty_turns_away_from_what_was_said() {
    let rules = Sampling { temperature: 0.0, repetition_penalty: 2.0, ..off() };
    let mut sampler = Sampler::new(rules).unwrap();
    let mut draws = Draws::new(0);
    let cases: [(&[f32], &[u32], u32); 4] = [
        (&[3.0, 2.0], &[], 0),
        (&[3.0, 2.0], &[0], 1),
        // Once for each token, however often it occurs.
        (&[3.0, 0.5], &[0, 0, 0], 0),
        (&[-1.0, -1.5], &[0], 1),
    ];
    for (logits, session, expected) in cases {
        assert_eq!(sampler.draw(logits, session, &mut draws).unwrap(), expected, "{session:?}");
    }
    // Ids beyond the vocabulary have no logits.
    assert_eq!(sampler.draw(&[1.0, 0.0], &[9], &mut draws).unwrap(), 0);
}

#[test]
fn broken_logits_and_rules_are_errors() {
    let mut sampler = Sampler::new(Sampling::default()).unwrap();
    let mut draws = Draws::new(0);
    for logits in [&[0.0, f32::NAN][..], &[f32::INFINITY, 0.0], &[f32::NEG_INFINITY; 2], &[]] {
        let drawn = sampler.draw(logits, &[], &mut draws);
        assert_eq!(drawn, Err(SampleError::BadLogits), "{logits:?}");
    }
    assert_eq!(sampler.draw(&[f32::NEG_INFINITY, 0.0], &[], &mut draws), Ok(1));
    for rules in [
        Sampling { temperature: -1.0, ..off() },
        Sampling { temperature: f32::NAN, ..off() },
        Sampling { top_p: 1.5, ..off() },
        Sampling { min_p: -0.1, ..off() },
        Sampling { repetition_penalty: f32::INFINITY, ..off() },
        // Dividing or multiplying logits by these leaves the numbers' range.
        Sampling { repetition_penalty: 1e-40, ..off() },
        Sampling { repetition_penalty: 1e38, ..off() },
    ] {
        assert!(matches!(Sampler::new(rules), Err(SampleError::BadRule(_))), "{rules:?}");
    }
    for repetition_penalty in [0.0, 0.01, 100.0] {
        assert!(Sampler::new(Sampling { repetition_penalty, ..off() }).is_ok());
    }
}

#[test]
fn the_generator_never_changes() {
    // These numbers are the contract: a seed that once gave an answer must give it for ever.
    let mut draws = Draws::new(42);
    let numbers: Vec<u64> = (0..4).map(|_| draws.0.next_u64()).collect();
    assert_eq!(numbers, GOLDEN);
}

const GOLDEN: [u64; 4] =
    [4178418447715145737, 4410739922618931473, 14034899209665866285, 9736923071240364268];

#[test]
fn entropy_is_that_of_the_distribution() {
    assert!((entropy_nats(&[1.0; 8]) - 8f32.ln()).abs() < 1e-6);
    assert!(entropy_nats(&[100.0, 0.0, f32::NEG_INFINITY]) < 1e-6);
    let (p, q) = (0.25f32, 0.75f32);
    let expected = -(p * p.ln() + q * q.ln());
    assert!((entropy_nats(&[p.ln() + 5.0, q.ln() + 5.0]) - expected).abs() < 1e-6);
}

proptest! {
    #[test]
    fn a_draw_follows_from_its_seed(
        logits in prop::collection::vec(-8.0f32..8.0, 1..80), seed: u64, top_k in 0u32..20,
        top_p in 0.0f32..1.0, min_p in 0.0f32..0.5, temperature in 0.0f32..2.0,
    ) {
        let rules = Sampling { temperature, top_k, top_p, min_p, repetition_penalty: 1.1 };
        let run = || {
            let mut sampler = Sampler::new(rules).unwrap();
            let mut draws = Draws::new(seed);
            let mut session = Vec::new();
            for _ in 0..8 {
                let token = sampler.draw(&logits, &session, &mut draws).unwrap();
                session.push(token);
            }
            session
        };
        let first = run();
        prop_assert_eq!(&first, &run());
        prop_assert!(first.iter().all(|&token| (token as usize) < logits.len()));
    }

    #[test]
    fn top_k_draws_only_the_likeliest(
        logits in prop::collection::vec(-4.0f32..4.0, 2..60), k in 1u32..10, seed: u64,
    ) {
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        let best = &order[..(k as usize).min(order.len())];
        let mut sampler = Sampler::new(Sampling { top_k: k, ..off() }).unwrap();
        let token = sampler.draw(&logits, &[], &mut Draws::new(seed)).unwrap();
        prop_assert!(best.contains(&token));
    }
}

#[test]
fn draws_follow_the_distribution() {
    let shares = [0.4f64, 0.3, 0.2, 0.1];
    let logits: Vec<f32> = shares.iter().map(|share| share.ln() as f32).collect();
    let times = 20_000u32;
    for rules in [off(), Sampling { top_k: 4, ..off() }, Sampling { top_p: 0.999, ..off() }] {
        let mut counts = [0f64; 4];
        for token in drawn(rules, &logits, times) {
            counts[token as usize] += 1.0;
        }
        let chi_square: f64 = counts
            .iter()
            .zip(shares)
            .map(|(count, share)| {
                (count - share * f64::from(times)).powi(2) / (share * f64::from(times))
            })
            .sum();
        // Three degrees of freedom: 16.3 is the 0.1 % point.
        assert!(chi_square < 16.3, "{chi_square} for {rules:?}");
    }
}
