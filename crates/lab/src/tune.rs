//! Chooses a threshold for a policy (the gap of a review, an entropy, a mark) from a development set's results with
//! several values.
//!
//! Pure: from figures to a choice. The sweep behind the figures and the wording of the choice (the command
//! `specthink-lab`) are elsewhere.

use crate::plan::{Candidate, PlanTarget};

/// A threshold that was tried; called a gap after that of a review.
#[derive(Debug, Clone, PartialEq)]
pub struct TriedGap {
    /// Its value.
    pub gap: f32,
    /// Its results.
    pub candidate: Candidate,
}

/// The choice among the gaps that were tried.
#[derive(Debug, Clone, PartialEq)]
pub enum GapChoice<'a> {
    /// At least one gap keeps all targets.
    Kept {
        /// The gap to use.
        chosen: &'a TriedGap,
        /// Other gaps that keep the targets and whose accuracy is not distinguishable from the chosen one's, the safest
        /// first.
        no_worse: Vec<&'a TriedGap>,
    },
    /// No gap keeps the targets; this one comes closest.
    Nearest(&'a TriedGap),
}

/// Chooses one of the gaps, which are sorted from the safest, the smallest, on. Returns `None` if none was tried.
///
/// Of the gaps that keep all targets, some are no worse than the most accurate one: their accuracy is within its
/// interval. The safest of these is chosen, because an error that passes a review is not noticed later. If accuracy is
/// the only target, the last gap that reaches it is chosen, because it uses the large model least.
pub fn choose<'a>(tried: &'a [TriedGap], targets: &[PlanTarget]) -> Option<GapChoice<'a>> {
    let tried: Vec<&TriedGap> = tried.iter().collect();
    let accuracy = |one: &TriedGap| one.candidate.accuracy;
    let keeps = |one: &&TriedGap| one.candidate.misses(targets).is_empty();
    let kept: Vec<&TriedGap> = tried.iter().copied().filter(keeps).collect();
    let best = kept.iter().max_by(|a, b| accuracy(a).value.total_cmp(&accuracy(b).value));
    let Some(best) = best.map(|best| accuracy(best)) else {
        return nearest(&tried, targets).map(GapChoice::Nearest);
    };
    let least = best.interval.map_or(best.value, |(low, _)| low.min(best.value));
    let mut no_worse: Vec<&TriedGap> =
        kept.iter().copied().filter(|one| accuracy(one).value >= least).collect();
    if is_accuracy_alone(targets) {
        let chosen = *kept.last()?;
        let is_worse = accuracy(chosen).value < least;
        no_worse.retain(|one| !is_worse && one.gap != chosen.gap);
        return Some(GapChoice::Kept { chosen, no_worse });
    }
    let chosen = no_worse.remove(0);
    Some(GapChoice::Kept { chosen, no_worse })
}

/// Returns whether accuracy is the only target.
pub fn is_accuracy_alone(targets: &[PlanTarget]) -> bool {
    let is_accuracy = |target: &PlanTarget| matches!(target, PlanTarget::Accuracy(_));
    !targets.is_empty() && targets.iter().all(is_accuracy)
}

/// Returns the gap that misses its worst target by the least; of equals, the safest.
fn nearest<'a>(tried: &[&'a TriedGap], targets: &[PlanTarget]) -> Option<&'a TriedGap> {
    let worst = |one: &TriedGap| {
        let excesses = targets.iter().map(|target| one.candidate.excess(target));
        excesses.fold(0.0, f64::max)
    };
    tried.iter().copied().min_by(|a, b| worst(a).total_cmp(&worst(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::Source, stats::Estimate};

    /// A gap, an accuracy with 5 points to both sides, corrections, a share.
    fn tried(gap: f32, accuracy: f64, corrections: f64, share: f64) -> TriedGap {
        let interval = Some((accuracy - 0.05, accuracy + 0.05));
        let candidate = Candidate {
            policy: format!("review:review-gap={gap}"),
            pair: String::new(),
            answers: 100,
            accuracy: Estimate { value: accuracy, interval },
            share,
            corrections,
            latency_median_s: 1.0,
            latency_p95_s: 2.0,
            cost: share / 100.0,
            clients: None,
            source: Source::Measured,
        };
        TriedGap { gap, candidate }
    }

    fn four() -> [TriedGap; 4] {
        [
            tried(0.25, 0.94, 4.0, 0.10),
            tried(1.0, 0.96, 2.0, 0.05),
            tried(2.0, 0.92, 1.0, 0.02),
            tried(5.0, 0.80, 0.2, 0.01),
        ]
    }

    /// The chosen gap, and those that are no worse.
    fn kept(tried: &[TriedGap], targets: &[&str]) -> Option<(f32, Vec<f32>)> {
        let targets: Vec<PlanTarget> = targets.iter().map(|text| text.parse().unwrap()).collect();
        match choose(tried, &targets)? {
            GapChoice::Kept { chosen, no_worse } => {
                Some((chosen.gap, no_worse.iter().map(|one| one.gap).collect()))
            }
            GapChoice::Nearest(_) => None,
        }
    }

    #[test]
    fn of_gaps_that_are_no_worse_the_least_is_taken() {
        let table: [(&[&str], f32, &[f32]); 6] = [
            (&[], 0.25, &[1.0, 2.0]),
            (&["corrections<=4"], 0.25, &[1.0, 2.0]),
            (&["corrections<=2"], 1.0, &[2.0]),
            (&["corrections<=1.5"], 2.0, &[]),
            (&["share<=5%", "corrections<=3", "accuracy>=90%"], 1.0, &[2.0]),
            (&["cost<=0.0001"], 5.0, &[]),
        ];
        for (targets, gap, no_worse) in table {
            assert_eq!(kept(&four(), targets), Some((gap, no_worse.to_vec())), "{targets:?}");
        }
    }

    #[test]
    fn a_gap_that_is_worse_for_certain_is_not_taken_for_being_less() {
        let all = [tried(0.0, 0.80, 9.0, 0.3), tried(1.0, 0.96, 2.0, 0.05)];
        assert_eq!(kept(&all, &[]), Some((1.0, Vec::new())));
        let mut alone = all.clone();
        for one in &mut alone {
            one.candidate.accuracy.interval = None;
        }
        assert_eq!(kept(&alone, &[]), Some((1.0, Vec::new())), "without an interval too");
    }

    #[test]
    fn for_an_accuracy_alone_the_greatest_gap_that_reaches_it_is_taken() {
        assert_eq!(kept(&four(), &["accuracy>=90%"]), Some((2.0, vec![0.25, 1.0])));
        assert_eq!(kept(&four(), &["accuracy>=95%"]), Some((1.0, vec![])));
        assert_eq!(kept(&four(), &["accuracy>=60%", "accuracy>=50%"]), Some((5.0, vec![])));
    }

    #[test]
    fn where_no_gap_keeps_the_targets_the_nearest_is_named() {
        let nearest = |targets: &[&str]| {
            let all = four();
            let targets: Vec<PlanTarget> =
                targets.iter().map(|text| text.parse().unwrap()).collect();
            match choose(&all, &targets) {
                Some(GapChoice::Nearest(one)) => one.gap,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(nearest(&["corrections<=0.1"]), 5.0);
        assert_eq!(nearest(&["corrections<=0"]), 5.0);
        assert_eq!(nearest(&["accuracy>=99%"]), 1.0);
        // 2 corrects three times as often as allowed, 5 lacks a sixth of the accuracy.
        assert_eq!(nearest(&["accuracy>=95%", "corrections<=0.3"]), 5.0);
        assert_eq!(choose(&[], &[]), None);
    }
}
