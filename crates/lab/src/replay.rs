//! Replay: a recorded answer re-timed over another link, without models, in simulated time.
//!
//! [`Recording`] is what replay takes from a journal, [`replay`] rebuilds the messages between the
//! coordinator and its nodes from it and runs them through the [model of a
//! link](crate::link::Direction). docs/replay.md tells the method and how far it can be trusted.
//!
//! It re-times the decisions that were recorded; it does not decide anew. A policy that looks at
//! the clock (a takeover's deadline, a budget of time) would decide otherwise over another link,
//! and replay cannot tell how. Where the recorded settings themselves would have ended the answer
//! otherwise, [`Replayed::doubt`] says so.
//!
//! What does not live here: reading journals ([`answer::journal`]), links, statistics, and anything that waits.

mod exchange;
mod node;
mod recording;
mod sizes;
mod warming;

use answer::{Takeover, Traffic, account::TimeSplit};
use serde::{Deserialize, Serialize};

pub use self::recording::{RecordedOver, Recording};
use crate::link::LinkProfile;

/// The links and the draws of a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// Between the coordinator and the small node; none: they are on one machine.
    pub small: Option<LinkProfile>,
    /// Between the coordinator and the large node.
    pub large: Option<LinkProfile>,
    /// Whether the answer waits for new connections, or finds them made, as all but the first of a run do.
    pub connected: bool,
    /// Seeds jitter, losses and outages, together with the question: the same seed gives the same figures, and
    /// different questions meet different moments of a link.
    pub seed: u64,
}

impl Conditions {
    /// A link to the large node, with the small node on the coordinator's machine and all connections made.
    pub fn over(large: LinkProfile, seed: u64) -> Self {
        Conditions { small: None, large: Some(large), connected: true, seed }
    }

    /// No link at all.
    pub fn none() -> Self {
        Conditions { small: None, large: None, connected: true, seed: 0 }
    }
}

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

/// Why a journal cannot be replayed. Each is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The answer's end is missing.
    #[error(
        "question {question:?}: its journal breaks off before the answer's end, so what is missing \
         cannot be timed; replay a run that ended"
    )]
    Incomplete {
        /// The question's id.
        question: String,
    },
    /// The answer failed or was stopped.
    #[error(
        "question {question:?}: the answer did not end by itself ({why}), so its journal lacks the \
         rest; replay a run that was complete"
    )]
    Stopped {
        /// The question's id.
        question: String,
        /// What ended it.
        why: String,
    },
    /// A node was lost, late, or was sent its text again.
    #[error(
        "question {question:?}: {why}: that hangs on the link it was recorded over, not on the \
         answer; record it again over loopback"
    )]
    Disturbed {
        /// The question's id.
        question: String,
        /// What happened.
        why: String,
    },
    /// It was recorded with the whole text sent at every takeover.
    #[error(
        "question {question:?}: the whole text was sent at every takeover, and replay follows \
         sessions; record it without --resend"
    )]
    Resent {
        /// The question's id.
        question: String,
    },
    /// Two asks at a time.
    #[error(
        "question {question:?}: ask {ask} began before the one before it was finished, and replay \
         follows one at a time; record it with a policy that asks one node at a time"
    )]
    Overlapping {
        /// The question's id.
        question: String,
        /// The later ask.
        ask: u32,
    },
    /// Its events contradict each other.
    #[error(
        "question {question:?}: {why}; the journal was changed, or another version wrote it: give an unchanged copy"
    )]
    Inconsistent {
        /// The question's id.
        question: String,
        /// What contradicts what.
        why: String,
    },
    /// The link resets its connections.
    #[error(
        "link {link:?} resets connections, which makes answers degrade, and replay times answers \
         that did not; leave reset out, or measure it live"
    )]
    Resets {
        /// The link.
        link: String,
    },
}

/// Re-times a recording. Pure: the same recording and conditions give the same result on every machine.
///
/// # Errors
/// When a link resets its connections: what becomes of an answer then is not in its journal.
pub fn replay(recording: &Recording, conditions: &Conditions) -> Result<Replayed, ReplayError> {
    let links = [&conditions.small, &conditions.large];
    if let Some(link) = links.into_iter().flatten().find(|link| link.reset.is_some()) {
        return Err(ReplayError::Resets { link: link.name.clone() });
    }
    Ok(exchange::Exchange::new(recording, conditions).run())
}
