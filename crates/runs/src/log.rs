//! The log of a run over a data set: JSON lines, with a header and then a row for every question. Format: docs/eval.md.
//!
//! Every row is one write of one line. A log that was truncated in the middle of a line loses only that line, and its
//! question is asked again.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use answer::{
    Candidates, Question, Run, Settings, Summary,
    file::{lock, private},
    journal::JournalError,
};
use grading::dataset::Problem;
use serde::{Deserialize, Serialize};
use thinking::{
    beginning::AnswerBeginning,
    policy::{PolicyError, PolicySpec},
    stops::StopTexts,
    thinker::{Prompt, Sampling},
};

use super::{question_name, question_seed};

/// The version of the format.
pub const VERSION: u32 = 1;

/// How a header begins.
const BEGIN: &[u8] = b"{\"specthink_eval\"";

/// The first line: everything that a question's result depends on, except the models, whose names are in every row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogHeader {
    /// The format's version, [`VERSION`].
    pub specthink_eval: u32,
    /// The data set's file name.
    pub data_set: String,
    /// SHA-256 of the data set's file, in hex.
    pub data_set_sha256: String,
    /// The policy and all its parameters.
    pub policy: PolicySpec,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// The seed from which every question's seed is derived, together with the question's id.
    pub seed: u64,
    /// The maximum number of tokens of an answer.
    pub max_tokens: u32,
    /// The time limit for an answer, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// The system message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Timeouts and other settings for the nodes.
    pub settings: Settings,
    /// The grader: "own" or "math-verify".
    pub grader: String,
}

impl LogHeader {
    /// Returns the run of one problem over these nodes.
    ///
    /// # Errors
    /// When the policy cannot be built.
    pub fn run(
        &self,
        problem: &Problem,
        small: Candidates,
        large: Candidates,
    ) -> Result<Run, PolicyError> {
        let &LogHeader { sampling, max_tokens, settings, deadline_ms, .. } = self;
        let seed = question_seed(self.seed, &problem.id);
        Ok(Run {
            question: Question {
                id: question_name(&problem.id),
                prompt: Prompt::question(problem.question.clone(), self.system.clone()),
                sampling,
                seed,
                max_tokens,
                beginning: AnswerBeginning::default(),
                stop: StopTexts::default(),
                deadline: deadline_ms.map(Duration::from_millis),
            },
            small,
            large,
            policy: self.policy.build(seed, max_tokens)?,
            settings,
        })
    }
}

/// The result of one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "row", rename_all = "snake_case")]
pub enum Row {
    /// The question was answered, and the answer graded.
    Graded(Box<Graded>),
    /// The question was not answered. The next run asks it again.
    Failed {
        /// The question.
        id: String,
        /// Why, in one line.
        #[serde(deserialize_with = "thinking::shown::deserialize_line")]
        reason: String,
    },
}

/// A graded answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Graded {
    /// The question.
    pub id: String,
    /// Its seed.
    pub seed: u64,
    /// The right answer.
    pub gold: String,
    /// The answer found in the text, if there was one.
    #[serde(default)]
    pub answer: Option<String>,
    /// Whether the two are equal.
    pub right: bool,
    /// Why the grader could not judge the answer. It then counts as wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grader_error: Option<String>,
    /// Whether the text ends within a thought, and so has no answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open_thought: bool,
    /// The whole text.
    pub text: String,
    /// The answer's summary.
    pub summary: Summary,
}

/// What can go wrong with a run over a data set. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The log cannot be opened or read.
    #[error("cannot open the log {}: {why}; give --log a file that can be read and written", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// Another run is writing the log.
    #[error("another run is writing the log {}: wait for it, or give --log another file", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a log.
    #[error("{} is not the log of an eval: {why}; give --log another file", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The log is from a run with other settings.
    #[error(
        "the log {} is from a run with another {what}: give --log another file, or the settings that it began with",
        path.display()
    )]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// The first setting that differs.
        what: &'static str,
    },
    /// A row could not be written.
    #[error("cannot write the log {}: {why}; make room and run the same command again", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// The policy cannot be built.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// An answer's journal cannot be created or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The grader has failed.
    #[error("cannot grade the answer to {id}: {why}; run the same command again to resume there")]
    Grade {
        /// The question.
        id: String,
        /// Why not.
        why: String,
    },
}

/// An open log. No other run can have it open, if the file system has locks.
#[derive(Debug)]
pub struct EvalLog {
    path: PathBuf,
    file: Option<File>,
    rows: HashMap<String, Row>,
    broke_off: bool,
    is_locked: bool,
}

impl EvalLog {
    /// Returns a log that is kept in memory only.
    pub fn in_memory() -> Self {
        EvalLog {
            path: PathBuf::new(),
            file: None,
            rows: HashMap::new(),
            broke_off: false,
            is_locked: true,
        }
    }

    /// Reads a log without locking, writing or truncating it. Appended rows stay in memory.
    ///
    /// # Errors
    /// When it cannot be read, is not a log, or is from a run with other settings.
    pub fn read_only(path: &Path, header: &LogHeader) -> Result<Self, EvalError> {
        let opened = |why| EvalError::Open { path: path.to_owned(), why };
        let text = std::fs::read(path).map_err(opened)?;
        let whole = whole(&text, path)?;
        let (rows, broke_off) = (read(&text[..whole], header, path)?, whole < text.len());
        Ok(EvalLog { path: path.to_owned(), file: None, rows, broke_off, is_locked: true })
    }

    /// Creates the log, or resumes it where it ends.
    ///
    /// # Errors
    /// When it cannot be opened, is not a log, or is from a run with other settings.
    pub fn open(path: &Path, header: &LogHeader) -> Result<Self, EvalError> {
        let opened = |why| EvalError::Open { path: path.to_owned(), why };
        // Reading a pipe would never end.
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            let why = "it is not a file, and a log is read again when its run resumes".to_owned();
            return Err(EvalError::NotALog { path: path.to_owned(), why });
        }
        // Opened for appending: without locks, the rows of two runs do not overwrite each other.
        let mut file = private().read(true).append(true).create(true).open(path).map_err(opened)?;
        let is_locked = lock(&file)
            .is_exclusive()
            .ok_or_else(|| EvalError::Locked { path: path.to_owned() })?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(opened)?;
        let whole = whole(&text, path)?;
        let (rows, broke_off) = (read(&text[..whole], header, path)?, whole < text.len());
        if broke_off {
            let cut = File::options().write(true).open(path);
            cut.and_then(|file| file.set_len(whole as u64)).map_err(opened)?;
        }
        let mut log =
            EvalLog { path: path.to_owned(), file: Some(file), rows, broke_off, is_locked };
        if whole == 0 {
            log.write(header)?;
        }
        Ok(log)
    }

    /// Returns the rows so far, by question. A question that failed and was answered later counts as answered.
    pub fn rows(&self) -> &HashMap<String, Row> {
        &self.rows
    }

    /// Returns whether its last row was truncated when it was read. That row is left out.
    pub fn broke_off(&self) -> bool {
        self.broke_off
    }

    /// Returns whether the log is locked against other runs. It is not if the file system has no locks.
    pub fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Returns whether the question is graded.
    pub fn is_graded(&self, id: &str) -> bool {
        matches!(self.rows.get(id), Some(Row::Graded(_)))
    }

    /// Appends a row.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, row: &Row) -> Result<(), EvalError> {
        self.write(row)?;
        self.rows.insert(row.id().to_owned(), row.clone());
        Ok(())
    }

    fn write(&mut self, value: &impl Serialize) -> Result<(), EvalError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = serde_json::to_vec(value).map_err(io::Error::other).and_then(|mut line| {
            line.push(b'\n');
            file.write_all(&line)
        });
        written.map_err(|why| EvalError::Write { path: self.path.clone(), why })
    }
}

impl Row {
    /// Returns the question's id.
    pub fn id(&self) -> &str {
        match self {
            Row::Graded(graded) => &graded.id,
            Row::Failed { id, .. } => id,
        }
    }
}

/// Returns the length of a log's complete lines. What follows the last line break is a truncated row.
fn whole(text: &[u8], path: &Path) -> Result<usize, EvalError> {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole == 0 && !text.is_empty() && !text.starts_with(BEGIN) {
        let why = "it has no complete line".to_owned();
        return Err(EvalError::NotALog { path: path.to_owned(), why });
    }
    Ok(whole)
}

fn read(text: &[u8], header: &LogHeader, path: &Path) -> Result<HashMap<String, Row>, EvalError> {
    let not_a_log = |why: String| EvalError::NotALog { path: path.to_owned(), why };
    let mut rows = HashMap::new();
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        // Two runs that began at the same time without locks left a header each.
        if index == 0 || line.starts_with(BEGIN) {
            check_header(line, header, path)?;
            continue;
        }
        let row: Row = serde_json::from_slice(line)
            .map_err(|why| not_a_log(format!("line {}: {why}", index + 1)))?;
        if !matches!(rows.get(row.id()), Some(Row::Graded(_))) {
            rows.insert(row.id().to_owned(), row);
        }
    }
    Ok(rows)
}

fn check_header(line: &[u8], header: &LogHeader, path: &Path) -> Result<(), EvalError> {
    let not_a_log = |why: String| EvalError::NotALog { path: path.to_owned(), why };
    let value: serde_json::Value = serde_json::from_slice(line)
        .map_err(|_| not_a_log("its first line is not a JSON object".to_owned()))?;
    match value.get("specthink_eval").and_then(serde_json::Value::as_u64) {
        Some(found) if found == u64::from(VERSION) => {}
        Some(found) => return Err(not_a_log(format!("its version is {found}, not {VERSION}"))),
        None => return Err(not_a_log("its first line is not a header".to_owned())),
    }
    let found: LogHeader =
        serde_json::from_value(value).map_err(|why| not_a_log(why.to_string()))?;
    let mut but_for_loops = found.policy.clone();
    but_for_loops.limits.loops = header.policy.limits.loops;
    let other_policy = found.policy != header.policy;
    let differences = [
        ("data set", found.data_set_sha256 != header.data_set_sha256),
        ("--loops (off if the log names no rule)", other_policy && but_for_loops == header.policy),
        ("policy", other_policy),
        ("sampling", found.sampling != header.sampling),
        ("seed", found.seed != header.seed),
        ("--max-tokens", found.max_tokens != header.max_tokens),
        ("--deadline", found.deadline_ms != header.deadline_ms),
        ("system message", found.system != header.system),
        (
            "node timeout, --rejoin-after, --no-keep-warm or --resend",
            found.settings != header.settings,
        ),
        ("grader", found.grader != header.grader),
    ];
    match differences.into_iter().find(|(_, differs)| *differs) {
        Some((what, _)) => Err(EvalError::OtherRun { path: path.to_owned(), what }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Row;

    #[test]
    fn what_a_log_of_others_says_of_a_failure_can_be_shown() {
        let line = r#"{"row":"failed","id":"a","reason":"b\u001b]0;title\u0007\nerror: \u202ec"}"#;
        let reason = "b\u{fffd}]0;title\u{fffd} error: \u{fffd}c".to_owned();
        let row: Row = serde_json::from_str(line).unwrap();
        assert_eq!(row, Row::Failed { id: "a".to_owned(), reason });
    }
}
