//! Reads data sets of problems from JSONL files.
//!
//! Each line is one JSON object. Its keys determine its shape, so that the published files of GSM8K, MATH-500, AIME,
//! AMC and SVAMP can be read as they are (`dataset::shape`). What does not live here: downloading them, and choosing
//! among the problems.

mod fields;
mod shape;

use std::{collections::HashMap, fs, io, path::Path};

/// A question and its right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Unique within its data set.
    pub id: String,
    /// The question, as it is to be asked.
    pub question: String,
    /// The right answer: a number or LaTeX.
    pub answer: String,
}

/// A data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The problems in the order of the file, at least one.
    pub problems: Vec<Problem>,
    /// The lines that were left out. Empty unless bad lines may be skipped.
    pub skipped: Vec<SkippedLine>,
}

/// A line that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedLine {
    /// The line's number, from 1.
    pub line: usize,
    /// Why.
    pub fault: LineFault,
}

/// Why there is no data set. Each is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// There is no such file.
    #[error("no file {path}: check the path")]
    Missing {
        /// The path.
        path: String,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {why}; give a JSONL file that you may read")]
    Unreadable {
        /// The path.
        path: String,
        /// What the system says.
        why: String,
    },
    /// The file has no line.
    #[error("{path} is empty: give a JSONL file with one problem on each line")]
    Empty {
        /// The path.
        path: String,
    },
    /// A line is bad.
    #[error("{path}, line {line}: {fault}")]
    BadLine {
        /// The path.
        path: String,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong.
        fault: LineFault,
    },
    /// Bad lines may be skipped, but all lines are bad.
    #[error("{path}: all {lines} lines are bad; the first, line {line}: {fault}")]
    AllBad {
        /// The path.
        path: String,
        /// How many lines there are.
        lines: usize,
        /// The first bad line's number, from 1.
        line: usize,
        /// What is wrong with it.
        fault: LineFault,
    },
}

/// What is wrong with a line, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// It is not UTF-8.
    #[error("not UTF-8; convert the file, for example with iconv")]
    NotUtf8,
    /// It is not JSON.
    #[error("not JSON ({why}); write one object on one line")]
    NotJson {
        /// What the parser says.
        why: String,
    },
    /// It is JSON, but not an object.
    #[error("{found} instead of an object; write {{\"question\": ..., \"answer\": ...}}")]
    NotObject {
        /// What it is.
        found: &'static str,
    },
    /// It has no question.
    #[error("no question; looked for {looked_for}: rename the field that holds it")]
    NoQuestion {
        /// The fields that would hold it.
        looked_for: &'static str,
    },
    /// It has no answer.
    #[error("no answer; looked for {looked_for}: rename the field that holds it")]
    NoAnswer {
        /// The fields that would hold it.
        looked_for: &'static str,
    },
    /// A field has the wrong type.
    #[error("{field:?} is {found}; make it {must_be}")]
    WrongType {
        /// The field.
        field: String,
        /// What it is.
        found: &'static str,
        /// What it must be.
        must_be: &'static str,
    },
    /// A field is empty.
    #[error("{field:?} is empty; fill it in or remove the line")]
    EmptyField {
        /// The field.
        field: String,
    },
    /// Another line has the same id.
    #[error("id {id:?} is also that of line {first}; give each line its own id, or none at all")]
    DuplicateId {
        /// The id.
        id: String,
        /// The line that had it first.
        first: usize,
    },
}

/// Reads a data set's file, to be [`parse`]d.
pub fn bytes(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let shown = path.display().to_string();
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DatasetError::Missing { path: shown },
        _ => DatasetError::Unreadable { path: shown, why: error.to_string() },
    })
}

/// Parses a data set from a file's bytes. `path` is used in errors.
///
/// With `skip_bad`, a bad line is left out and reported in the result. Otherwise it is an error.
pub fn parse(path: &str, bytes: &[u8], skip_bad: bool) -> Result<Dataset, DatasetError> {
    let path = path.to_owned();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut set = Dataset { problems: Vec::new(), skipped: Vec::new() };
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (index, bytes) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = index + 1;
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match problem(bytes, line, &seen) {
            Ok(problem) => {
                seen.insert(problem.id.clone(), line);
                set.problems.push(problem);
            }
            Err(fault) if skip_bad => set.skipped.push(SkippedLine { line, fault }),
            Err(fault) => return Err(DatasetError::BadLine { path, line, fault }),
        }
    }
    match (set.problems.is_empty(), set.skipped.first()) {
        (false, _) => Ok(set),
        (true, None) => Err(DatasetError::Empty { path }),
        (true, Some(SkippedLine { line, fault })) => Err(DatasetError::AllBad {
            path,
            lines: set.skipped.len(),
            line: *line,
            fault: fault.clone(),
        }),
    }
}

fn problem(bytes: &[u8], line: usize, seen: &HashMap<String, usize>) -> Result<Problem, LineFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| LineFault::NotUtf8)?;
    let problem = shape::problem(text, line)?;
    match seen.get(&problem.id) {
        Some(first) => Err(LineFault::DuplicateId { id: problem.id, first: *first }),
        None => Ok(problem),
    }
}
