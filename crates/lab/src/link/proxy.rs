//! A TCP proxy whose connections behave as a link's profile says, without root.
//!
//! It stands between a client and a server on any machine. Each connection has the whole rate of the link to itself, as
//! if its client were the link's only one; outages are the link's and hit all of them at once. What does not live here:
//! how bytes are delayed (`pump`, `shaper`).

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    select,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    LinkProfile,
    clock::Clock,
    pump::{Carried, Counters, LinkTraffic, carry},
};

/// Connections at a time; further ones wait to be accepted.
pub const MAX_CONNECTIONS: usize = 256;
/// How long the real connection to the upstream may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A proxy that runs. Dropping it ends it and every connection through it.
#[derive(Debug)]
pub struct ShapingProxy {
    address: SocketAddr,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl ShapingProxy {
    /// Starts a proxy: what connects to `listener` reaches `upstream` (`HOST:PORT`) over a link of this profile, until
    /// the shutdown, which cuts every connection. The link's time begins now.
    ///
    /// # Errors
    /// When the listener has no address, or no thread can be had.
    pub fn start(
        listener: TcpListener,
        upstream: String,
        profile: LinkProfile,
        seed: u64,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let counters = Arc::new(Counters::default());
        let link = Link {
            upstream,
            profile,
            seed,
            clock: Clock::fine()?,
            counters: Arc::clone(&counters),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "its handle is kept; dropping this aborts it"
        )]
        let task = tokio::spawn(serve(listener, Arc::new(link), shutdown));
        Ok(ShapingProxy { address, counters, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has gone through it so far.
    pub fn traffic(&self) -> LinkTraffic {
        self.counters.read()
    }

    /// Waits until it has ended after its shutdown, and says what has gone through it.
    pub async fn ended(mut self) -> LinkTraffic {
        // It fails only where it panicked or the runtime is going: then it has ended too.
        let _ = (&mut self.task).await;
        self.counters.read()
    }
}

impl Drop for ShapingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What all connections share.
struct Link {
    upstream: String,
    profile: LinkProfile,
    seed: u64,
    clock: Clock,
    counters: Arc<Counters>,
}

async fn serve(listener: TcpListener, link: Arc<Link>, shutdown: impl Future<Output = ()>) {
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    let number = link.counters.connections.fetch_add(1, Relaxed);
                    connections.spawn(connection(client, Arc::clone(&link), number));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    connections.shutdown().await;
}

async fn connection(mut client: TcpStream, link: Arc<Link>, number: u64) {
    let _open = Open::new(&link.counters);
    let upstream = timeout(CONNECT_TIMEOUT, transport::connect_tcp(&link.upstream)).await;
    let Ok(Ok(mut upstream)) = upstream else {
        link.counters.refused.fetch_add(1, Relaxed);
        // A refusal comes back after a round trip too.
        link.clock.until(link.clock.now() + link.profile.rtt).await;
        let _ = client.set_zero_linger();
        return;
    };
    // Else the system would hold small writes back, and the link's delay would not be the model's.
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let seeds = (link.seed, number);
    let carried =
        carry(&mut client, &mut upstream, &link.profile, seeds, &link.clock, &link.counters).await;
    match carried {
        Ok(Carried::Whole) => return,
        Ok(Carried::Reset) => {
            link.counters.reset.fetch_add(1, Relaxed);
        }
        Err(_) => {}
    }
    // Both sides see a connection that broke, not one that ended.
    let _ = (client.set_zero_linger(), upstream.set_zero_linger());
}

/// Counts a connection while it is there, however it goes.
struct Open<'a>(&'a Counters);

impl<'a> Open<'a> {
    fn new(counters: &'a Counters) -> Self {
        counters.open.fetch_add(1, Relaxed);
        Open(counters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
