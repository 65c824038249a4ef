//! Journals that are read again: whole, event by event, or at a glance.

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

/// A journal, read again.
#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    /// The first line.
    pub header: Header,
    /// What happened, in order.
    pub events: Vec<Stamped>,
    /// The last line breaks off: the writer was interrupted.
    pub truncated: bool,
}

impl Journal {
    /// Whether the answer's end is in it.
    pub fn is_complete(&self) -> bool {
        matches!(self.events.last(), Some(Stamped { progress: Progress::Ended(_), .. }))
    }

    /// Reads a journal file.
    ///
    /// # Errors
    /// When it cannot be read, is no journal, has another version, or is damaged before its end.
    pub fn open(path: &Path) -> Result<Journal, JournalError> {
        let read = |why| JournalError::Read { path: path.display().to_string(), why };
        let file = File::open(path).map_err(read)?;
        Journal::read(BufReader::new(file), &path.display().to_string())
    }

    /// Reads a journal; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn read(input: impl BufRead, path: &str) -> Result<Journal, JournalError> {
        let mut reader = JournalReader::new(input, path)?;
        let events = reader.by_ref().collect::<Result<_, _>>()?;
        let JournalReader { header, is_truncated, .. } = reader;
        Ok(Journal { header, events, truncated: is_truncated })
    }
}

/// Reads a journal event by event, so that no more than one is in memory.
#[derive(Debug)]
pub struct JournalReader<R> {
    header: Header,
    input: R,
    path: String,
    /// Lines that were read.
    lines: usize,
    is_truncated: bool,
}

impl<R: BufRead> JournalReader<R> {
    /// Reads the header. `path` is for messages.
    ///
    /// # Errors
    /// When it cannot be read, or is no journal that this program knows.
    pub fn new(mut input: R, path: &str) -> Result<Self, JournalError> {
        let line = line_of(&mut input, path)?;
        let header = header(&line, path)?;
        Ok(JournalReader { header, input, path: path.to_owned(), lines: 1, is_truncated: false })
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the last line breaks off; known at the end.
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
            // Only the last line can lack its end.
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

/// A journal at a glance: what was asked, and how the answer ended.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalOutline {
    /// The first line.
    pub header: Header,
    /// The last line's; absent where the answer has no end there, because it is being written or was interrupted.
    pub summary: Option<Box<Summary>>,
}

impl JournalOutline {
    /// Reads the first line of a file and the last one, and nothing between. `path` is for messages.
    ///
    /// # Errors
    /// When it cannot be read, or is no journal that this program knows.
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

/// The last line behind the first bytes, with its end; empty where that is missing.
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

/// The next line, with its end; empty behind the last one.
fn line_of(input: &mut impl BufRead, path: &str) -> Result<Vec<u8>, JournalError> {
    let mut line = Vec::new();
    let read = input.read_until(b'\n', &mut line);
    read.map_err(|why| JournalError::Read { path: path.to_owned(), why })?;
    Ok(line)
}

fn header(line: &[u8], path: &str) -> Result<Header, JournalError> {
    let not_a_journal = |why: String| JournalError::NotAJournal { path: path.to_owned(), why };
    let value: serde_json::Value = serde_json::from_slice(line)
        .map_err(|_| not_a_journal("its first line is no JSON object".to_owned()))?;
    let found = value.get("specthink_journal").and_then(serde_json::Value::as_u64);
    let found = found.ok_or_else(|| not_a_journal("its first line is no header".to_owned()))?;
    if found != u64::from(VERSION) {
        let program = value.get("program").and_then(|p| p.as_str()).unwrap_or("unknown").to_owned();
        return Err(JournalError::Version { path: path.to_owned(), found, program });
    }
    serde_json::from_value(value).map_err(|why| not_a_journal(why.to_string()))
}
