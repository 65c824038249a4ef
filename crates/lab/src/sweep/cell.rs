//! One cell: a policy over a link with a seed. Provides the nodes for the run over the data set, and writes the files.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use answer::{
    Ended, Node, Outcome,
    journal::{self, JournalWriter},
};
use grading::dataset::Problem;
use runs::{EvalError, LogHeader, PreparedRun, Row, RunSource};
use serde::{Deserialize, Serialize};
use thinking::thinker::Failure;
use transport::{Remote, RemoteConfig};

use super::{
    error::{SweepError, SweepRunError},
    folder::journal_path,
};
use crate::link::{LinkProfile, LiveLink, Shaping};

/// The nodes of a cell: the small ones reached directly, the large one over a link.
pub(super) struct LinkedNodes {
    small: Vec<Node>,
    large: Option<Large>,
}

struct Large {
    node: Node,
    /// The same node without the link, to distinguish an unreachable node from a broken link.
    direct: Remote,
    link: LiveLink,
}

impl LinkedNodes {
    /// Sets up the link and connects over it, so that the first question does not pay for that.
    ///
    /// # Errors
    /// When a node cannot be reached, or the link cannot be set up or lets nothing through.
    pub(super) async fn link(
        small: Vec<Node>,
        large: Option<&RemoteConfig>,
        shaping: Shaping,
        profile: &LinkProfile,
        seed: u64,
    ) -> Result<LinkedNodes, SweepRunError> {
        let Some(large) = large else { return Ok(LinkedNodes { small, large: None }) };
        let direct = Remote::new(large.clone())?;
        let address = &large.address;
        let upstream = match address.host() {
            host if host.contains(':') => format!("[{host}]:{}", address.port()),
            host => format!("{host}:{}", address.port()),
        };
        let link = LiveLink::up(shaping, upstream, profile, seed).await?;
        let over = Remote::new(RemoteConfig { via: Some(link.address()), ..large.clone() })?;
        over.describe().await.map_err(|failure| SweepRunError::NoNodeOverLink {
            link: profile.name.clone(),
            failure,
        })?;
        let node = Node::new(large.label(), Arc::new(over));
        Ok(LinkedNodes { small, large: Some(Large { node, direct, link }) })
    }
}

/// The traffic over a cell's link since it was set up: a line of `traffic.jsonl`. The last line of each run counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellTraffic {
    /// The number of the run over the cell, from 0.
    pub run: u64,
    /// Bytes towards the large node.
    pub up_bytes: u64,
    /// Bytes from it.
    pub down_bytes: u64,
    /// Pieces that waited for a retransmission or the end of an outage, if counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalls: Option<u64>,
    /// Connections.
    pub connections: u64,
    /// How many of these the link has reset.
    pub resets: u64,
    /// Graded answers of the run whose bytes are included; absent if that was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graded: Option<u64>,
}

/// One policy over one link with one seed, while it runs.
pub(super) struct Cell<'a> {
    path: PathBuf,
    header: &'a LogHeader,
    nodes: LinkedNodes,
    traffic: File,
    run: u64,
    graded: AtomicU64,
}

impl<'a> Cell<'a> {
    /// Starts or resumes the cell in its folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn new(
        path: PathBuf,
        header: &'a LogHeader,
        nodes: LinkedNodes,
    ) -> Result<Cell<'a>, SweepError> {
        let name = traffic_file(&path);
        let run = cell_traffic(&path)?.len() as u64;
        let opened = File::options().append(true).create(true).open(&name);
        let files = |why| SweepError::Files { path: name.clone(), why };
        let mut traffic = opened.map_err(files)?;
        // A line that was cut off must not spoil the next one.
        let before = fs::read(&name).map_err(files)?;
        if !before.is_empty() && !before.ends_with(b"\n") {
            traffic.write_all(b"\n").map_err(files)?;
        }
        Ok(Cell { path, header, nodes, traffic, run, graded: AtomicU64::new(0) })
    }

    /// Records the traffic over the link up to this row, so that it survives a crash.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn note_traffic(&self, row: &Row) -> Result<(), SweepError> {
        let Some(large) = &self.nodes.large else { return Ok(()) };
        let is_graded = u64::from(matches!(row, Row::Graded(_)));
        let graded = self.graded.fetch_add(is_graded, Ordering::Relaxed) + is_graded;
        let traffic = large.link.traffic();
        let sum = CellTraffic {
            run: self.run,
            up_bytes: traffic.up.bytes,
            down_bytes: traffic.down.bytes,
            stalls: large.link.counts_stalls().then_some(traffic.up.stalls + traffic.down.stalls),
            connections: traffic.connections,
            resets: traffic.reset,
            graded: Some(graded),
        };
        let line = serde_json::to_string(&sum).map_err(io::Error::other);
        let written =
            line.and_then(|line| (&self.traffic).write_all(format!("{line}\n").as_bytes()));
        written.map_err(|why| SweepError::Files { path: traffic_file(&self.path), why })
    }
}

impl RunSource for Cell<'_> {
    fn prepare(&self, problem: &Problem) -> Result<PreparedRun, EvalError> {
        let large = self.nodes.large.as_ref().map(|large| &large.node);
        let small = self.nodes.small.iter().cloned().collect();
        let run = self.header.run(problem, small, large.cloned().into_iter().collect())?;
        let header = journal::Header::new(
            &run.question,
            self.header.policy.clone(),
            run.settings,
            run.small.nodes.iter().map(|node| node.name.clone()).collect(),
            large.map(|node| node.name.clone()),
        );
        let journal = JournalWriter::replace(&journal_path(&self.path, &problem.id), &header)?;
        Ok(PreparedRun { run, journal: Some(journal) })
    }

    async fn invalidated_by(&self, outcome: &Outcome) -> Option<Failure> {
        let large = self.nodes.large.as_ref()?;
        if !matches!(outcome.ended, Ended::Complete(_)) || outcome.summary.degraded.is_none() {
            return None;
        }
        // Degraded by the link counts as a result; degraded because the node itself was down does not.
        large.direct.describe().await.err()
    }
}

fn traffic_file(path: &Path) -> PathBuf {
    path.join("traffic.jsonl")
}

/// Reads the traffic over a cell's link, one value for each run of the cell.
pub(crate) fn cell_traffic(path: &Path) -> Result<Vec<CellTraffic>, SweepError> {
    let name = traffic_file(path);
    let text = match fs::read_to_string(&name) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|why| SweepError::Files { path: name, why })?,
    };
    // A line that was cut off is skipped; the one before it lacks only one question.
    let lines = text.lines().filter_map(|line| serde_json::from_str::<CellTraffic>(line).ok());
    let runs: HashMap<u64, CellTraffic> = lines.map(|line| (line.run, line)).collect();
    Ok(runs.into_values().collect())
}
