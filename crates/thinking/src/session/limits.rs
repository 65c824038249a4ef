//! How much a command may ask for. A Thinker reads some of a command's values again for every character or token of the
//! session; this module bounds them, so that no session can slow the others down. How long a text may be is not limited
//! here: that follows from the model's context.

use super::refusal::Refusal;
use crate::thinker::{Command, Open, Prompt, Propose, TokenInput, TokenQuery};

/// The most messages in a prompt.
pub const MOST_MESSAGES: usize = 1024;
/// The largest window of a trigger watch, in characters.
pub const MOST_WINDOW_CHARS: u32 = 1024;

/// The limit of [`Propose::stop`].
pub const STOPS: ListLimit = ListLimit { field: "Propose.stop", texts: 64, bytes: 8 << 10 };
/// The limit of [`Watch::delimiters`](crate::trigger::Watch::delimiters).
pub const DELIMITERS: ListLimit =
    ListLimit { field: "TriggerWatch.delimiters", texts: 64, bytes: 4 << 10 };
/// The limit of [`Watch::until`](crate::trigger::Watch::until), which is searched for in the committed text too.
pub const UNTIL: ListLimit = ListLimit { field: "TriggerWatch.until", texts: 16, bytes: 1 << 10 };
/// The limit of [`Watch::phrases`](crate::trigger::Watch::phrases).
pub const PHRASES: ListLimit =
    ListLimit { field: "TriggerWatch.phrases", texts: 1024, bytes: 64 << 10 };

/// How many texts a list may hold, and how many bytes they may have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLimit {
    /// The protocol's name for the list.
    pub field: &'static str,
    /// The most texts.
    pub texts: usize,
    /// The most bytes of all texts together.
    pub bytes: usize,
}

/// Checks that a command stays within the limits. The check reads no more than they allow.
///
/// # Errors
/// [`Refusal::TooMany`] names the field, how much it holds and the limit.
pub fn check(command: &Command) -> Result<(), Refusal> {
    match command {
        Command::Open(open) => check_open(open),
        Command::Propose(propose) => check_propose(propose),
        Command::Append(_) | Command::Commit { .. } | Command::Cancel | Command::Cut(_) => Ok(()),
    }
}

/// Checks that a tokenizer request asks for no more than a session may.
///
/// # Errors
/// The same as [`check`].
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
