//! What a link does to answers: how many there are, how many are right, and how many continued without the large model.

use std::collections::BTreeMap;

use runs::Row;

use super::accuracy::{group_table, head};
use crate::{
    report::{
        chart::{Axis, Chart, Kind, Scale},
        data::Data,
        figure::Figure,
        table::estimated,
    },
    stats,
};

pub(super) fn figure(data: &Data<'_>) -> Figure {
    let mut table = group_table(&["measure", "share", "share_low", "share_high"]);
    for group in &data.groups {
        let degraded: Vec<(u64, u64)> = group
            .questions
            .iter()
            .map(|question| {
                let answers = &question.answers;
                let degraded = answers.iter().filter(|answer| answer.summary.degraded.is_some());
                (degraded.count() as u64, answers.len() as u64)
            })
            .collect();
        let (completed, failed) = asked(group.cells.iter().flat_map(|cell| &cell.rows));
        let measures = [
            ("completed, of those asked", stats::share(&completed)),
            ("right, of those completed", group.accuracy()),
            ("degraded, of those completed", stats::share(&degraded)),
            ("failed, of those asked", stats::share(&failed)),
        ];
        for (measure, share) in measures {
            table.push([head(group), vec![measure.into()], estimated(share).to_vec()]);
        }
    }
    let x = Axis::new("share", "share", Scale::Share).with_interval("share_low", "share_high");
    Figure {
        name: "7-completion",
        title: "Completed answers, and how they ended".to_owned(),
        reading: "A panel for each measure, links from the shortest round trip to the longest. Completed answers were \
            graded; in degraded ones the small model continued without the large one, for a while or to the end; \
            failed ones are questions without an answer. An interval that begins at 0 % does not mean that it never \
            happens. Links with outages or resets have them at moments that depend on the seed, and a cell of a few \
            seconds may meet none of them.",
        notes: Vec::new(),
        table,
        chart: Chart {
            panel: Some("measure"),
            series: "policy",
            order: data.policies(),
            kind: Kind::Rows { category: "link", x, lines: &[] },
        },
    }
}

type Counts = Vec<(u64, u64)>;

/// Returns, for each question, how often it was completed, how often it failed, and how often it was asked.
fn asked<'a>(rows: impl IntoIterator<Item = &'a Row>) -> (Counts, Counts) {
    let mut by_question: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for row in rows {
        let (completed, asked) = by_question.entry(row.id()).or_default();
        *completed += u64::from(matches!(row, Row::Graded(_)));
        *asked += 1;
    }
    let completed: Counts = by_question.into_values().collect();
    let failed = completed.iter().map(|&(completed, asked)| (asked - completed, asked)).collect();
    (completed, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_of_a_question_are_counted_together() {
        let failed = |id: &str| Row::Failed { id: id.to_owned(), reason: "gone".to_owned() };
        let (completed, failed) = asked(&[failed("a"), failed("b"), failed("a")]);
        assert_eq!((completed, failed), (vec![(0, 2), (0, 1)], vec![(2, 2), (1, 1)]));
    }
}
