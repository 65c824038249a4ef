//! One answer as a pure machine.
//!
//! [`Conductor`] drives a policy over a small and a large node. Its one function is
//! [`Conductor::step`]: what happened and when goes in ([`Input`]), what is to be done comes out
//! ([`Effect`]). Whoever holds the sessions, the clock and the observer is its shell: real sessions
//! (`answer`), simulated ones (`simulator`) or recorded ones (`lab::replay`).
//!
//! Here live no runtime, no clock, no I/O and no log. Time is the [`Duration`]
//! since the question was asked, and a node is a [`NodeId`]. The same inputs at the same times give
//! the same effects.

pub mod account;
mod committed;
mod conductor;
mod delta_log;
pub mod invariants;
mod ledger;
mod port;
pub mod progress;
mod proposal;
pub mod question;
mod session;
mod shown;
mod side;
pub mod told;

use std::time::Duration;

pub use self::{
    conductor::Conductor,
    port::{Effect, Ended, Input, NodeId, NodeNames, Outcome},
};

/// The longest time that anything is waited for, and that an answer may take without a deadline.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// After the deadline a node gets this long to say what it has.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);

/// A time in microseconds.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
