//! One cell's results: its rows, its traffic, its journals.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use answer::{
    Progress,
    journal::{Journal, JournalError},
};
use runs::{EvalError, EvalLog, Graded, LogHeader, Row, question_name};

use super::skipped::{SkippedKind, SkippedResult};
use crate::{
    link::LinkProfile,
    sweep::{CellTraffic, Experiment, SweepError, Terms, cell_path, cell_traffic, journal_path},
};

/// The results of a policy over a link with a seed.
#[derive(Debug)]
pub struct CellResults {
    /// The policy's label.
    pub policy: String,
    /// The link.
    pub link: LinkProfile,
    /// The seed.
    pub seed: u64,
    /// The cell's folder.
    pub folder: PathBuf,
    /// How many questions the cell should have.
    pub questions: u64,
    /// A row for each question that was asked, sorted by the questions' ids.
    pub rows: Vec<Row>,
    /// The traffic over the link, for each run of the cell; empty without a link.
    pub traffic: Vec<CellTraffic>,
    pub(super) header: LogHeader,
    pub(super) place: String,
}

impl CellResults {
    /// Returns the graded answers, sorted by the questions' ids.
    pub fn graded(&self) -> impl Iterator<Item = &Graded> + Clone {
        self.rows.iter().filter_map(|row| match row {
            Row::Graded(graded) => Some(graded.as_ref()),
            Row::Failed { .. } => None,
        })
    }

    /// Reads the journal of a graded answer.
    ///
    /// # Errors
    /// When it does not exist, cannot be read, lacks its end, has another version, or is not of this answer.
    pub fn journal(&self, graded: &Graded) -> Result<Journal, SkippedResult> {
        let skipped = |what, why: &dyn std::fmt::Display| {
            SkippedResult::new(what, format!("{}, question {}", self.place, graded.id), why)
        };
        let mixed = |what: &str| {
            let why = format!("its journal is of another {what}: it was mixed in, or changed");
            Err(skipped(SkippedKind::Mixed, &why))
        };
        let path = journal_path(&self.folder, &graded.id);
        if !path.exists() {
            return Err(skipped(SkippedKind::NoJournal, &"its journal does not exist"));
        }
        let journal = Journal::open(&path).map_err(|error| match error {
            JournalError::Version { found, program, .. } => {
                let why = format!("its journal has version {found} ({program})");
                skipped(SkippedKind::Version, &why)
            }
            JournalError::NotAJournal { why, .. } => {
                skipped(SkippedKind::Damaged, &format!("its journal is not valid: {why}"))
            }
            JournalError::Damaged { line, why, .. } => {
                skipped(SkippedKind::Damaged, &format!("its journal, line {line}: {why}"))
            }
            other => skipped(SkippedKind::Damaged, &other),
        })?;
        let question = &journal.header.question;
        if question.id != question_name(&graded.id) {
            return mixed("question");
        }
        let header = &self.header;
        if journal.header.policy != header.policy {
            return mixed("policy");
        }
        if (question.seed, question.sampling) != (graded.seed, header.sampling)
            || question.max_tokens != header.max_tokens
            || journal.header.settings != header.settings
        {
            return mixed("experiment");
        }
        match journal.events.last().map(|last| &last.progress) {
            Some(Progress::Ended(summary)) if **summary == graded.summary => Ok(journal),
            Some(Progress::Ended(_)) => mixed("run of the question"),
            _ => Err(skipped(SkippedKind::Truncated, &"its journal breaks off")),
        }
    }
}

/// Returns the header with the share in the cell's own log: a share taken from another policy is recorded only there.
fn with_own_share(header: LogHeader, log: &Path) -> LogHeader {
    let mut line = String::new();
    let read = fs::File::open(log).and_then(|file| BufReader::new(file).read_line(&mut line));
    let found: Option<LogHeader> = read.ok().and_then(|_| serde_json::from_str(&line).ok());
    let share = found.and_then(|mut found| found.policy.share_mut().copied());
    match share {
        Some(share) => LogHeader { policy: header.policy.with_share(share), ..header },
        None => header,
    }
}

/// The contents of a cell's folder.
pub(super) struct CellContents {
    pub(super) folder: PathBuf,
    /// The header of its log.
    pub(super) header: LogHeader,
    pub(super) rows: Vec<Row>,
    pub(super) traffic: Vec<CellTraffic>,
}

/// Identifies a cell's folder: the sweep's folder, and the cell's policy, link and seed.
#[derive(Clone, Copy)]
pub(super) struct CellPath<'a> {
    pub(super) folder: &'a Path,
    pub(super) policy: &'a str,
    pub(super) link: &'a str,
    pub(super) seed: u64,
}

impl CellPath<'_> {
    pub(super) fn place(self) -> String {
        format!(
            "{}: {} over {} with seed {}",
            self.folder.display(),
            self.policy,
            self.link,
            self.seed
        )
    }

    /// Reads the cell's folder. Returns `None` if it has no rows, and adds everything unusable to `skipped`.
    pub(super) fn read(
        self,
        terms: &Terms,
        experiment: &Experiment,
        skipped: &mut Vec<SkippedResult>,
    ) -> Option<CellContents> {
        let path = cell_path(self.folder, self.policy, self.link, self.seed);
        let mut skip = |what, why: &dyn std::fmt::Display| {
            skipped.push(SkippedResult::new(what, self.place(), why));
        };
        let log_path = path.join("log.jsonl");
        if !log_path.exists() {
            skip(SkippedKind::Cell, &"it has no log: it was never started");
            return None;
        }
        let mut header = experiment.header(terms, self.seed);
        if terms.policy.share_of.is_some() {
            header = with_own_share(header, &log_path);
        }
        let log = match EvalLog::read_only(&log_path, &header) {
            Ok(log) => log,
            Err(error) => {
                let why = match error {
                    EvalError::OtherRun { what, .. } => {
                        format!("its log is of a run with another {what}: it was mixed in")
                    }
                    EvalError::NotALog { why, .. } => format!("its log is not valid: {why}"),
                    EvalError::Open { why, .. } => format!("its log cannot be read: {why}"),
                    other => other.to_string(),
                };
                skip(SkippedKind::Cell, &why);
                return None;
            }
        };
        if log.broke_off() {
            skip(SkippedKind::BrokenRow, &"the last row of its log breaks off");
        }
        let traffic = cell_traffic(&path).unwrap_or_else(|error| {
            let why = match error {
                SweepError::Files { why, .. } => why.to_string(),
                other => other.to_string(),
            };
            skip(SkippedKind::Traffic, &format!("its traffic cannot be read: {why}"));
            Vec::new()
        });
        let mut rows: Vec<Row> = log.rows().values().cloned().collect();
        rows.sort_by(|a, b| a.id().cmp(b.id()));
        skipped.extend(self.unasked(&rows, experiment.questions));
        skipped.extend(self.strays(&path, &rows));
        if rows.is_empty() {
            skipped.push(SkippedResult::new(SkippedKind::Cell, self.place(), "it has no rows"));
            return None;
        }
        Some(CellContents { folder: path, header, rows, traffic })
    }

    /// Returns the questions that failed or were not asked.
    fn unasked(self, rows: &[Row], questions: u64) -> Vec<SkippedResult> {
        let failed = rows.iter().filter_map(|row| match row {
            Row::Failed { id, reason } => {
                let place = format!("{}, question {id}", self.place());
                Some(SkippedResult::new(SkippedKind::Failed, place, format!("it failed: {reason}")))
            }
            Row::Graded(_) => None,
        });
        let open = questions.saturating_sub(rows.len() as u64);
        let open = (open > 0).then(|| {
            let why = format!("{open} of {questions} questions have no row so far");
            SkippedResult {
                count: open,
                ..SkippedResult::new(SkippedKind::Open, self.place(), why)
            }
        });
        failed.chain(open).collect()
    }

    /// Returns journals that belong to no graded answer: from an interrupted run, or put there by somebody.
    fn strays(self, path: &Path, rows: &[Row]) -> Vec<SkippedResult> {
        let graded = rows.iter().filter(|row| matches!(row, Row::Graded(_)));
        let expected: BTreeSet<PathBuf> = graded.map(|row| journal_path(path, row.id())).collect();
        let Ok(found) = fs::read_dir(path.join("journals")) else { return Vec::new() };
        let mut strays: Vec<PathBuf> = found
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| !expected.contains(path))
            .collect();
        strays.sort();
        let skipped = strays.iter().map(|path| {
            let name = path.file_name().unwrap_or_default().display().to_string();
            let why = format!("its journal {name} belongs to no graded answer");
            SkippedResult::new(SkippedKind::Stray, self.place(), why)
        });
        skipped.collect()
    }
}
