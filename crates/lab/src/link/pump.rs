//! One connection over a link: bytes are read, held until they arrive according to the model, and written on.
//!
//! Generic over streams, so that it runs over sockets in real time and over pipes in paused time alike. Sockets are in
//! `proxy`, and arrival times in `shaper`.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    select,
    sync::{
        Semaphore,
        mpsc::{self, Receiver, Sender},
    },
    try_join,
};

use super::{Direction, LinkProfile, SEGMENT_BYTES, Way, clock::Clock, connect};

/// The smallest and the largest window of one direction of a connection.
const MIN_WINDOW_BYTES: usize = 64 * 1024;
const MAX_WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// A direction holds the bytes in flight plus a queue of this length in time.
const BUFFER: Duration = Duration::from_millis(100);
/// The most pieces that one direction holds, however small they are.
const MAX_PIECES: usize = 4096;
/// A piece takes this long to send, or is one segment: the resolution of the model.
const GRAIN: Duration = Duration::from_millis(1);
const MAX_PIECE_BYTES: usize = 16 * 1024;

/// The traffic through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkTraffic {
    /// Accepted connections.
    pub connections: u64,
    /// Connections of these that are still open.
    pub open: u64,
    /// Connections of these that the profile has reset.
    pub reset: u64,
    /// Connections of these for which there was no upstream.
    pub refused: u64,
    /// Towards the clients.
    pub down: WayTraffic,
    /// From the clients.
    pub up: WayTraffic,
}

/// The traffic in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WayTraffic {
    /// Bytes delivered.
    pub bytes: u64,
    /// Pieces that waited for a retransmission or the end of an outage.
    pub stalls: u64,
    /// How long they waited in total.
    pub stalled: Duration,
}

/// The counters behind [`LinkTraffic`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) reset: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) down: WayCounters,
    pub(crate) up: WayCounters,
}

#[derive(Debug, Default)]
pub(crate) struct WayCounters {
    bytes: AtomicU64,
    stalls: AtomicU64,
    stalled_ns: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> LinkTraffic {
        LinkTraffic {
            connections: self.connections.load(Relaxed),
            open: self.open.load(Relaxed),
            reset: self.reset.load(Relaxed),
            refused: self.refused.load(Relaxed),
            down: self.down.read(),
            up: self.up.read(),
        }
    }
}

impl WayCounters {
    fn read(&self) -> WayTraffic {
        WayTraffic {
            bytes: self.bytes.load(Relaxed),
            stalls: self.stalls.load(Relaxed),
            stalled: Duration::from_nanos(self.stalled_ns.load(Relaxed)),
        }
    }

    /// Passes a piece to the model, and counts its stall.
    fn send(&self, direction: &mut Direction, now: Duration, bytes: usize) -> Duration {
        let before = direction.passed();
        let at = direction.send(now, bytes);
        let after = direction.passed();
        if after.stalls > before.stalls {
            self.stalls.fetch_add(1, Relaxed);
            let stalled = after.stalled.saturating_sub(before.stalled).as_nanos();
            self.stalled_ns.fetch_add(u64::try_from(stalled).unwrap_or(u64::MAX), Relaxed);
        }
        at
    }
}

/// How a connection over the link ended, if neither stream failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Both sides closed it.
    Whole,
    /// The profile resets connections of this age.
    Reset,
}

/// Carries a connection over the link from its handshake to its end.
///
/// # Errors
/// When one of the two streams breaks; bytes in flight are then lost.
pub(crate) async fn carry<C, U>(
    client: &mut C,
    upstream: &mut U,
    profile: &LinkProfile,
    (seed, connection): (u64, u64),
    clock: &Clock,
    counters: &Counters,
) -> io::Result<Carried>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let [mut up, mut down] =
        [Way::Up, Way::Down].map(|way| Direction::new(profile, way, seed, connection));
    let begun = clock.now();
    let made = connect(&mut up, &mut down, begun);
    clock.until(made).await;
    let (from_client, to_client) = split(client);
    let (from_upstream, to_upstream) = split(upstream);
    let pumps = async {
        try_join!(
            Pump::new(profile, Way::Up, up, clock, &counters.up).run(from_client, to_upstream),
            Pump::new(profile, Way::Down, down, clock, &counters.down)
                .run(from_upstream, to_client),
        )
    };
    let reset = async {
        match profile.reset {
            Some(age) => clock.until(made + age).await,
            None => std::future::pending().await,
        }
    };
    select! {
        done = pumps => done.map(|_| Carried::Whole),
        () = reset => Ok(Carried::Reset),
    }
}

/// One direction of a connection.
struct Pump<'a> {
    direction: Direction,
    clock: &'a Clock,
    counters: &'a WayCounters,
    window_bytes: usize,
    piece_bytes: usize,
}

/// Bytes in flight, and when they arrive.
struct Piece {
    at: Duration,
    load: Load,
}

enum Load {
    Bytes(Box<[u8]>),
    /// The sender will send no more.
    End,
    /// The sender's connection broke.
    Broken(io::Error),
}

impl<'a> Pump<'a> {
    fn new(
        profile: &LinkProfile,
        way: Way,
        direction: Direction,
        clock: &'a Clock,
        counters: &'a WayCounters,
    ) -> Self {
        let (window_bytes, piece_bytes) = (window_bytes(profile, way), piece_bytes(profile, way));
        Pump { direction, clock, counters, window_bytes, piece_bytes }
    }

    async fn run(
        self,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let window = Semaphore::new(self.window_bytes);
        let (sender, pieces) = mpsc::channel(MAX_PIECES);
        let (clock, counters) = (self.clock, self.counters);
        try_join!(self.fill(from, sender, &window), drain(to, pieces, &window, clock, counters))?;
        Ok(())
    }

    /// Reads bytes while the window has room for them.
    async fn fill(
        mut self,
        mut from: impl AsyncRead + Unpin,
        pieces: Sender<Piece>,
        window: &Semaphore,
    ) -> io::Result<()> {
        let mut buffer = vec![0; self.piece_bytes];
        let permits = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        loop {
            let mut room = window.acquire_many(permits).await.map_err(io::Error::other)?;
            let load = match from.read(&mut buffer).await {
                Ok(0) => Load::End,
                Ok(bytes) => {
                    if let Some(used) = room.split(bytes) {
                        used.forget();
                    }
                    Load::Bytes(buffer[..bytes].into())
                }
                Err(error) => Load::Broken(error),
            };
            drop(room);
            let bytes = match &load {
                Load::Bytes(bytes) => bytes.len(),
                Load::End | Load::Broken(_) => 0,
            };
            let last = bytes == 0;
            let at = self.counters.send(&mut self.direction, self.clock.now(), bytes);
            // An error means that the other half has failed, which reports it itself.
            if pieces.send(Piece { at, load }).await.is_err() || last {
                return Ok(());
            }
        }
    }
}

/// Writes the pieces as they arrive.
async fn drain(
    mut to: impl AsyncWrite + Unpin,
    mut pieces: Receiver<Piece>,
    window: &Semaphore,
    clock: &Clock,
    counters: &WayCounters,
) -> io::Result<()> {
    while let Some(Piece { at, load }) = pieces.recv().await {
        clock.until(at).await;
        match load {
            Load::Bytes(bytes) => {
                to.write_all(&bytes).await?;
                counters.bytes.fetch_add(bytes.len() as u64, Relaxed);
                window.add_permits(bytes.len());
            }
            Load::End => return to.shutdown().await,
            Load::Broken(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns what one direction holds: the bytes in flight in a round trip, and a queue.
pub(super) fn window_bytes(profile: &LinkProfile, way: Way) -> usize {
    let bytes = profile.rate(way).map(|rate| rate.bytes_in(profile.rtt + BUFFER));
    bytes.unwrap_or(MAX_WINDOW_BYTES).clamp(MIN_WINDOW_BYTES, MAX_WINDOW_BYTES)
}

fn piece_bytes(profile: &LinkProfile, way: Way) -> usize {
    let bytes = profile.rate(way).map_or(MAX_PIECE_BYTES, |rate| rate.bytes_in(GRAIN));
    let segments = bytes.min(MAX_PIECE_BYTES) / SEGMENT_BYTES;
    segments.max(1) * SEGMENT_BYTES
}

#[cfg(test)]
mod tests;
