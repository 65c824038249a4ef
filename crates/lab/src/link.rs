//! Links: the network path between two processes.
//!
//! [`Links`] holds the profiles that have a name and reads descriptions, [`LinkProfile`] is one of them,
//! [`Direction`] is the pure model of one direction.
//!
//! What does not live here: sockets, and the real network.

mod catalogue;
mod fault;
mod profile;
mod rate;
mod shaper;

pub use catalogue::Links;
pub use fault::{LinkError, LinkFault};
pub use profile::{LinkProfile, Outage, Way};
pub use rate::{NotARate, Rate};
pub use shaper::{Direction, Passed, SEGMENT_BYTES, connect};
