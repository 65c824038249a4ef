//! The results of cells as a Markdown table, made only from their rows and their traffic.

use grading::quantile::quantile;
use runs::{Figures, Row};

use super::cell::CellTraffic;

const COLUMNS: [&str; 20] = [
    "policy",
    "link",
    "seed",
    "right",
    "95 % interval",
    "large share",
    "takeovers",
    CORRECTIONS,
    "abandoned",
    "passed over",
    "latency median",
    "p95",
    "network share",
    "up",
    "down",
    "large read",
    "large wrote",
    PASSES,
    "degraded",
    "failed",
];
/// A column that only appears if there was a review.
const CORRECTIONS: &str = "corrections";
/// A column that only appears if large nodes count their passes.
const PASSES: &str = "large passes";

/// The results of a cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CellFigures {
    /// The policy, as written.
    pub policy: String,
    /// The link, as written.
    pub link: String,
    /// The seed.
    pub seed: u64,
    /// The figures of the run.
    pub figures: Figures,
    /// The median of the answers' wall times, in microseconds.
    pub median_us: u64,
    /// The 95th percentile of the answers' wall times, in microseconds.
    pub p95_us: u64,
    /// The fraction of the answers' wall time that neither node accounts for, from 0 to 1.
    pub network_share: f64,
    /// Bytes over the link to the large node, per graded answer.
    pub up_bytes: u64,
    /// Bytes over the link from the large node, per graded answer.
    pub down_bytes: u64,
    /// Graded answers whose bytes were not recorded, because a run ended before that.
    pub uncounted: u64,
}

impl CellFigures {
    /// Summarises the rows of a cell and its traffic.
    pub(crate) fn new<'a>(
        (policy, link, seed): (&str, &str, u64),
        rows: impl Iterator<Item = &'a Row> + Clone,
        traffic: &[CellTraffic],
    ) -> CellFigures {
        let graded = rows.clone().filter_map(|row| match row {
            Row::Graded(graded) => Some(&graded.summary.time),
            Row::Failed { .. } => None,
        });
        let mut walls: Vec<u64> = graded.clone().map(|time| time.total_us).collect();
        walls.sort_unstable();
        let wall: u64 = walls.iter().sum();
        let network: u64 = graded.map(|time| time.network_us()).sum();
        let each = walls.len().max(1) as u64;
        let uncounted = uncounted(rows.clone(), traffic);
        CellFigures {
            policy: policy.to_owned(),
            link: link.to_owned(),
            seed,
            figures: Figures::new(rows),
            median_us: quantile(&walls, 0.5).unwrap_or(0),
            p95_us: quantile(&walls, 0.95).unwrap_or(0),
            network_share: network as f64 / wall.max(1) as f64,
            up_bytes: traffic.iter().map(|run| run.up_bytes).sum::<u64>() / each,
            down_bytes: traffic.iter().map(|run| run.down_bytes).sum::<u64>() / each,
            uncounted,
        }
    }

    /// Returns the bytes up and down per graded answer, if the bytes of all answers were recorded.
    pub(crate) fn counted_bytes(&self) -> Option<(u64, u64)> {
        (self.uncounted == 0).then_some((self.up_bytes, self.down_bytes))
    }

    /// Returns the text of each column.
    fn row(&self) -> [String; COLUMNS.len()] {
        let Figures { right, graded, failed, degraded, .. } = self.figures;
        let Figures { takeovers, corrections, abandoned, passed_over, .. } = self.figures;
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let (low, high) = (self.figures.accuracy_low, self.figures.accuracy_high);
        let mut cells = std::array::from_fn(|_| "-".to_owned());
        if graded == 0 {
            let begin = [self.policy.clone(), self.link.clone(), self.seed.to_string()];
            let begin = begin.into_iter().chain(["nothing graded".to_owned()]);
            cells.iter_mut().zip(begin).for_each(|(cell, text)| *cell = text);
            let end = [failed.to_string(), "0".to_owned()];
            cells.iter_mut().rev().zip(end).for_each(|(cell, text)| *cell = text);
            return cells;
        }
        let ms = |us: u64| format!("{:.0} ms", us as f64 / 1e3);
        // An average over answers some of which lack their bytes would be too low.
        let bytes = |bytes: u64| match self.uncounted {
            0 => format!("{bytes} B"),
            uncounted => format!("- ({uncounted} not counted)"),
        };
        [
            self.policy.clone(),
            self.link.clone(),
            self.seed.to_string(),
            format!("{} ({right} of {graded})", percent(self.figures.accuracy)),
            format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high),
            percent(self.figures.takeover_share),
            format!("{takeovers:.2}"),
            format!("{corrections:.2}"),
            format!("{abandoned:.2}"),
            format!("{passed_over:.2}"),
            ms(self.median_us),
            ms(self.p95_us),
            percent(self.network_share),
            bytes(self.up_bytes),
            bytes(self.down_bytes),
            format!("{:.1}", self.figures.large_read),
            format!("{:.1}", self.figures.large_written),
            format!("{:.1}", self.figures.large_passes),
            degraded.to_string(),
            failed.to_string(),
        ]
    }
}

/// Returns how many graded answers of a cell have no recorded bytes. Returns 0 if that is not known, as in older
/// sweeps, which did not record it.
pub(crate) fn uncounted<'a>(rows: impl Iterator<Item = &'a Row>, traffic: &[CellTraffic]) -> u64 {
    let over_link = |row: &&Row| match row {
        Row::Graded(graded) => !graded.summary.large.model.is_empty(),
        Row::Failed { .. } => false,
    };
    let graded = rows.filter(over_link).count() as u64;
    let noted = traffic.iter().map(|run| run.graded).sum::<Option<u64>>();
    noted.map_or(0, |noted| graded.saturating_sub(noted))
}

/// Returns a Markdown table with a row for each cell. It has a column for corrections if a review made some, and one
/// for passes if a node counts them.
pub(super) fn table(cells: &[CellFigures]) -> String {
    let has = |figure: fn(&Figures) -> f64| cells.iter().any(|cell| figure(&cell.figures) > 0.0);
    let (has_corrections, has_passes) = (has(|it| it.corrections), has(|it| it.large_passes));
    let rows = [COLUMNS.map(str::to_owned), COLUMNS.map(|_| "---".to_owned())];
    let rows = rows.into_iter().chain(cells.iter().map(CellFigures::row));
    rows.map(|row| {
        let shown = COLUMNS.iter().zip(row);
        let shown = shown.filter(|(name, _)| match **name {
            CORRECTIONS => has_corrections,
            PASSES => has_passes,
            _ => true,
        });
        let cells: Vec<String> = shown.map(|(_, cell)| cell).collect();
        format!("| {} |\n", cells.join(" | "))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graded(id: &str, summary: &answer::Summary) -> runs::Graded {
        runs::Graded {
            id: id.to_owned(),
            seed: 0,
            gold: "4".to_owned(),
            answer: None,
            right: false,
            grader_error: None,
            open_thought: false,
            text: String::new(),
            summary: summary.clone(),
        }
    }

    #[test]
    fn a_cell_whose_bytes_were_not_all_noted_claims_none() {
        let mut summary = answer::Summary::default();
        summary.large.model = "m".to_owned();
        let rows = ["a", "b", "c"].map(|id| Row::Graded(Box::new(graded(id, &summary))));
        let noted = |graded| CellTraffic {
            run: 0,
            up_bytes: 600,
            down_bytes: 300,
            stalls: None,
            connections: 1,
            resets: 0,
            graded,
        };
        let bytes = |traffic: &[CellTraffic]| {
            let cell = CellFigures::new(("strict", "geo", 7), rows.iter(), traffic);
            let table = table(&[cell]);
            let row = table.lines().last().unwrap().to_owned();
            row.split('|').skip(13).take(2).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(bytes(&[noted(Some(3))]), ["200 B", "100 B"]);
        assert_eq!(bytes(&[noted(Some(1)), noted(Some(2))]), ["400 B", "200 B"]);
        assert_eq!(bytes(&[noted(None)]), ["200 B", "100 B"], "a sweep of before");
        for traffic in [&[noted(Some(1))][..], &[]] {
            let lacking = 3 - traffic.len();
            let said = format!("- ({lacking} not counted)");
            assert_eq!(bytes(traffic), [said.clone(), said]);
        }
    }

    #[test]
    fn corrections_have_a_column_where_there_are_some() {
        let cell = |corrections| {
            let summary = answer::Summary { corrections, ..answer::Summary::default() };
            let rows = [Row::Graded(Box::new(graded("a", &summary)))];
            CellFigures::new(("review", "geo", 7), rows.iter(), &[])
        };
        let column = |table: &str| -> Vec<String> {
            let rows = table.lines().map(|row| row.split(" | ").nth(7).unwrap().to_owned());
            rows.collect()
        };
        let reviewed = table(&[cell(3), cell(0)]);
        assert_eq!(column(&reviewed), ["corrections", "---", "3.00", "0.00"], "{reviewed}");
        assert_eq!(column(&table(&[cell(0)])), ["abandoned", "---", "0.00"]);
    }

    /// A cell of these figures. Its times and bytes are zero.
    fn cell(policy: &str, figures: Figures) -> CellFigures {
        CellFigures {
            policy: policy.to_owned(),
            link: "geo".to_owned(),
            seed: 7,
            figures,
            median_us: 0,
            p95_us: 0,
            network_share: 0.0,
            up_bytes: 0,
            down_bytes: 0,
            uncounted: 0,
        }
    }

    #[test]
    fn a_table_of_every_kind_of_cell_reads_like_this() {
        let reviewed = Figures {
            graded: 200,
            right: 164,
            failed: 3,
            degraded: 4,
            accuracy: 0.82,
            accuracy_low: 0.761,
            accuracy_high: 0.867,
            takeover_share: 0.0974,
            takeovers: 4.25,
            corrections: 1.5,
            abandoned: 0.02,
            passed_over: 0.31,
            large_read: 1_250.75,
            large_written: 98.0,
            large_passes: 41.5,
            ..Figures::default()
        };
        let alone = Figures {
            graded: 200,
            right: 90,
            accuracy: 0.45,
            accuracy_low: 0.383,
            accuracy_high: 0.519,
            ..Figures::default()
        };
        let whole = CellFigures {
            median_us: 8_412_000,
            p95_us: 19_004_000,
            network_share: 0.183,
            up_bytes: 21_412,
            down_bytes: 9_120,
            ..cell("strict+review", reviewed)
        };
        let uncounted = CellFigures { uncounted: 12, ..whole.clone() };
        let alone =
            CellFigures { median_us: 6_000_000, p95_us: 9_500_000, ..cell("small-only", alone) };
        let none = cell("large-only", Figures { failed: 200, ..Figures::default() });
        insta::assert_snapshot!("every_column", table(&[whole, uncounted, alone.clone(), none]));
        insta::assert_snapshot!("without_corrections_and_passes", table(&[alone]));
    }

    #[test]
    fn a_cell_in_which_nothing_was_graded_claims_nothing() {
        let figures = Figures { failed: 3, ..Figures::default() };
        let table = table(&[cell("strict", figures)]);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[2].starts_with("| strict | geo | 7 | nothing graded | - |"), "{table}");
        assert!(lines[2].ends_with("| 0 | 3 |"), "{table}");
        let columns = |line: &str| line.matches('|').count();
        assert_eq!(columns(lines[2]), columns(lines[0]));
    }
}
