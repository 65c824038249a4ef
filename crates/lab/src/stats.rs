//! Statistics of paired questions: intervals by resampling questions, shares of dependent answers, exact tests of two
//! policies on the same questions.
//!
//! The unit is always a question: its answers with several seeds are drawn together, because they are not independent.
//! Pure: the same values and seed give the same results. The values come from `report`; Wilson's interval and quantiles
//! are in the crate `grading`.

use grading::{
    interval::wilson_share,
    quantile::{quantile, rank},
};
use thinking::draw::splitmix64;

/// How often questions are resampled for an interval.
pub const RESAMPLES: u64 = 2_000;
/// If fewer than this fraction of the resamples have a value, no interval is given.
const DEFINED: f64 = 0.95;

/// A value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The value for the original questions.
    pub value: f64,
    /// The ends of the interval, if there is one.
    pub interval: Option<(f64, f64)>,
}

/// Returns a statistic of questions with its percentile bootstrap interval: the same number of questions is drawn with
/// replacement, [`RESAMPLES`] times. Resamples for which the statistic has no value are left out; if these are more
/// than one in twenty, there is no interval. Returns `None` if the questions themselves give no value.
pub fn bootstrap<Q>(
    questions: &[Q],
    seed: u64,
    statistic: impl Fn(&[&Q]) -> Option<f64>,
) -> Option<Estimate> {
    let all: Vec<&Q> = questions.iter().collect();
    let value = statistic(&all)?;
    let mut drawn = all.clone();
    let mut values = Vec::new();
    let count = questions.len() as u64;
    for resample in 0..RESAMPLES {
        for (at, place) in (0..).zip(&mut drawn) {
            // The high half of the product is a uniform draw below the count, except for a bias of 2^-64 of it.
            let draw = splitmix64(seed, resample * count + at + 1);
            let index = (u128::from(draw) * u128::from(count)) >> 64;
            *place = all[usize::try_from(index).unwrap_or(0)];
        }
        values.extend(statistic(&drawn).filter(|value| value.is_finite()));
    }
    values.sort_unstable_by(f64::total_cmp);
    let interval = (values.len() as f64 >= DEFINED * RESAMPLES as f64)
        .then(|| Some((quantile(&values, 0.025)?, quantile(&values, 0.975)?)))
        .flatten();
    Some(Estimate { value, interval })
}

/// Returns the median by nearest rank; the order of the values does not matter.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    let rank = rank(values.len(), 0.5);
    if values.is_empty() {
        return None;
    }
    Some(*values.select_nth_unstable_by(rank, f64::total_cmp).1)
}

/// Returns the mean.
pub fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// The hits and the tries of one question.
pub type Hits = (u64, u64);

/// Returns the share of hits among the tries of all questions, with Wilson's interval. Tries of one question are
/// dependent, so they count for less: by the design effect of sampling questions (Kish 1965), which is at least 1 and
/// at most the tries per question. With one try per question this is plain Wilson's interval. Returns `None` without a
/// try.
pub fn share(questions: &[Hits]) -> Option<Estimate> {
    let asked: Vec<(f64, f64)> = questions
        .iter()
        .filter(|(_, tries)| *tries > 0)
        .map(|(hits, tries)| (*hits as f64, *tries as f64))
        .collect();
    let (hits, tries) = asked.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    if tries == 0.0 {
        return None;
    }
    let (value, clusters) = (hits / tries, asked.len() as f64);
    let most = tries / clusters;
    let alone = value * (1.0 - value) / tries;
    let effect = if alone > 0.0 && clusters > 1.0 {
        let spread: f64 = asked.iter().map(|(hits, tries)| (hits - value * tries).powi(2)).sum();
        let together = clusters / (clusters - 1.0) * spread / (tries * tries);
        (together / alone).clamp(1.0, most.max(1.0))
    } else {
        most
    };
    Some(Estimate { value, interval: Some(wilson_share(value, tries / effect)) })
}

/// Returns how much more often the first policy was right than the second, on the same questions, each given as hits
/// and tries, with Newcombe's interval for paired shares (1998, method 10). It combines the intervals of the two shares
/// according to their correlation over questions, so it stays valid where resampling fails: when only one of the two
/// was ever right alone. Returns `None` without tries on both sides.
pub fn paired_difference(questions: &[(Hits, Hits)]) -> Option<Estimate> {
    let both: Vec<_> =
        questions.iter().copied().filter(|(first, second)| first.1 > 0 && second.1 > 0).collect();
    let first = share(&both.iter().map(|pair| pair.0).collect::<Vec<_>>())?;
    let second = share(&both.iter().map(|pair| pair.1).collect::<Vec<_>>())?;
    let ((low_a, high_a), (low_b, high_b)) = (first.interval?, second.interval?);
    let together = correlation(&both);
    let (a, b) = (first.value, second.value);
    let beside = |x: f64, y: f64| (x * x - 2.0 * together * x * y + y * y).max(0.0).sqrt();
    let value = a - b;
    let low = (value - beside(a - low_a, high_b - b)).max(-1.0);
    let high = (value + beside(high_a - a, b - low_b)).min(1.0);
    Some(Estimate { value, interval: Some((low, high)) })
}

/// Returns the correlation of two shares over questions, with Newcombe's correction of positive ones.
fn correlation(questions: &[(Hits, Hits)]) -> f64 {
    let rate = |(hits, tries): Hits| hits as f64 / tries as f64;
    let count = questions.len() as f64;
    let sum = |value: &dyn Fn(f64, f64) -> f64| {
        questions.iter().map(|pair| value(rate(pair.0), rate(pair.1))).sum::<f64>() / count
    };
    let (a, b) = (sum(&|a, _| a), sum(&|_, b| b));
    let spread = (sum(&|x, _| (x - a).powi(2)) * sum(&|_, y| (y - b).powi(2))).sqrt();
    let together = sum(&|x, y| (x - a) * (y - b));
    let together = if together > 0.0 { (together - 0.5 / count).max(0.0) } else { together };
    if spread > 0.0 { together / spread } else { 0.0 }
}

/// Two policies on the same questions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// Questions that only the first policy had right, or had right more often.
    pub first_only: u64,
    /// Questions that only the second policy had right, or had right more often.
    pub second_only: u64,
    /// McNemar's exact p, two-sided.
    pub p: f64,
}

/// Runs McNemar's exact test on how often two policies were right on each question. With one seed these counts are 0
/// and 1; with several, questions are compared by how often each policy was right, which is the sign test over
/// questions.
pub fn mcnemar(questions: impl Iterator<Item = (u64, u64)>) -> Paired {
    let (mut first_only, mut second_only) = (0, 0);
    for (first, second) in questions {
        first_only += u64::from(first > second);
        second_only += u64::from(second > first);
    }
    Paired { first_only, second_only, p: sign_test(first_only, second_only) }
}

/// Returns how likely a fair coin is to fall at least as unevenly, on either side.
fn sign_test(a: u64, b: u64) -> f64 {
    let all = a + b;
    // In logarithms: 2^-all is 0 in f64 for 1,100 questions.
    let mut log_ways = -(all as f64) * std::f64::consts::LN_2;
    let mut tail = log_ways.exp();
    for k in 0..a.min(b) {
        log_ways += ((all - k) as f64).ln() - ((k + 1) as f64).ln();
        tail += log_ways.exp();
    }
    (2.0 * tail).min(1.0)
}

/// Returns p values adjusted for their number by Holm's method, in their original order.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least: f64 = 0.0;
    for (rank, index) in order.iter().enumerate() {
        least = least.max(p_values[*index] * (p_values.len() - rank) as f64).min(1.0);
        adjusted[*index] = least;
    }
    adjusted
}
