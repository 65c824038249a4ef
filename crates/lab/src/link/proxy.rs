//! A TCP proxy whose connections follow a link's profile, without root.
//!
//! It runs between a client and a server on any machine. Each connection has the whole rate of the link, as if its
//! client were the link's only one; outages are the link's and hit all of them at once. How bytes are delayed is in
//! `pump` and `shaper`.

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
/// The pause after a failed `accept`, for instance for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running proxy. Dropping it ends it and every connection through it.
#[derive(Debug)]
pub struct ShapingProxy {
    address: SocketAddr,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl ShapingProxy {
    /// Starts a proxy: a connection to `listener` reaches `upstream` (`HOST:PORT`) over a link with this profile, until
    /// the shutdown, which cuts every connection. The link's time begins now.
    ///
    /// # Errors
    /// When the listener has no address, or no thread can be started.
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

    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the traffic so far.
    pub fn traffic(&self) -> LinkTraffic {
        self.counters.read()
    }

    /// Waits until it has ended after its shutdown, and returns its traffic.
    pub async fn ended(mut self) -> LinkTraffic {
        // It fails only if the task panicked or the runtime is shutting down, and then it has ended too.
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
        // A refusal takes a round trip too.
        link.clock.until(link.clock.now() + link.profile.rtt).await;
        let _ = client.set_zero_linger();
        return;
    };
    // Otherwise the system would hold back small writes, and the link's delay would not be the model's.
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
    // Both sides see a broken connection, not one that ended.
    let _ = (client.set_zero_linger(), upstream.set_zero_linger());
}

/// Counts a connection as open until it is dropped.
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
