//! What a Thinker tells whoever chooses among several: whether it takes sessions, and how busy it is.

use std::time::Duration;

use super::{Failure, ModelCard};

/// Whether a Thinker takes new sessions, as it was last told.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// It does.
    Serving(Box<Serving>),
    /// It lets its sessions end, and accepts no new ones.
    Draining,
    /// It cannot be asked.
    Gone(Failure),
}

/// What a Thinker that takes sessions says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Serving {
    /// What it serves; not known of every server.
    pub card: Option<ModelCard>,
    /// How busy it is; `None`: it does not tell.
    pub load: Option<Load>,
    /// The time from the question to the answer.
    pub round_trip: Duration,
}

/// How busy a Thinker is. What is not known is 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Sessions that are open.
    pub sessions: u32,
    /// The greatest number of sessions; 0: not known.
    pub max_sessions: u32,
    /// Proposals that wait for their first text.
    pub waiting: u32,
    /// Proposals that are being written.
    pub writing: u32,
    /// Tokens that the key-value cache has room for before it drops anything; `None`: not known.
    pub free_cache_tokens: Option<u64>,
    /// Tokens that one session was prefilled with in a second, lately.
    pub prefill_tokens_per_s: f64,
    /// Tokens that one session wrote in a second, lately.
    pub decode_tokens_per_s: f64,
}

impl Load {
    /// Whether no more sessions are accepted.
    pub fn is_full(&self) -> bool {
        self.max_sessions > 0 && self.sessions >= self.max_sessions
    }
}
