//! Links: the network path between two processes.
//!
//! [`Links`] holds the profiles that have a name and reads descriptions, [`LinkProfile`] is one of
//! them, [`Direction`] is the pure model of one direction, [`ShapingProxy`] makes live TCP
//! connections behave by it. [`LiveLink`] is a link that is up: by the proxy, or by the kernel's
//! netem ([`Shaping`]).
//!
//! What does not live here: measuring a link ([`crate::calibrate`]), and the real network.

mod catalogue;
mod clock;
#[cfg(target_os = "linux")]
mod discipline;
mod fault;
mod live;
#[cfg(target_os = "linux")]
mod netem;
mod profile;
mod proxy;
mod pump;
mod rate;
mod shaper;

/// Only Linux has network namespaces.
#[cfg(not(target_os = "linux"))]
mod netem {
    use tokio::net::TcpListener;

    use super::{LinkProfile, NetemError};

    #[derive(Debug)]
    pub(super) enum Held {}

    pub(super) async fn up(_: &LinkProfile, _: u64) -> Result<(TcpListener, Held), NetemError> {
        Err(NetemError::NotLinux)
    }
}

pub use catalogue::Links;
pub use fault::{LinkError, LinkFault, NetemError, NotUp};
pub use live::{LiveLink, Shaping};
pub use profile::{LinkProfile, Outage, Way};
pub use proxy::{MAX_CONNECTIONS, ShapingProxy};
pub use pump::{LinkTraffic, WayTraffic};
pub use rate::{NotARate, Rate};
pub use shaper::{Direction, Passed, SEGMENT_BYTES, connect};

#[cfg(test)]
pub(crate) use {
    clock::Clock,
    pump::{Counters, carry},
};
