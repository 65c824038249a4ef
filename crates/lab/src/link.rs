//! Links: the network path between two processes.
//!
//! [`Links`] holds the named profiles and parses descriptions, and [`LinkProfile`] is one of them. [`Direction`] is the
//! pure model of one direction. [`ShapingProxy`] makes live TCP connections follow it. [`LiveLink`] is a running link,
//! made by the proxy or by the kernel's netem ([`Shaping`]).
//!
//! Measuring a link is in [`crate::calibrate`]. Real networks are not covered here.
//!
//! # Example
//!
//! A link of a user's own beside the built-in ones, and a description that changes it:
//!
//! ```
//! use std::time::Duration;
//!
//! use lab::link::Links;
//!
//! let file = r#"
//!     [[link]]
//!     name = "home"
//!     rtt = "12ms"
//!     jitter = "2ms"
//!     down = "50mbit"
//!     basis = "ping and a speed test"
//! "#;
//! let links = Links::shipped()?.and(Links::parse("mine.toml", file)?);
//!
//! let worse = links.link("home,loss=1%")?;
//! assert_eq!((worse.rtt, worse.loss), (Duration::from_millis(12), 0.01));
//! assert_eq!(worse.up, None, "a property that is not named sets no limit");
//! // What is printed describes the same link.
//! assert_eq!(worse.to_string(), "rtt=12ms,jitter=2ms,down=50mbit,loss=1%");
//! assert_eq!(links.link(&worse.to_string())?.loss, worse.loss);
//!
//! let unknown = links.link("hme").unwrap_err();
//! assert!(unknown.to_string().contains("the nearest: home"), "{unknown}");
//! # Ok::<(), lab::link::LinkError>(())
//! ```

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
