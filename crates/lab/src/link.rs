//! Links: the network path between two processes.
//!
//! [`Links`] holds the profiles that have a name and reads descriptions, [`LinkProfile`] is one of them,
//! [`Direction`] is the pure model of one direction, [`ShapingProxy`] makes live TCP connections behave by it.
//!
//! What does not live here: measuring a link ([`crate::calibrate`]), and the real network.

mod catalogue;
mod clock;
mod fault;
mod profile;
mod proxy;
mod pump;
mod rate;
mod shaper;

pub use catalogue::Links;
pub use fault::{LinkError, LinkFault};
pub use profile::{LinkProfile, Outage, Way};
pub use proxy::{MAX_CONNECTIONS, ShapingProxy};
pub use pump::{Traffic, WayTraffic};
pub use rate::{NotARate, Rate};
pub use shaper::{Direction, Passed, SEGMENT_BYTES, connect};

#[cfg(test)]
pub(crate) use {
    clock::Clock,
    pump::{Counters, carry},
};
