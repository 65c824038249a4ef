//! The report's statistics: published values and invariants.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use grading::{interval::wilson, quantile::quantile};
use lab::stats::{bootstrap, holm, mcnemar, mean, median, paired_difference, share};
use proptest::prelude::*;

/// The p-value if only the first policy is right in `first` questions, and only the second in `second`.
fn discordant(first: u64, second: u64) -> f64 {
    let questions = (0..first).map(|_| (1, 0)).chain((0..second).map(|_| (0, 1)));
    mcnemar(questions.chain([(1, 1), (0, 0)])).p
}

#[test]
fn mcnemars_exact_p_is_the_binomials() {
    // Twice the lower tail of a fair coin: R's binom.test(b, b + c).
    let table = [
        ((0, 0), 1.0),
        ((1, 1), 1.0),
        ((0, 5), 0.0625),
        ((0, 6), 0.031_25),
        ((1, 8), 0.039_062_5),
        ((2, 10), 0.038_574_218_75),
        ((5, 15), 0.041_389_465_332_031_25),
    ];
    for ((first, second), p) in table {
        assert!((discordant(first, second) - p).abs() < 1e-12, "{first} {second}");
        assert_eq!(discordant(first, second), discordant(second, first));
    }
    let many = discordant(900, 1100);
    assert!(many > 1e-6 && many < 1e-4, "{many}");
}

#[test]
fn with_several_seeds_a_question_counts_once() {
    let paired = mcnemar([(3, 0), (2, 3), (1, 1)].into_iter());
    assert_eq!((paired.first_only, paired.second_only), (1, 1));
}

#[test]
fn quantiles_are_of_the_nearest_rank() {
    let hundred: Vec<u64> = (1..=100).collect();
    assert_eq!((quantile(&hundred, 0.5), quantile(&hundred, 0.95)), (Some(50), Some(95)));
    assert_eq!((quantile(&[7], 0.5), quantile(&[7], 0.95)), (Some(7), Some(7)));
    assert_eq!(quantile::<u64>(&[], 0.5), None);
    assert_eq!(
        (median([3.0, 1.0, 2.0, 4.0].into_iter()), median([].into_iter())),
        (Some(2.0), None)
    );
}

/// Questions that both had right, only the first, only the second, neither.
fn table(both: u64, first: u64, second: u64, neither: u64) -> Vec<((u64, u64), (u64, u64))> {
    let cells = [(both, 1, 1), (first, 1, 0), (second, 0, 1), (neither, 0, 0)];
    let questions =
        cells.into_iter().flat_map(|(count, a, b)| (0..count).map(move |_| ((a, 1), (b, 1))));
    questions.collect()
}

#[test]
fn a_paired_difference_has_newcombes_interval() {
    // By hand: 35 of 40 and 39 of 40, the correlation (35 - 20) / sqrt(35 * 5 * 39 * 1) = 0.1816.
    let estimate = paired_difference(&table(35, 0, 4, 1)).unwrap();
    let (low, high) = estimate.interval.unwrap();
    assert!((estimate.value + 0.1).abs() < 1e-12);
    assert!((low + 0.2339).abs() < 1e-3 && (high - 0.0153).abs() < 1e-3, "{low} {high}");
    // They never differ: the correction keeps some width.
    let (low, high) = paired_difference(&table(20, 0, 0, 20)).unwrap().interval.unwrap();
    assert!(low < 0.0 && high > 0.0 && (low + high).abs() < 1e-12, "{low} {high}");
    assert_eq!(paired_difference(&[]), None);
}

#[test]
fn holm_is_the_published_procedure() {
    let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
    let expected = [0.03, 0.06, 0.06, 0.02];
    for (got, want) in adjusted.iter().zip(expected) {
        assert!((got - want).abs() < 1e-12, "{adjusted:?}");
    }
    assert_eq!(holm(&[]), [] as [f64; 0]);
}

#[test]
fn a_share_of_one_try_each_is_wilsons_and_tries_that_agree_tell_less() {
    let alone: Vec<(u64, u64)> = (0..40).map(|n| (u64::from(n % 4 > 0), 1)).collect();
    let one = share(&alone).unwrap();
    let (low, high) = one.interval.unwrap();
    assert_eq!((low, high), wilson(30, 40));
    // Three seeds that always agree are worth as much as one.
    let same: Vec<(u64, u64)> = alone.iter().map(|(hits, _)| (3 * hits, 3)).collect();
    let three = share(&same).unwrap();
    assert!((three.interval.unwrap().0 - low).abs() < 0.01, "{three:?}");
    assert_eq!(share(&[(3, 3), (3, 3)]).unwrap().interval.unwrap(), wilson(2, 2));
    assert_eq!(share(&[]), None);
    assert_eq!(share(&[(0, 0)]), None);
}

#[test]
fn the_bootstraps_interval_is_near_the_means_own() {
    // 0 to 99: the standard error of the mean is 2.89, so 1.96 of it on each side.
    let questions: Vec<f64> = (0..100).map(f64::from).collect();
    let estimate = bootstrap(&questions, 1, |drawn| mean(drawn.iter().map(|v| **v))).unwrap();
    let (low, high) = estimate.interval.unwrap();
    assert_eq!(estimate.value, 49.5);
    assert!(
        (low - (49.5 - 5.66)).abs() < 0.6 && (high - (49.5 + 5.66)).abs() < 0.6,
        "{low} {high}"
    );
}

#[test]
fn a_statistic_that_is_often_without_a_value_has_no_interval() {
    let seldom = |drawn: &[&f64]| drawn.iter().all(|v| **v > 0.0).then_some(1.0);
    let estimate = bootstrap(&[1.0, 2.0, 3.0], 1, seldom).unwrap();
    assert!(estimate.interval.is_some());
    let mut values = vec![1.0; 30];
    let count = |drawn: &[&f64]| (drawn.iter().filter(|v| ***v < 0.0).count() > 0).then_some(1.0);
    assert_eq!(bootstrap(&values, 1, count), None, "no value, no estimate");
    values[0] = -1.0;
    assert_eq!(bootstrap(&values, 1, count).unwrap().interval, None);
}

proptest! {
    // Each case draws thousands of times.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn an_interval_is_seeded_ordered_and_within_the_values(
        values in prop::collection::vec(0.0..1e6_f64, 1..40),
        seed in any::<u64>(),
    ) {
        let middle = |drawn: &[&f64]| median(drawn.iter().map(|v| **v));
        let estimate = bootstrap(&values, seed, middle).unwrap();
        prop_assert_eq!(bootstrap(&values, seed, middle), Some(estimate));
        let (low, high) = estimate.interval.unwrap();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        prop_assert!(least <= low && low <= high && high <= most);
        // The same as quantiles of the values themselves.
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        prop_assert_eq!(quantile(&sorted, 0.5), Some(estimate.value));
    }

    #[test]
    fn values_that_are_all_the_same_leave_no_doubt(value in 1.0..1e6_f64, count in 1..30_usize) {
        let values = vec![value; count];
        let estimate = bootstrap(&values, 7, |drawn| median(drawn.iter().map(|v| **v))).unwrap();
        prop_assert_eq!(estimate.interval, Some((value, value)));
    }

    #[test]
    fn the_ratio_of_a_policy_to_itself_is_one_without_doubt(
        values in prop::collection::vec(1.0..1e6_f64, 1..30),
    ) {
        let pairs: Vec<(f64, f64)> = values.iter().map(|v| (*v, *v)).collect();
        let ratio = |drawn: &[&(f64, f64)]| {
            Some(median(drawn.iter().map(|p| p.0))? / median(drawn.iter().map(|p| p.1))?)
        };
        let estimate = bootstrap(&pairs, 3, ratio).unwrap();
        prop_assert_eq!((estimate.value, estimate.interval), (1.0, Some((1.0, 1.0))));
    }
}

proptest! {
    #[test]
    fn a_share_lies_in_its_interval_and_more_questions_narrow_it(
        questions in prop::collection::vec((0..4_u64, 0..4_u64), 2..40),
    ) {
        let questions: Vec<(u64, u64)> =
            questions.iter().map(|(hits, more)| (*hits, hits + more)).collect();
        let Some(estimate) = share(&questions) else {
            prop_assert!(questions.iter().all(|(_, tries)| *tries == 0));
            return Ok(());
        };
        let (low, high) = estimate.interval.unwrap();
        prop_assert!((0.0..=estimate.value + 1e-12).contains(&low), "{estimate:?}");
        prop_assert!((estimate.value - 1e-12..=1.0).contains(&high), "{estimate:?}");
        let (again_low, again_high) =
            share(&[&questions[..], &questions].concat()).unwrap().interval.unwrap();
        prop_assert!(again_high - again_low <= high - low + 1e-12);
    }

    #[test]
    fn a_paired_difference_lies_in_its_interval_and_turns_with_its_sides(
        counts in (0..20_u64, 0..20_u64, 0..20_u64, 1..20_u64),
    ) {
        let (both, first, second, neither) = counts;
        let estimate = paired_difference(&table(both, first, second, neither)).unwrap();
        let turned = paired_difference(&table(both, second, first, neither)).unwrap();
        let ((low, high), (other_low, other_high)) =
            (estimate.interval.unwrap(), turned.interval.unwrap());
        prop_assert!((-1.0..=estimate.value + 1e-12).contains(&low), "{estimate:?}");
        prop_assert!((estimate.value - 1e-12..=1.0).contains(&high), "{estimate:?}");
        prop_assert!((low + other_high).abs() < 1e-12 && (high + other_low).abs() < 1e-12);
    }

    #[test]
    fn p_is_a_probability_and_falls_as_one_side_wins(a in 0..60_u64, b in 0..60_u64) {
        let p = discordant(a, b);
        prop_assert!((0.0..=1.0).contains(&p));
        if a >= b {
            prop_assert!(discordant(a + 1, b) <= p + 1e-12);
        }
    }

    #[test]
    fn adjusted_p_values_are_no_smaller_and_keep_their_order(
        p_values in prop::collection::vec(0.0..1.0_f64, 0..20),
    ) {
        let adjusted = holm(&p_values);
        for (at, p) in p_values.iter().enumerate() {
            prop_assert!(adjusted[at] >= *p && adjusted[at] <= 1.0);
            for (other, q) in p_values.iter().enumerate() {
                prop_assert!(p > q || adjusted[at] <= adjusted[other]);
            }
        }
    }
}
