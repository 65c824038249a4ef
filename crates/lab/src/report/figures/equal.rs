//! Policies next to baselines that cost about as much: at equal share, equal takeovers, equal cost.

use answer::{Summary, prices::Prices};
use thinking::policy::PolicyKind;

use super::{
    accuracy::head,
    paired::{hits, right},
    traffic::on_the_wire,
};
use crate::{
    report::{
        chart::{Axis, Chart, Kind, Scale},
        data::{Data, Group, answers},
        figure::Figure,
        table::{Table, Value, estimated},
    },
    stats,
};

/// The policies that others are compared with: they decide at random, by turns, or by a single token.
const BASELINES: [PolicyKind; 5] = [
    PolicyKind::Random,
    PolicyKind::Periodic,
    PolicyKind::RandomToken,
    PolicyKind::Entropy,
    PolicyKind::Score,
];

/// Returns whether policies of this kind exist to be compared with.
pub(crate) fn is_baseline(kind: PolicyKind) -> bool {
    BASELINES.contains(&kind)
}

/// Values count as equal up to this factor.
const ABOUT: f64 = 1.25;

/// What two policies may have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Share,
    HandOvers,
    Cost,
}

impl Measure {
    const ALL: [Measure; 3] = [Measure::Share, Measure::HandOvers, Measure::Cost];

    fn name(self) -> &'static str {
        match self {
            Measure::Share => "share",
            Measure::HandOvers => "takeovers and corrections",
            Measure::Cost => "cost",
        }
    }

    /// Returns how much of it a group has.
    fn of(self, group: &Group<'_>, prices: &Prices) -> f64 {
        let questions: Vec<_> = group.questions.iter().collect();
        let sum = |value: &dyn Fn(&Summary) -> f64| -> f64 {
            answers(&questions).map(|answer| value(&answer.summary)).sum()
        };
        let count = group.graded().max(1) as f64;
        match self {
            Measure::Share => {
                sum(&|it| it.large.tokens as f64) / sum(&|it| it.tokens() as f64).max(1.0)
            }
            Measure::HandOvers => {
                sum(&|it| it.takeovers.len() as f64 + f64::from(it.corrections)) / count
            }
            Measure::Cost => {
                let wire = on_the_wire(group).map_or(0.0, |(up, down)| up + down);
                sum(&|it| prices.tokens(it)) / count + wire * prices.traffic_per_gb / 1e9
            }
        }
    }
}

/// Returns the factor by which two values differ; at least 1.
fn factor(a: f64, b: f64) -> f64 {
    if a > 0.0 && b > 0.0 { (a / b).max(b / a) } else { f64::INFINITY }
}

pub(super) fn figure(data: &Data<'_>, prices: &Prices) -> Figure {
    let mut table = Table::new(&[
        "policy",
        "link",
        "rtt_ms",
        "answers",
        "equal_in",
        "baseline",
        "policy_has",
        "baseline_has",
        "accuracy",
        "baseline_accuracy",
        "accuracy_difference",
        "accuracy_difference_low",
        "accuracy_difference_high",
        "only_policy_right",
        "only_baseline_right",
        "mcnemar_p",
        "mcnemar_p_holm",
    ]);
    let (rows, notes) = compared(data, prices);
    let tests: Vec<stats::Paired> = rows
        .iter()
        .map(|row| stats::mcnemar(row.group.paired(row.baseline).into_iter().map(right)))
        .collect();
    let adjusted = stats::holm(&tests.iter().map(|test| test.p).collect::<Vec<_>>());
    for ((row, test), holm) in rows.iter().zip(&tests).zip(adjusted) {
        let hits = hits(row.group, row.baseline);
        let accuracy = |group: &Group<'_>| Value::from(group.accuracy().map(|it| it.value));
        table.push([
            head(row.group),
            vec![row.measure.name().into(), row.baseline.policy.label.as_str().into()],
            vec![row.ours.into(), row.theirs.into()],
            vec![accuracy(row.group), accuracy(row.baseline)],
            estimated(stats::paired_difference(&hits)).to_vec(),
            vec![test.first_only.into(), test.second_only.into(), test.p.into(), holm.into()],
        ]);
    }
    let x =
        Axis::new("right answers more than the baseline's", "accuracy_difference", Scale::Linear)
            .with_interval("accuracy_difference_low", "accuracy_difference_high");
    Figure {
        name: "12-equal",
        title: "Comparison with baselines of equal cost".to_owned(),
        reading: "Each policy next to the baseline of every kind (random, periodic, random-token, entropy, score) that \
            is closest to it in the large model's share, in takeovers and corrections per answer, and in cost by the \
            prices below: how much more often the policy is right, on the questions that both answered over the same \
            link, with Newcombe's interval. The table has both values, McNemar's exact test, and its p adjusted for \
            the number of rows by Holm's method. A baseline that differs by more than a quarter is left out: sweep \
            more of its settings.",
        notes,
        table,
        chart: Chart {
            panel: Some("equal_in"),
            series: "baseline",
            order: data.policies(),
            kind: Kind::Rows { category: "policy", x, lines: &[0.0] },
        },
    }
}

/// A policy and a baseline that have about as much of something.
struct Compared<'b, 'a> {
    measure: Measure,
    group: &'b Group<'a>,
    baseline: &'b Group<'a>,
    ours: f64,
    theirs: f64,
}

/// Returns all possible comparisons, and notes on the missing ones.
fn compared<'b, 'a>(data: &'b Data<'a>, prices: &Prices) -> (Vec<Compared<'b, 'a>>, Vec<String>) {
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    let is_baseline = |group: &&Group<'_>| BASELINES.contains(&group.policy.kind);
    let policies =
        data.groups.iter().filter(|it| it.policy.kind.has_takeovers() && !is_baseline(it));
    for group in policies {
        for measure in Measure::ALL {
            let ours = measure.of(group, prices);
            for kind in BASELINES {
                let like = |it: &&Group<'_>| {
                    it.policy.kind == kind
                        && it.policy.setting == group.policy.setting
                        && it.link.name == group.link.name
                };
                let of_kind = data.groups.iter().filter(like);
                let of_kind = of_kind.map(|baseline| (baseline, measure.of(baseline, prices)));
                let nearest =
                    of_kind.min_by(|(_, a), (_, b)| factor(ours, *a).total_cmp(&factor(ours, *b)));
                let Some((baseline, theirs)) = nearest else { continue };
                if factor(ours, theirs) <= ABOUT {
                    rows.push(Compared { measure, group, baseline, ours, theirs });
                } else {
                    notes.push(format!(
                        "{} over {}: no {kind} has about its {}.",
                        group.policy.label,
                        group.link.name,
                        measure.name()
                    ));
                }
            }
        }
    }
    (rows, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_that_of_the_greater_to_the_smaller() {
        for (a, b, expected) in [(2.0, 1.0, 2.0), (1.0, 2.0, 2.0), (3.0, 3.0, 1.0)] {
            assert_eq!(factor(a, b), expected);
        }
        assert_eq!((factor(0.0, 1.0), factor(0.0, 0.0)), (f64::INFINITY, f64::INFINITY));
    }
}
