//! The report on one or more sweeps: a page with figures, and each figure as a picture and as numbers.
//!
//! Rows and journals are grouped once (`data`), each module of `figures` makes a table and a picture from them, and the
//! page, SVG and CSV files are written from these. Reading folders is in [`crate::results`], statistics are in
//! [`crate::stats`].

mod chart;
mod data;
mod figure;
mod figures;
mod findings;
mod html;
mod markup;
mod table;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use answer::prices::Prices;
use grading::quantile::quantile;

use self::{
    data::Data,
    figure::{DrawnFigure, Figure},
    table::Table,
};
use crate::{
    results::{CellResults, Results},
    sweep::{CellFigures, SweepError},
};

/// The page's file name in the report's folder.
pub const PAGE: &str = "report.html";

/// A finished report.
#[derive(Debug)]
pub struct Report {
    files: Vec<(String, String)>,
}

/// Why there is no report, in one line.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The results cannot be read.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// A picture could not be drawn.
    #[error("cannot draw a figure: {0}; this is a defect, and the results are unchanged")]
    Draw(io::Error),
    /// A file cannot be written.
    #[error("cannot write {}: {why}; give --out a writable folder", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
}

impl Report {
    /// Makes the report on results. Reads their journals.
    ///
    /// # Errors
    /// When the traffic of a cell cannot be read, or a picture cannot be drawn.
    pub fn new(results: &Results, prices: &Prices) -> Result<Report, ReportError> {
        let data = Data::new(results);
        let tables = Tables { cells: cells(results), links: links(results) };
        let drawn: Result<Vec<DrawnFigure>, io::Error> =
            figures::all(&data, prices).into_iter().map(Figure::draw).collect();
        let drawn = drawn.map_err(ReportError::Draw)?;
        let page = html::page(&data, prices, &tables, &drawn);
        let mut files = vec![
            (PAGE.to_owned(), page),
            ("cells.csv".to_owned(), tables.cells.csv()),
            ("links.csv".to_owned(), tables.links.csv()),
        ];
        for figure in &drawn {
            let name = figure.figure.name;
            files.push((format!("{name}.svg"), figure.svg()));
            files.push((format!("{name}.csv"), figure.csv()));
        }
        Ok(Report { files })
    }

    /// Writes the report into a folder, which is created if needed, and replaces the files of an earlier report.
    /// Returns the path of the page.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, ReportError> {
        let fault = |path: &Path, why| ReportError::Write { path: path.to_owned(), why };
        fs::create_dir_all(folder).map_err(|why| fault(folder, why))?;
        for (name, text) in &self.files {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|why| fault(&path, why))?;
        }
        Ok(folder.join(PAGE))
    }
}

/// The tables without a picture.
struct Tables {
    cells: Table,
    links: Table,
}

/// Makes a table of the requested properties of every link, and what takeovers measured over it.
fn links(results: &Results) -> Table {
    let mut table = Table::new(&[
        "link",
        "rtt_asked_ms",
        "takeovers",
        "network_median_ms",
        "network_p95_ms",
        "stalls",
        "resets",
        "pair",
        "asked",
    ]);
    let met = results.links.iter().flat_map(|link| results.settings().map(move |of| (link, of)));
    for (link, setting) in met {
        let cells = || {
            let over = results.cells.iter().filter(|cell| cell.link.name == link.name);
            over.filter(|cell| results.setting(cell) == Some(setting))
        };
        if cells().next().is_none() {
            continue;
        }
        let takeovers = cells()
            .flat_map(CellResults::graded)
            .flat_map(|graded| &graded.summary.takeovers)
            .filter(|takeover| takeover.handoff_us.is_some());
        let mut network: Vec<u64> = takeovers.map(|takeover| takeover.spent.network_us).collect();
        network.sort_unstable();
        let at = |share| quantile(&network, share).map(data::ms);
        let traffic = || cells().flat_map(|cell| &cell.traffic);
        let stalls: Option<u64> = traffic().map(|run| run.stalls).sum();
        let stalls = stalls.map(|stalls| stalls as f64);
        let resets: u64 = traffic().map(|run| run.resets).sum();
        let pair = results.sweeps[setting].experiment.pair();
        table.push([
            vec![link.name.as_str().into(), (1e3 * link.rtt.as_secs_f64()).into()],
            vec![network.len().into(), at(0.5).into(), at(0.95).into()],
            vec![stalls.into(), resets.into(), pair.into(), link.to_string().into()],
        ]);
    }
    table
}

/// Makes a table with a row for every cell, as in the sweep's own table.
fn cells(results: &Results) -> Table {
    let mut table = Table::new(&[
        "policy",
        "link",
        "seed",
        "graded",
        "right",
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "large_share",
        "takeovers_per_answer",
        "corrections_per_answer",
        "large_read_tokens_per_answer",
        "large_cached_tokens_per_answer",
        "large_written_tokens_per_answer",
        "large_passes_per_answer",
        "abandoned_per_answer",
        "passed_over_per_answer",
        "latency_median_ms",
        "latency_p95_ms",
        "network_share",
        "up_bytes_per_answer",
        "down_bytes_per_answer",
        "degraded",
        "failed",
    ]);
    for cell in &results.cells {
        let key = (cell.policy.as_str(), cell.link.name.as_str(), cell.seed);
        let sums = CellFigures::new(key, cell.rows.iter(), &cell.traffic);
        let figures = &sums.figures;
        let (up, down) = sums.counted_bytes().map(|(up, down)| (up as f64, down as f64)).unzip();
        table.push([
            vec![key.0.into(), key.1.into(), key.2.into(), figures.graded.into()],
            vec![figures.right.into(), figures.accuracy.into(), figures.accuracy_low.into()],
            vec![figures.accuracy_high.into(), figures.takeover_share.into()],
            vec![figures.takeovers.into(), figures.corrections.into()],
            vec![figures.large_read.into(), figures.large_cached.into()],
            vec![figures.large_written.into(), figures.large_passes.into()],
            vec![figures.abandoned.into(), figures.passed_over.into()],
            vec![data::ms(sums.median_us).into(), data::ms(sums.p95_us).into()],
            vec![sums.network_share.into(), up.into(), down.into()],
            vec![figures.degraded.into(), figures.failed.into()],
        ]);
    }
    table
}
