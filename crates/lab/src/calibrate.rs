//! Calibration: what a link really gives, beside what was asked.
//!
//! A small server and a client stand on this machine with the link between them (`exchange`); what is measured is
//! what a program would see. What does not live here: the link itself ([`crate::link`]), and real networks.

mod exchange;
mod table;

use std::{io, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::link::{LinkProfile, LiveLink, NotUp, Shaping};

pub use table::table;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Round trips, one after the other, at most.
    pub pings: usize,
    /// For how long there are round trips, at most; there is always one.
    pub ping_time: Duration,
    /// How long bytes go each way, at most.
    pub transfer_time: Duration,
    /// How many bytes go each way, at most.
    pub transfer_bytes: u64,
}

impl Default for Effort {
    /// Seconds: enough for a median, not for rare stalls.
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

/// What a link gave, beside what was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// What was asked.
    pub asked: LinkProfile,
    /// From connecting to the first answer: a round trip for the handshake, one for the question.
    pub first_answer: Duration,
    /// Round trips of small messages on a connection that is there.
    pub rtt: RoundTrips,
    /// Those of them that took much longer.
    pub stalls: Stalls,
    /// Towards the client, in Mbit/s; absent: too little came to tell.
    pub down_mbit: Option<f64>,
    /// From the client, in Mbit/s; absent: too little came to tell.
    pub up_mbit: Option<f64>,
}

/// How long round trips took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrips {
    /// How many.
    pub pings: usize,
    /// The shortest.
    pub least: Duration,
    /// Half of them took at most that long.
    pub median: Duration,
    /// 95 % of them took at most that long.
    pub p95: Duration,
    /// The longest.
    pub most: Duration,
}

/// Round trips that took longer than delay and jitter explain: RTT + 3 jitter + [`STALL_SLACK`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stalls {
    /// Their share of all.
    pub share: f64,
    /// By how much the median of them was longer than the RTT that was asked; zero without stalls.
    pub median: Duration,
    /// The same of the longest.
    pub longest: Duration,
}

/// What the machine itself may be late by before it counts as a stall.
pub const STALL_SLACK: Duration = Duration::from_millis(2);

/// Why a link could not be measured. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The link cannot be put up.
    #[error(transparent)]
    NotUp(#[from] NotUp),
    /// A connection over the link broke.
    #[error("link {link}: the connection broke ({why}); take a longer reset=, or none")]
    Broken {
        /// The link's name.
        link: String,
        /// The system's reason.
        why: io::Error,
    },
    /// Nothing came over the link for a long time.
    #[error("link {link}: nothing came for {waited}; lower its loss or shorten its outages")]
    Silent {
        /// The link's name.
        link: String,
        /// How long was waited.
        waited: String,
    },
}

/// Measures what a link gives on this machine; takes the effort's times, and some round trips more.
///
/// # Errors
/// When the link cannot be put up or lets nothing through.
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

/// Answers until it is dropped, or the listener breaks.
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
