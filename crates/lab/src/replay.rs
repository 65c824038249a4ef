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

mod conditions;
mod error;
mod exchange;
mod node;
mod recording;
mod replayed;
mod sizes;
mod warming;

pub use self::{
    conditions::Conditions,
    error::ReplayError,
    recording::{RecordedOver, Recording},
    replayed::{Doubt, Replayed},
};

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
