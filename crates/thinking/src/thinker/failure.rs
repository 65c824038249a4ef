//! How a session fails: the failure, its code, and who noticed it.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// Why a session failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure.
    pub code: Code,
    /// One line for a person: what, why, how to fix it.
    #[serde(deserialize_with = "crate::shown::deserialize_line")]
    pub message: String,
    /// How long to wait before a retry, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Who noticed it. Only meaningful in this process: it is neither sent nor logged.
    #[serde(skip)]
    pub noticed: Noticed,
}

impl Failure {
    /// A failure that a Thinker reports about itself, without a retry hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let noticed = Noticed::ByThinker;
        Failure { code, message: message.into(), retry_after_ms: None, noticed }
    }

    /// Returns whether the message names the Thinker that it is about.
    pub fn names_thinker(&self) -> bool {
        self.noticed != Noticed::ByThinker
    }
}

/// Who noticed a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Noticed {
    /// The Thinker itself. The message does not name it.
    #[default]
    ByThinker,
    /// The transport to the Thinker. The failure's message names the Thinker.
    OnTheWay,
    /// The transport, because nothing answered there.
    NobodyThere,
}

/// The closed list of failures. The journal uses the same names.
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
    /// The credential is missing or wrong.
    Unauthenticated,
    /// There is no room now; try again later.
    Overloaded,
    /// Unreachable, shutting down, or silent.
    Unavailable,
    /// The deadline passed before there was any result.
    DeadlineExceeded,
    /// The model's chat template is missing or fails.
    Template,
    /// A defect or a broken model.
    Internal,
}
