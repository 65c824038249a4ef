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
    /// Where it would have gone another way than it was recorded. All figures are of what comes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<Divergence>,
}

/// Where an answer goes another way than it was recorded. What it would have come to then, its journal does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// What was decided otherwise.
    pub why: Race,
    /// When, in microseconds since the question was asked.
    pub at_us: u64,
}

/// What times decide, and over this link otherwise than over the recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Race {
    /// A takeover's first text is later than it is waited for: the small model would have gone on in its place.
    Takeover,
    /// The large model's first text comes when the small one has written more meanwhile than was recorded.
    Overlap,
    /// A takeover, or a part of it, is beyond the target for the answer's latency.
    LatencyTarget,
    /// The question's deadline passes: the answer would have been cut off.
    Deadline,
    /// The small node gives no sign for longer than the settings allow: it would have been given up.
    SmallTimeout,
    /// The large node gives no sign for longer than the settings allow: it would have been given up.
    LargeTimeout,
}
