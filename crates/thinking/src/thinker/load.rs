//! What a Thinker reports to a caller that chooses among several: whether it takes sessions, and how busy it is.

use std::time::Duration;

use super::{Failure, ModelCard};

/// Whether a Thinker takes new sessions, according to its latest report.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// It takes new sessions.
    Serving(Box<Serving>),
    /// It lets its sessions end and accepts no new ones.
    Draining,
    /// It cannot be reached.
    Gone(Failure),
}

/// What a Thinker that takes sessions reports about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Serving {
    /// What it serves; not every server reports this.
    pub card: Option<ModelCard>,
    /// How busy it is; `None` if it does not report this.
    pub load: Option<Load>,
    /// The round trip of the request for this report.
    pub round_trip: Duration,
}

/// How busy a Thinker is. Values that are not known are 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Open sessions.
    pub sessions: u32,
    /// The most sessions it accepts; 0 if not known.
    pub max_sessions: u32,
    /// Proposals that wait for their first text.
    pub waiting: u32,
    /// Proposals that are being generated.
    pub writing: u32,
    /// How many more tokens the KV cache can hold before it drops anything; `None` if not known.
    pub free_cache_tokens: Option<u64>,
    /// Recent prefill speed of one session, in tokens per second.
    pub prefill_tokens_per_s: f64,
    /// Recent decode speed of one session, in tokens per second.
    pub decode_tokens_per_s: f64,
}

impl Load {
    /// Returns whether no more sessions are accepted.
    pub fn is_full(&self) -> bool {
        self.max_sessions > 0 && self.sessions >= self.max_sessions
    }
}
