//! How a session ends by failure.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// A session's end by failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure.
    pub code: Code,
    /// One line for a person: what, why, how to fix it.
    #[serde(deserialize_with = "crate::shown::deserialize_line")]
    pub message: String,
    /// When to try again, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Who noticed it. Of this process only: it is neither sent nor logged.
    #[serde(skip)]
    pub noticed: Noticed,
}

impl Failure {
    /// A failure that a Thinker gives as its own, without a retry hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let noticed = Noticed::ByThinker;
        Failure { code, message: message.into(), retry_after_ms: None, noticed }
    }

    /// Whether its message says which Thinker it is about.
    pub fn names_thinker(&self) -> bool {
        self.noticed != Noticed::ByThinker
    }
}

/// Who noticed a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Noticed {
    /// The Thinker; its message does not say which one it is.
    #[default]
    ByThinker,
    /// Whatever carries its messages, which says in the failure's message where it is.
    OnTheWay,
    /// The same, and nothing answered there.
    NobodyThere,
}

/// The closed list of failures. Its name is that of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Code {
    /// The caller sent something that the session's state does not allow.
    InvalidArgument,
    /// The other end speaks another version of the protocol.
    UnsupportedVersion,
    /// The text does not fit the model's context.
    ContextTooLong,
    /// A message is larger than the limit.
    MessageTooLarge,
    /// No or a wrong credential.
    Unauthenticated,
    /// No room now; try again later.
    Overloaded,
    /// Not reachable, going away, or silent.
    Unavailable,
    /// The deadline passed before there was anything to give.
    DeadlineExceeded,
    /// The model's chat template is absent or fails.
    Template,
    /// A defect or a broken model.
    Internal,
}
