//! Calibration: compares what a link really delivers with what was requested.
//!
//! A small server and a client run on this machine with the link between them (`exchange`), so the measurements are
//! what a program would see. The link itself is in [`crate::link`]; real networks are not measured here.

mod exchange;
mod table;

use std::{io, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::link::{LinkProfile, LiveLink, NotUp, Shaping};

pub use table::table;

/// How much to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// The largest number of round trips, one after the other.
    pub pings: usize,
    /// How long round trips are measured, at most; there is always at least one.
    pub ping_time: Duration,
    /// How long bytes are transferred in each direction, at most.
    pub transfer_time: Duration,
    /// How many bytes are transferred in each direction, at most.
    pub transfer_bytes: u64,
}

impl Default for Effort {
    /// A few seconds: enough for a median, not for rare stalls.
    fn default() -> Self {
        Effort::with_pings_for(Duration::from_secs(5))
    }
}

impl Effort {
    /// Measures round trips for `time`, at most a hundred per second.
    pub fn with_pings_for(time: Duration) -> Self {
        Effort {
            pings: (time.as_secs_f64() * 100.0).ceil() as usize,
            ping_time: time,
            transfer_time: Duration::from_secs(2),
            transfer_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What a link delivered, and what was requested.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The requested profile.
    pub asked: LinkProfile,
    /// The time from connecting to the first answer: one round trip for the handshake, one for the question.
    pub first_answer: Duration,
    /// Round trips of small messages on an open connection.
    pub rtt: RoundTrips,
    /// The round trips that took much longer.
    pub stalls: Stalls,
    /// The rate towards the client, in Mbit/s; absent if too few bytes arrived to measure it.
    pub down_mbit: Option<f64>,
    /// The rate from the client, in Mbit/s; absent if too few bytes arrived to measure it.
    pub up_mbit: Option<f64>,
}

/// The durations of round trips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrips {
    /// How many were measured.
    pub pings: usize,
    /// The shortest.
    pub least: Duration,
    /// The median: half of them took at most this long.
    pub median: Duration,
    /// The 95th percentile: 95 % of them took at most this long.
    pub p95: Duration,
    /// The longest.
    pub most: Duration,
}

/// Round trips that took longer than delay and jitter explain: RTT + 3 jitter + [`STALL_SLACK`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stalls {
    /// Their fraction of all round trips.
    pub share: f64,
    /// How much longer than the requested RTT the median of them took; zero without stalls.
    pub median: Duration,
    /// How much longer than the requested RTT the longest of them took.
    pub longest: Duration,
}

/// How late the machine itself may be before that counts as a stall.
pub const STALL_SLACK: Duration = Duration::from_millis(2);

/// Why a link could not be measured. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The link cannot be set up.
    #[error(transparent)]
    NotUp(#[from] NotUp),
    /// A connection over the link broke.
    #[error("link {link}: the connection broke ({why}); use a longer reset=, or none")]
    Broken {
        /// The link's name.
        link: String,
        /// The system's reason.
        why: io::Error,
    },
    /// Nothing arrived over the link for a long time.
    #[error("link {link}: nothing arrived for {waited}; lower its loss or shorten its outages")]
    Silent {
        /// The link's name.
        link: String,
        /// How long the client waited.
        waited: String,
    },
}

/// Measures what a link delivers on this machine. Takes the effort's times plus a few round trips.
///
/// # Errors
/// When the link cannot be set up or lets nothing through.
pub async fn calibrate(
    shaping: Shaping,
    profile: &LinkProfile,
    seed: u64,
    effort: Effort,
) -> Result<Calibration, CalibrateError> {
    let server = TcpListener::bind("127.0.0.1:0").await.map_err(NotUp::Loopback)?;
    let upstream = server.local_addr().map_err(NotUp::Loopback)?.to_string();
    let link = LiveLink::up(shaping, upstream, profile, seed).await?;
    let address = link.address();
    let open = || async move {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let measured = tokio::select! {
        measured = exchange::measure(open, profile, effort) => measured,
        why = serve(server, effort) => Err(NotUp::Loopback(why).into()),
    };
    // Its connections end with it, so none outlives the measurement.
    link.down().await;
    measured
}

/// Answers until it is dropped, or until the listener breaks.
async fn serve(listener: TcpListener, effort: Effort) -> io::Error {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    connections.spawn(exchange::answer(stream, effort));
                }
                Err(error) => return error,
            },
        }
    }
}

#[cfg(test)]
mod tests;
