//! Reads journals: whole, event by event, or only the first and last line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use super::{Header, JournalError, VERSION};
use crate::{
    account::Summary,
    progress::{Progress, Stamped},
};

/// How much of a journal's end is read at a time.
const END_BYTES: u64 = 64 * 1024;

/// A journal that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    /// The first line.
    pub header: Header,
    /// What happened, in order.
    pub events: Vec<Stamped>,
    /// Whether the last line is incomplete because the writer was interrupted.
    pub truncated: bool,
}

impl Journal {
    /// Returns whether it contains the answer's end.
    pub fn is_complete(&self) -> bool {
        matches!(self.events.last(), Some(Stamped { progress: Progress::Ended(_), .. }))
    }

    /// Reads a journal file.
    ///
    /// # Errors
    /// If it cannot be read, is not a journal, has another version, or is damaged before its end.
    pub fn open(path: &Path) -> Result<Journal, JournalError> {
        let read = |why| JournalError::Read { path: path.display().to_string(), why };
        let file = File::open(path).map_err(read)?;
        Journal::read(BufReader::new(file), &path.display().to_string())
    }

    /// Reads a journal; `path` names it in errors.
    ///
    /// # Errors
    /// The same as [`Journal::open`].
    pub fn read(input: impl BufRead, path: &str) -> Result<Journal, JournalError> {
        let mut reader = JournalReader::new(input, path)?;
        let events = reader.by_ref().collect::<Result<_, _>>()?;
        let JournalReader { header, is_truncated, .. } = reader;
        Ok(Journal { header, events, truncated: is_truncated })
    }
}

/// Reads a journal event by event, so that only one is in memory at a time.
#[derive(Debug)]
pub struct JournalReader<R> {
    header: Header,
    input: R,
    path: String,
    /// How many lines were read.
    lines: usize,
    is_truncated: bool,
}

impl<R: BufRead> JournalReader<R> {
    /// Reads the header. `path` names the journal in errors.
    ///
    /// # Errors
    /// If it cannot be read, or is not a journal that this program knows.
    pub fn new(mut input: R, path: &str) -> Result<Self, JournalError> {
        let line = line_of(&mut input, path)?;
        let header = header(&line, path)?;
        Ok(JournalReader { header, input, path: path.to_owned(), lines: 1, is_truncated: false })
    }

    /// Returns the header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns whether the last line is incomplete; known once all events were read.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }
}

impl<R: BufRead> Iterator for JournalReader<R> {
    type Item = Result<Stamped, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match line_of(&mut self.input, &self.path) {
            Ok(line) if line.is_empty() => return None,
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        self.lines += 1;
        match serde_json::from_slice(&line) {
            Ok(stamped) => Some(Ok(stamped)),
            // Only the last line can be incomplete.
            Err(_) if !line.ends_with(b"\n") => {
                self.is_truncated = true;
                None
            }
            Err(why) => {
                let (path, why) = (self.path.clone(), why.to_string());
                Some(Err(JournalError::Damaged { path, line: self.lines, why }))
            }
        }
    }
}

/// An outline of a journal: what was asked, and how the answer ended.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalOutline {
    /// The first line.
    pub header: Header,
    /// The last line's summary; absent if the answer's end is not there, because it is being written or was
    /// interrupted.
    pub summary: Option<Box<Summary>>,
}

impl JournalOutline {
    /// Reads only the first and the last line of a file. `path` names the journal in errors.
    ///
    /// # Errors
    /// If it cannot be read, or is not a journal that this program knows.
    pub fn read(file: impl Read + Seek, path: &str) -> Result<Self, JournalError> {
        let mut input = BufReader::new(file);
        let first = line_of(&mut input, path)?;
        let header = header(&first, path)?;
        let last = last_line(&mut input, first.len() as u64)
            .map_err(|why| JournalError::Read { path: path.to_owned(), why })?;
        let summary = match serde_json::from_slice(&last) {
            Ok(Stamped { progress: Progress::Ended(summary), .. }) => Some(summary),
            _ => None,
        };
        Ok(JournalOutline { header, summary })
    }
}

/// Returns the last line after the first `first` bytes, with its newline; empty if the newline is missing.
fn last_line(input: &mut (impl Read + Seek), first: u64) -> io::Result<Vec<u8>> {
    let end = input.seek(SeekFrom::End(0))?;
    let mut begin = end;
    let mut last = Vec::new();
    while begin > first {
        let more = END_BYTES.min(begin - first);
        begin -= more;
        input.seek(SeekFrom::Start(begin))?;
        let mut piece = Vec::new();
        input.by_ref().take(more).read_to_end(&mut piece)?;
        piece.append(&mut last);
        last = piece;
        let Some(inner) = last.strip_suffix(b"\n") else { return Ok(Vec::new()) };
        if let Some(at) = inner.iter().rposition(|byte| *byte == b'\n') {
            last.drain(..=at);
            break;
        }
    }
    Ok(last)
}

/// Returns the next line, with its newline; empty at the end of the file.
fn line_of(input: &mut impl BufRead, path: &str) -> Result<Vec<u8>, JournalError> {
    let mut line = Vec::new();
    let read = input.read_until(b'\n', &mut line);
    read.map_err(|why| JournalError::Read { path: path.to_owned(), why })?;
    Ok(line)
}

fn header(line: &[u8], path: &str) -> Result<Header, JournalError> {
    let not_a_journal = |why: String| JournalError::NotAJournal { path: path.to_owned(), why };
    let value: serde_json::Value = serde_json::from_slice(line)
        .map_err(|_| not_a_journal("its first line is not a JSON object".to_owned()))?;
    let found = value.get("specthink_journal").and_then(serde_json::Value::as_u64);
    let found = found.ok_or_else(|| not_a_journal("its first line is not a header".to_owned()))?;
    if found != u64::from(VERSION) {
        let program = value.get("program").and_then(|p| p.as_str()).unwrap_or("unknown").to_owned();
        return Err(JournalError::Version { path: path.to_owned(), found, program });
    }
    serde_json::from_value(value).map_err(|why| not_a_journal(why.to_string()))
}
