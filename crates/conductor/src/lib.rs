//! One answer as a pure machine.
//!
//! [`Conductor`] drives a policy over a small and a large node through one function, [`Conductor::step`]: it takes what
//! happened and when ([`Input`]) and returns what to do ([`Effect`]). The code that holds the sessions, the clock and
//! the observer is the machine's shell. There are shells over real sessions (`answer`), simulated ones (`simulator`)
//! and recorded ones (`lab::replay`).
//!
//! The crate has no runtime, clock, I/O or log. Time is the [`Duration`] since the question was asked, and a node is a
//! [`NodeId`]. The same inputs at the same times give the same effects.

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

/// The longest time that anything is waited for, and that an answer without a deadline may take.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How long a node gets after the deadline to send what it has.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);

/// Returns a time in microseconds.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
