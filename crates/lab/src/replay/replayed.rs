//! The results of a replay.

use answer::{Takeover, Traffic, account::TimeSplit};
use serde::{Deserialize, Serialize};

/// What an answer would have cost; in the same form for every link, as in a journal's summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// The question's id.
    pub question: String,
    /// The link to the large node; "none" if there is none.
    pub link: String,
    /// The seed of the conditions.
    pub seed: u64,
    /// Where the time went: the parts add up to the total. `other_us` is the time in which no ask was running.
    pub time: TimeSplit,
    /// The part of `network_us` that the recording had too: the programs' own handling of messages, kept only for a
    /// recording over loopback.
    pub handling_us: u64,
    /// Every takeover, in order; `handoff_us` is from the ask to its first text.
    pub takeovers: Vec<Takeover>,
    /// Bytes to and from the small node.
    pub small_traffic: Traffic,
    /// Bytes to and from the large node.
    pub large_traffic: Traffic,
    /// Where it would have diverged from the recording. All figures are for what comes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<Divergence>,
}

/// Where an answer diverges from its recording. Its journal does not show how it would have continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The decision that came out differently.
    pub why: Race,
    /// When, in microseconds since the question was asked.
    pub at_us: u64,
}

/// Decisions that depend on time, and come out differently over this link than over the recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Race {
    /// A takeover's first text is later than its deadline: the small model would have continued in its place.
    Takeover,
    /// When the large model's first text arrives, the small one has written more than was recorded.
    Overlap,
    /// A takeover, or part of it, exceeds the target for the answer's latency.
    LatencyTarget,
    /// The question's deadline passes: the answer would have been cut off.
    Deadline,
    /// The small node is silent for longer than the settings allow: it would have been given up.
    SmallTimeout,
    /// The large node is silent for longer than the settings allow: it would have been given up.
    LargeTimeout,
}
