//! How much a command may ask for: what a Thinker reads again for every character or token of a session is bounded, so
//! that no session costs the others their turn. All such limits are here. How long a text may be follows from the
//! model's context, and is not.

use super::refusal::Refusal;
use crate::thinker::{Command, Open, Prompt, Propose, TokenInput, TokenQuery};

/// Greatest number of messages of a prompt.
pub const MOST_MESSAGES: usize = 1024;
/// Greatest window of a trigger watch, in characters.
pub const MOST_WINDOW_CHARS: u32 = 1024;

/// [`Propose::stop`].
pub const STOPS: ListLimit = ListLimit { field: "Propose.stop", texts: 64, bytes: 8 << 10 };
/// [`Watch::delimiters`](crate::trigger::Watch::delimiters).
pub const DELIMITERS: ListLimit =
    ListLimit { field: "TriggerWatch.delimiters", texts: 64, bytes: 4 << 10 };
/// [`Watch::until`](crate::trigger::Watch::until), which is looked for in the committed text too.
pub const UNTIL: ListLimit = ListLimit { field: "TriggerWatch.until", texts: 16, bytes: 1 << 10 };
/// [`Watch::phrases`](crate::trigger::Watch::phrases).
pub const PHRASES: ListLimit =
    ListLimit { field: "TriggerWatch.phrases", texts: 1024, bytes: 64 << 10 };

/// How many texts a list may hold, and how many bytes they may have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLimit {
    /// What the protocol calls the list.
    pub field: &'static str,
    /// Greatest number of texts.
    pub texts: usize,
    /// Greatest length of all of them together, in bytes.
    pub bytes: usize,
}

/// Checks that a command asks for no more than the limits. It reads no more than they allow.
///
/// # Errors
/// [`Refusal::TooMany`] names the field, what it holds and the limit.
pub fn check(command: &Command) -> Result<(), Refusal> {
    match command {
        Command::Open(open) => check_open(open),
        Command::Propose(propose) => check_propose(propose),
        Command::Append(_) | Command::Commit { .. } | Command::Cancel | Command::Cut(_) => Ok(()),
    }
}

/// Checks that a question to a tokenizer asks for no more than a session may.
///
/// # Errors
/// As [`check`].
pub fn check_tokens(query: &TokenQuery) -> Result<(), Refusal> {
    match &query.input {
        TokenInput::Messages { messages, .. } => {
            at_most("TokenizeRequest.conversation", messages.len(), MOST_MESSAGES, "messages")
        }
        TokenInput::Nothing | TokenInput::Text { .. } | TokenInput::Ids(_) => Ok(()),
    }
}

pub(super) fn check_open(open: &Open) -> Result<(), Refusal> {
    if open.review.is_some_and(|review| !(0.0..=f32::MAX).contains(&review.gap)) {
        return Err(Refusal::BadGap);
    }
    match &open.prompt {
        Prompt::Messages(messages) => {
            at_most("Open.messages", messages.len(), MOST_MESSAGES, "messages")
        }
        Prompt::Raw(_) => Ok(()),
    }
}

pub(super) fn check_propose(propose: &Propose) -> Result<(), Refusal> {
    STOPS.check(propose.stop.iter())?;
    let Some(watch) = &propose.watch else { return Ok(()) };
    DELIMITERS.check(watch.delimiters.iter())?;
    UNTIL.check(watch.until.iter())?;
    PHRASES.check(watch.phrases.iter().map(|phrase| &phrase.text))?;
    let (found, most) = (watch.window_chars as usize, MOST_WINDOW_CHARS as usize);
    at_most("TriggerWatch.window_chars", found, most, "characters")
}

impl ListLimit {
    fn check<'a>(&self, texts: impl ExactSizeIterator<Item = &'a String>) -> Result<(), Refusal> {
        at_most(self.field, texts.len(), self.texts, "texts")?;
        at_most(self.field, texts.map(String::len).sum(), self.bytes, "bytes")
    }
}

fn at_most(
    field: &'static str,
    found: usize,
    most: usize,
    unit: &'static str,
) -> Result<(), Refusal> {
    if found <= most { Ok(()) } else { Err(Refusal::TooMany { field, found, most, unit }) }
}
