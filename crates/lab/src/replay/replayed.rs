//! What replay says of an answer.

use answer::{Takeover, Traffic, account::TimeSplit};
use serde::{Deserialize, Serialize};

/// What an answer would have cost; of the same shape for every link, and as a journal's summary tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// The question's id.
    pub question: String,
    /// The link to the large node; "none" where there is none.
    pub link: String,
    /// The seed of the conditions.
    pub seed: u64,
    /// Where the time went: the parts add up to the total. `other_us` is the wait in which no ask was running.
    pub time: TimeSplit,
    /// The part of `network_us` that the recording had too: the programs' own handling of messages, kept only of
    /// a recording over loopback.
    pub handling_us: u64,
    /// Every takeover, in order; `handoff_us` is from the ask to its first text.
    pub takeovers: Vec<Takeover>,
    /// Bytes to and from the small node.
    pub small_traffic: Traffic,
    /// Bytes to and from the large node.
    pub large_traffic: Traffic,
    /// Why the recorded decisions would not have been made over this link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
}

/// Why an answer would have gone another way than it was recorded. Its figures say what it would have cost with
/// more patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// The small node would have been silent for longer than the settings allow: the answer would have failed, or
    /// another small node gone on.
    SmallTimeout,
    /// The large node would have been silent for longer than the settings allow: the small one
    /// would have gone on without it.
    LargeTimeout,
    /// A takeover's first text would have been later than the policy waits: the small node would have gone on in its
    /// place.
    TakeoverDeadline,
    /// The question's deadline would have ended it.
    Deadline,
}
