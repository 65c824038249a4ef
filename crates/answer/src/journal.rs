//! The journal: the JSONL log of one answer. A header line says what was asked of which nodes; then comes one line per
//! [`Stamped`] event, the summary last. The format is described in docs/journal.md.
//!
//! Every line is flushed when it is written, and shown text is collected into lines: a run that is killed keeps
//! everything but the last piece of text.

mod reading;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use thinking::{
    beginning::AnswerBeginning,
    policy::PolicySpec,
    stops::StopTexts,
    thinker::{Message, Prompt, Sampling},
};

pub use self::reading::{Journal, JournalOutline, JournalReader};
use crate::{
    file::{FileLock, beside, lock, private},
    progress::{Observer, Progress, Stamped, Text},
    question::{Question, Settings},
};

/// The version of the format. It is increased when an old reader would misunderstand a new journal.
pub const VERSION: u32 = 1;

/// A line of shown text is written once it has at least this many bytes ...
const TEXT_BYTES: usize = 240;
/// ... or covers at least this much time, whichever comes first. The time is checked when text comes.
const TEXT_US: u64 = 250_000;

/// The first line: what was asked, of which nodes, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The format's version, [`VERSION`].
    pub specthink_journal: u32,
    /// The program that wrote it, with its version.
    pub program: String,
    /// When the question was asked, in milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
    /// The question.
    pub question: QuestionNote,
    /// The policy and all its parameters.
    pub policy: PolicySpec,
    /// How the nodes are treated.
    pub settings: Settings,
    /// The small nodes, in order.
    pub small: Vec<String>,
    /// The first large node, if there is one.
    pub large: Option<String>,
    /// The large nodes that stand in for it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub large_spares: Vec<String>,
}

/// A question, as the journal stores it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuestionNote {
    /// Its id, as it appears in the nodes' logs.
    pub id: String,
    /// The conversation; absent for a raw prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<Message>>,
    /// The raw prompt; absent for a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_prompt: Option<String>,
    /// The given beginning of the answer; absent if there is none.
    #[serde(default, skip_serializing_if = "AnswerBeginning::is_empty")]
    pub beginning: AnswerBeginning,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// The seed from which every ask's seed is derived.
    pub seed: u64,
    /// The most tokens of the answer.
    pub max_tokens: u32,
    /// Texts that end the answer; absent if there are none.
    #[serde(default, skip_serializing_if = "StopTexts::is_empty")]
    pub stop: StopTexts,
    /// Time limit for the whole answer, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

impl From<&Question> for QuestionNote {
    fn from(question: &Question) -> Self {
        let (messages, raw_prompt) = match &question.prompt {
            Prompt::Messages(messages) => (Some(messages.clone()), None),
            Prompt::Raw(text) => (None, Some(text.clone())),
        };
        QuestionNote {
            id: question.id.clone(),
            messages,
            raw_prompt,
            beginning: question.beginning.clone(),
            sampling: question.sampling,
            seed: question.seed,
            max_tokens: question.max_tokens,
            stop: question.stop.clone(),
            deadline_ms: question.deadline.map(millis),
        }
    }
}

impl From<&QuestionNote> for Question {
    fn from(note: &QuestionNote) -> Self {
        let prompt = match (&note.raw_prompt, &note.messages) {
            (Some(text), None) => Prompt::Raw(text.clone()),
            (_, messages) => Prompt::Messages(messages.clone().unwrap_or_default()),
        };
        Question {
            id: note.id.clone(),
            prompt,
            beginning: note.beginning.clone(),
            sampling: note.sampling,
            seed: note.seed,
            max_tokens: note.max_tokens,
            stop: note.stop.clone(),
            deadline: note.deadline_ms.map(Duration::from_millis),
        }
    }
}

impl Header {
    /// The header of a question that is asked now.
    pub fn new(
        question: &Question,
        policy: PolicySpec,
        settings: Settings,
        small: Vec<String>,
        large: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut large = large.into_iter();
        #[expect(clippy::disallowed_methods, reason = "the run begins here")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Header {
            specthink_journal: VERSION,
            program: concat!("specthink ", env!("CARGO_PKG_VERSION")).to_owned(),
            unix_ms: millis(now),
            question: question.into(),
            policy,
            settings,
            small,
            large: large.next(),
            large_spares: large.collect(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A journal that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file of this name exists and is not empty.
    #[error("the journal {path} already exists: name another file, or remove it")]
    Exists {
        /// The file.
        path: String,
    },
    /// The file cannot be created.
    #[error("cannot create the journal {path}: {why}; name a file in a writable folder")]
    Create {
        /// The file.
        path: String,
        /// The system's reason.
        why: io::Error,
    },
    /// A line could not be written; the answer continued without the journal.
    #[error(
        "the journal is incomplete: writing it failed: {why}; free some space or choose another folder, and ask again"
    )]
    Write {
        /// The system's reason.
        why: io::Error,
    },
    /// The file cannot be read.
    #[error(
        "cannot read the journal {path}: {why}; give a readable file that `specthink ask --journal` wrote"
    )]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        why: io::Error,
    },
    /// The file is not a journal.
    #[error(
        "{path} is not a journal of specthink: {why}; give a file that `specthink ask --journal` wrote"
    )]
    NotAJournal {
        /// The file.
        path: String,
        /// What is wrong with its first line.
        why: String,
    },
    /// The journal has another version of the format.
    #[error(
        "{path} is a journal of version {found}, but this program reads version {VERSION}: use the \
         specthink that wrote it ({program})"
    )]
    Version {
        /// The file.
        path: String,
        /// Its version.
        found: u64,
        /// The program that wrote it.
        program: String,
    },
    /// A line in the middle is damaged.
    #[error(
        "{path}, line {line}: {why}; the journal was changed after it was written: give an unchanged copy"
    )]
    Damaged {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// Writes a journal while an answer is written. The first error ends the writing; [`finish`] returns it.
///
/// [`finish`]: JournalWriter::finish
#[derive(Debug)]
pub struct JournalWriter<W: Write> {
    out: W,
    gathered: Option<(u64, Text)>,
    error: Option<io::Error>,
    /// The file that is being written, and the path that it is moved to once it is complete.
    unplaced: Option<(PathBuf, PathBuf)>,
}

impl JournalWriter<File> {
    /// Creates the file and writes the header. A file that is not empty is left as it is.
    ///
    /// # Errors
    /// If there is such a file, or it cannot be created or written.
    pub fn create(path: &Path, header: &Header) -> Result<Self, JournalError> {
        let name = || path.display().to_string();
        let exists = || JournalError::Exists { path: name() };
        let made = match private().append(true).create_new(true).open(path) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
                if is_full(path) {
                    return Err(exists());
                }
                // An empty file, or a pipe.
                File::options().append(true).open(path)
            }
            made => made,
        };
        let file = made.map_err(|why| JournalError::Create { path: name(), why })?;
        // Another run may have opened the same empty file, and may have started to write it meanwhile.
        if path.is_file() && (lock(&file) == FileLock::Taken || is_full(path)) {
            return Err(exists());
        }
        JournalWriter::new(file, header)
    }

    /// Creates a journal in place of a file that may exist, for a run that is repeated. The journal takes that place
    /// once it is complete.
    ///
    /// # Errors
    /// If it cannot be created or written.
    pub fn replace(path: &Path, header: &Header) -> Result<Self, JournalError> {
        let (temporary, file) = beside(path)
            .map_err(|why| JournalError::Create { path: path.display().to_string(), why })?;
        let unplaced = Some((temporary, path.to_owned()));
        JournalWriter { out: file, gathered: None, error: None, unplaced }.begin(header)
    }
}

impl<W: Write> JournalWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(out: W, header: &Header) -> Result<Self, JournalError> {
        JournalWriter { out, gathered: None, error: None, unplaced: None }.begin(header)
    }

    fn begin(mut self, header: &Header) -> Result<Self, JournalError> {
        self.line(header);
        match self.error.take() {
            Some(why) => Err(JournalError::Write { why }),
            None => Ok(self),
        }
    }

    fn line(&mut self, value: &impl Serialize) {
        if self.error.is_some() {
            return;
        }
        let written = serde_json::to_vec(value).map_err(io::Error::other).and_then(|mut line| {
            line.push(b'\n');
            // One call per line, so only the last line of a journal can be incomplete.
            self.out.write_all(&line)?;
            self.out.flush()
        });
        self.error = written.err();
    }

    fn release(&mut self) {
        if let Some((at_us, text)) = self.gathered.take() {
            self.line(&Stamped { at_us, progress: Progress::Text(text) });
        }
    }

    /// Writes the text that is still collected.
    ///
    /// # Errors
    /// The first error that occurred while the journal was written.
    pub fn finish(mut self) -> Result<(), JournalError> {
        self.release();
        if let Some((temporary, path)) = self.unplaced.take() {
            if self.error.is_none() {
                self.error = fs::rename(temporary, path).err();
            } else {
                let _ = fs::remove_file(temporary);
            }
        }
        match self.error.take() {
            Some(why) => Err(JournalError::Write { why }),
            None => Ok(()),
        }
    }
}

impl<W: Write> Drop for JournalWriter<W> {
    /// Writes the rest of the text if `finish` was never called. An incomplete journal never replaces another one.
    fn drop(&mut self) {
        self.release();
        if let Some((temporary, path)) = self.unplaced.take() {
            let _ = if path.exists() {
                fs::remove_file(temporary)
            } else {
                fs::rename(temporary, path)
            };
        }
    }
}

impl<W: Write + Send> Observer for JournalWriter<W> {
    fn see(&mut self, stamped: &Stamped) {
        let Progress::Text(text) = &stamped.progress else {
            self.release();
            self.line(stamped);
            return;
        };
        match &mut self.gathered {
            Some((_, before)) if before.goes_on(text) => {
                before.text.push_str(&text.text);
            }
            _ => {
                self.release();
                self.gathered = Some((stamped.at_us, text.clone()));
            }
        }
        let full = self.gathered.as_ref().is_some_and(|(at_us, text)| {
            text.text.len() >= TEXT_BYTES || stamped.at_us.saturating_sub(*at_us) >= TEXT_US
        });
        if full {
            self.release();
        }
    }
}

fn is_full(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0)
}
