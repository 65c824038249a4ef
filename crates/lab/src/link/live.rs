//! A running link: a connection to its address reaches the upstream over it.
//!
//! How it is slowed down is in `proxy` and `netem`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::oneshot};

use super::{LinkProfile, LinkTraffic, NotUp, ShapingProxy, netem};

/// What makes a link slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shaping {
    /// The model of a link, in a proxy: seeded, and without root.
    #[default]
    Proxy,
    /// The kernel's netem, between network namespaces: real packets under the system's own TCP. Needs root, on Linux.
    Netem,
}

/// A running link with a profile; it ends when dropped.
#[derive(Debug)]
pub struct LiveLink {
    proxy: ShapingProxy,
    stop: oneshot::Sender<()>,
    /// Declared after the proxy, whose listener is at its far end.
    netem: Option<netem::Held>,
}

impl LiveLink {
    /// Starts a link: a connection to its address reaches `upstream` (`HOST:PORT`). The link's time begins now.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn up(
        shaping: Shaping,
        upstream: String,
        profile: &LinkProfile,
        seed: u64,
    ) -> Result<LiveLink, NotUp> {
        let (listener, profile, netem) = match shaping {
            Shaping::Proxy => {
                let listener = TcpListener::bind("127.0.0.1:0").await.map_err(NotUp::Loopback)?;
                (listener, profile.clone(), None)
            }
            Shaping::Netem => {
                let (listener, held) = netem::up(profile, seed).await?;
                // What remains for the proxy to do.
                let LinkProfile { name, reset, .. } = profile.clone();
                (listener, LinkProfile { name, reset, ..LinkProfile::default() }, Some(held))
            }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let proxy = ShapingProxy::start(listener, upstream, profile, seed, shutdown);
        Ok(LiveLink { proxy: proxy.map_err(NotUp::Loopback)?, stop, netem })
    }

    /// Checks that this machine can run a link of this profile and kind.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn possible(shaping: Shaping, profile: &LinkProfile) -> Result<(), NotUp> {
        // Nothing connects to this address.
        Self::up(shaping, "127.0.0.1:9".to_owned(), profile, 0).await?.down().await;
        Ok(())
    }

    /// Returns the address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Returns the traffic so far. Stalls of real packets are not counted.
    pub fn traffic(&self) -> LinkTraffic {
        self.proxy.traffic()
    }

    /// Returns whether its stalls are counted.
    pub fn counts_stalls(&self) -> bool {
        self.netem.is_none()
    }

    /// Takes it down with all its connections, and returns its traffic.
    pub async fn down(self) -> LinkTraffic {
        let _ = self.stop.send(());
        self.proxy.ended().await
    }
}
