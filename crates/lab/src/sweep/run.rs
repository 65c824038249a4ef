//! A running sweep: its cells one after another, each resumed where it stopped.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use answer::Node;
use grading::{dataset::Problem, math_verify::Grader};
use runs::{EvalLog, Figures, LogHeader, Row, RunEnd};
use tokio::sync::{Mutex, Notify};
use transport::{Remote, RemoteConfig, RemoteError};

use super::{
    cell::{Cell, LinkedNodes, cell_traffic},
    error::{SweepError, SweepRunError},
    folder::Folder,
    plan::{PlannedPolicy, SweepPlan, SweptPair},
    table::{CellFigures, table},
};
use crate::link::{LinkProfile, LiveLink};

/// How a sweep ended.
#[derive(Debug)]
pub enum SweepEnd {
    /// Every cell is complete.
    Complete,
    /// It was cancelled.
    Cancelled,
    /// Too many questions in a row failed.
    NodesGone {
        /// The pair's name, if it has one.
        pair: Option<String>,
        /// The last reason, in one line.
        reason: String,
    },
    /// The large node cannot be reached over a link.
    NoLink {
        /// The pair's name, if it has one.
        pair: Option<String>,
        /// Why not.
        error: SweepRunError,
    },
}

/// The progress of a running sweep.
#[derive(Debug)]
pub enum SweepProgress<'a> {
    /// A cell starts: the pair if it has a name, policy, link and seed.
    Cell(String),
    /// A question was answered, or failed.
    Row(&'a Row),
}

/// A sweep whose folders are open. No other sweep can have them open, if the file system supports locks.
pub struct SweepRun<'a> {
    plan: &'a SweepPlan,
    pairs: Vec<OpenPair<'a>>,
    cells: Vec<CellJob<'a>>,
}

/// A pair whose nodes answer, and the folder of its results.
struct OpenPair<'a> {
    name: Option<&'a str>,
    small: Vec<Node>,
    large: Option<&'a RemoteConfig>,
    folder: Folder,
}

/// One cell of the sweep, and what it asks.
struct CellJob<'a> {
    /// The pair's index.
    pair: usize,
    policy: &'a PlannedPolicy,
    link: &'a LinkProfile,
    /// The header of its log, with the share of its policy if known.
    header: LogHeader,
    /// Its folder and its log; absent while the share that its policy takes from another cell is not known.
    opened: Option<(PathBuf, EvalLog)>,
}

impl<'a> SweepRun<'a> {
    /// Starts a sweep in its folder `out`, or resumes it. Problems are found before the folder is created.
    ///
    /// # Errors
    /// When a node does not answer, a link is not possible, or the folder cannot be used.
    pub async fn open(
        plan: &'a SweepPlan,
        pairs: &'a [SweptPair],
        out: &Path,
    ) -> Result<SweepRun<'a>, SweepRunError> {
        for link in plan.links.iter().filter(|_| plan.uses_large()) {
            LiveLink::possible(plan.shaping, link).await?;
        }
        let mut experiments = Vec::new();
        for pair in pairs {
            experiments.push(plan.experiment(pair, models(pair).await?));
        }
        if pairs.iter().any(|pair| pair.name.is_some()) {
            Folder::of_pairs(out, &experiments)?;
        }
        let open = |(pair, experiment): (&'a SweptPair, _)| {
            let name = pair.name.as_deref();
            let path = name.map_or_else(|| out.to_owned(), |name| out.join(name));
            let folder = Folder::open(&path, experiment)?;
            let small = pair.small.iter().map(connect).collect::<Result<_, _>>()?;
            Ok(OpenPair { name, small, large: pair.large.as_ref(), folder })
        };
        let opened = pairs.iter().zip(&experiments).map(open);
        let pairs = opened.collect::<Result<Vec<_>, SweepRunError>>()?;
        let mut sweep = SweepRun { plan, cells: cells(plan, pairs.len()), pairs };
        for index in 0..sweep.cells.len() {
            sweep.open_cell(index)?;
        }
        Ok(sweep)
    }

    /// Returns whether no other sweep can write to its folders meanwhile; `false` if a file system has no locks.
    pub fn is_locked(&self) -> bool {
        self.pairs.iter().all(|pair| pair.folder.is_locked())
    }

    /// Returns the number of answers of the whole sweep.
    pub fn answers(&self) -> usize {
        self.plan.problems().len() * self.cells.len()
    }

    /// Returns how many of its answers are not graded yet.
    pub fn open_answers(&self) -> usize {
        self.cells.iter().map(|cell| self.left(cell).len()).sum()
    }

    /// Runs all incomplete cells, until `cancel` is notified or the nodes are lost. Calls `watch` with its progress.
    ///
    /// # Errors
    /// When a file cannot be written, or no answer can be graded.
    pub async fn run(
        &mut self,
        grader: Grader,
        cancel: &Notify,
        mut watch: impl FnMut(SweepProgress<'_>),
    ) -> Result<SweepEnd, SweepRunError> {
        let grader = Arc::new(Mutex::new(grader));
        for index in 0..self.cells.len() {
            self.open_cell(index)?;
            match self.ask(index, &grader, cancel, &mut watch).await? {
                SweepEnd::Complete => {}
                stopped => return Ok(stopped),
            }
        }
        Ok(SweepEnd::Complete)
    }

    /// Asks the open questions of one cell.
    async fn ask(
        &mut self,
        index: usize,
        grader: &Arc<Mutex<Grader>>,
        cancel: &Notify,
        watch: &mut impl FnMut(SweepProgress<'_>),
    ) -> Result<SweepEnd, SweepRunError> {
        let left = self.left(&self.cells[index]);
        let CellJob { pair, policy, link, header, opened } = &mut self.cells[index];
        let Some((path, log)) = opened.as_mut().filter(|_| !left.is_empty()) else {
            return Ok(SweepEnd::Complete);
        };
        let OpenPair { name, small, large, .. } = &self.pairs[*pair];
        let shown = name.map_or_else(String::new, |name| format!("{name}: "));
        watch(SweepProgress::Cell(format!("{shown}{} {} {}", policy.name, link.name, header.seed)));
        let pair = name.map(str::to_owned);
        let large = large.filter(|_| header.policy.kind().uses_large());
        let shaping = self.plan.shaping;
        let nodes = match LinkedNodes::link(small.clone(), large, shaping, link, header.seed).await
        {
            Ok(nodes) => nodes,
            Err(error) => return Ok(SweepEnd::NoLink { pair, error }),
        };
        let cell = Cell::new(path.clone(), header, nodes)?;
        let mut noted = Ok(());
        let see = |row: &Row| {
            watch(SweepProgress::Row(row));
            noted = cell.note_traffic(row);
        };
        let parallel = usize::from(self.plan.parallel);
        let ended = runs::run(left, &cell, parallel, grader, log, cancel.notified(), see).await;
        noted?;
        Ok(match ended? {
            RunEnd::Complete => SweepEnd::Complete,
            RunEnd::Cancelled => SweepEnd::Cancelled,
            RunEnd::NodesGone(reason) => SweepEnd::NodesGone { pair, reason },
        })
    }

    /// Returns the results of the cells begun so far: for each pair its name, if it has one, and a Markdown table.
    ///
    /// # Errors
    /// When a cell's traffic cannot be read.
    pub fn tables(&self) -> Result<Vec<(Option<&str>, String)>, SweepError> {
        let figures = |cell: &CellJob<'_>, (path, log): &(PathBuf, EvalLog)| {
            let problems = self.plan.problems().iter();
            let rows = problems.filter_map(|problem| log.rows().get(&problem.id));
            let key = (cell.policy.name.as_str(), cell.link.name.as_str(), cell.header.seed);
            cell_traffic(path).map(|traffic| CellFigures::new(key, rows, &traffic))
        };
        let mut tables = Vec::new();
        for (pair, OpenPair { name, .. }) in self.pairs.iter().enumerate() {
            let ours = self.cells.iter().filter(|cell| cell.pair == pair);
            let begun = ours.filter_map(|cell| Some(figures(cell, cell.opened.as_ref()?)));
            tables.push((*name, table(&begun.collect::<Result<Vec<_>, _>>()?)));
        }
        Ok(tables)
    }

    /// Opens a cell's log if its policy is known: a share taken from another cell is known once that cell is complete.
    fn open_cell(&mut self, index: usize) -> Result<(), SweepRunError> {
        let CellJob { pair, policy, link, ref header, ref opened } = self.cells[index];
        let seed = header.seed;
        if opened.is_some() {
            return Ok(());
        }
        if let Some(of) = policy.share_of {
            let same = |cell: &&CellJob<'_>| {
                cell.policy.name == self.plan.policies[of].name
                    && (cell.pair, &cell.link.name, cell.header.seed) == (pair, &link.name, seed)
            };
            let measured = self.cells.iter().find(same).and_then(|cell| self.share(cell));
            let Some(share) = measured else { return Ok(()) };
            let spec = &mut self.cells[index].header.policy;
            *spec = spec.clone().with_share(share);
        }
        let path = self.pairs[pair].folder.cell(&policy.name, &link.name, seed)?;
        let log = EvalLog::open(&path.join("log.jsonl"), &self.cells[index].header)?;
        self.cells[index].opened = Some((path, log));
        Ok(())
    }

    /// Returns the large model's share in a complete cell, to three digits.
    fn share(&self, cell: &CellJob<'_>) -> Option<f64> {
        let (_, log) = cell.opened.as_ref().filter(|_| self.left(cell).is_empty())?;
        let share = Figures::new(log.rows().values()).takeover_share;
        Some((share * 1e3).round() / 1e3)
    }

    /// Returns the problems of a cell without a grade.
    fn left(&self, cell: &CellJob<'_>) -> Vec<Problem> {
        let graded = |problem: &&Problem| {
            cell.opened.as_ref().is_some_and(|(_, log)| log.is_graded(&problem.id))
        };
        self.plan.problems().iter().filter(|problem| !graded(problem)).cloned().collect()
    }
}

/// Returns all cells, in the order in which they are run.
fn cells(plan: &SweepPlan, pairs: usize) -> Vec<CellJob<'_>> {
    let mut cells = Vec::new();
    for pair in 0..pairs {
        for policy in &plan.policies {
            for link in &plan.links {
                for &seed in &plan.seeds {
                    let header = LogHeader { seed, ..policy.header.clone() };
                    cells.push(CellJob { pair, policy, link, header, opened: None });
                }
            }
        }
    }
    cells
}

/// Returns the names of a pair's models: the small nodes', then the large one's.
async fn models(pair: &SweptPair) -> Result<Vec<String>, SweepRunError> {
    let small = pair.small.iter().map(|node| ("small", node));
    let mut models = Vec::new();
    for (part, config) in small.chain(pair.large.iter().map(|node| ("large", node))) {
        let (_, card) = Remote::new(config.clone())?.describe().await.map_err(|failure| {
            let remedy = match pair.name {
                Some(_) => "start it, or leave this pair out, and run the command again",
                None => "start it, and run the same command again",
            };
            SweepRunError::NoNode { node: format!("{part} node{}", pair.of()), failure, remedy }
        })?;
        models.push(card.name);
    }
    Ok(models)
}

fn connect(config: &RemoteConfig) -> Result<Node, RemoteError> {
    Ok(Node::new(config.label(), Arc::new(Remote::new(config.clone())?)))
}
