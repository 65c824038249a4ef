//! How much of the gap from the small model to the large one a policy closes.

use thinking::policy::PolicyKind;

use super::{
    accuracy::{group_table, head},
    listed,
};
use crate::{
    report::{
        chart::{Axis, Chart, Kind, Scale},
        data::{Data, Group, Question, SEED},
        figure::Figure,
        table::estimated,
    },
    stats::{self, Estimate},
};

pub(super) fn figure(data: &Data<'_>) -> Figure {
    let mut table =
        group_table(&["questions", "gap_recovered", "gap_recovered_low", "gap_recovered_high"]);
    let mut notes = Vec::new();
    let (mut missing, mut level): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for group in &data.groups {
        if !group.policy.kind.has_takeovers() {
            continue;
        }
        let named = format!("{} over {}", group.policy.label, group.link.name);
        let alone = |kind| {
            let policy = data.beside(group.policy, kind)?;
            data.group(&policy.label, &group.link.name)
        };
        let (Some(small), Some(large)) =
            (alone(PolicyKind::SmallOnly), alone(PolicyKind::LargeOnly))
        else {
            missing.push(named);
            continue;
        };
        let (questions, recovered) = recovered(group, small, large);
        match recovered {
            Some(gap) => {
                table.push([head(group), vec![questions.into()], estimated(Some(gap)).to_vec()]);
                if gap.interval.is_none() {
                    notes.push(format!(
                        "{named}: no interval, because in more than one of twenty resamples the large model alone was \
                        no better than the small one."
                    ));
                }
            }
            None => level.push(named),
        }
    }
    let without = [
        ("small-only or large-only is missing there", missing),
        ("large-only was no better than small-only there", level),
    ];
    for (why, groups) in without.iter().filter(|(_, groups)| !groups.is_empty()) {
        notes.push(format!("Left out because {why}: {}.", listed(groups)));
    }
    let x = Axis::new("gap recovered", "gap_recovered", Scale::Share)
        .with_interval("gap_recovered_low", "gap_recovered_high");
    Figure {
        name: "8-gap",
        title: "Gap recovered".to_owned(),
        reading: "How much of the accuracy by which the large model alone exceeds the small one a policy gains: 0 % is \
            the small model, 100 % the large one, and values beyond either are possible. Over the same link and the \
            questions that all three answered, resampled together for the interval.",
        notes,
        table,
        chart: Chart {
            panel: None,
            series: "policy",
            order: data.policies(),
            kind: Kind::Rows { category: "link", x, lines: &[0.0, 1.0] },
        },
    }
}

/// Returns on how many questions it is based, and the recovered fraction of the gap.
fn recovered(
    policy: &Group<'_>,
    small: &Group<'_>,
    large: &Group<'_>,
) -> (usize, Option<Estimate>) {
    let with_large = policy.paired(large);
    let triples: Vec<[f64; 3]> = policy
        .paired(small)
        .iter()
        .filter_map(|(ours, small)| {
            let (_, large) = with_large.iter().find(|(other, _)| other.id == ours.id)?;
            Some([*ours, *small, *large].map(Question::rightness))
        })
        .collect();
    let estimate = stats::bootstrap(&triples, SEED, |drawn| {
        let [ours, small, large] =
            [0, 1, 2].map(|at| stats::mean(drawn.iter().map(|triple| triple[at])));
        let (ours, small, large) = (ours?, small?, large?);
        (large > small).then(|| (ours - small) / (large - small))
    });
    (triples.len(), estimate)
}
