//! The two ends of a calibration: the client's requests and the server's answers.
//!
//! A connection's first byte selects its purpose. `E`: everything is echoed. `D`: the server sends bytes as fast as
//! possible. `U`: the server receives bytes as fast as possible and, after a while, returns their number and the time.
//! Generic over streams, so that a test can run it in simulated time; the sockets are elsewhere.

use std::{future::Future, io, time::Duration};

use grading::quantile::quantile;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    time::{Instant, timeout},
};

use super::{CalibrateError, Calibration, Effort, RoundTrips, STALL_SLACK, Stalls};
use crate::link::LinkProfile;

/// As small as the messages of a takeover.
const PING_BYTES: usize = 64;
const BLOCK_BYTES: usize = 16 * 1024;

/// Measures over the connections that `open` makes.
pub(super) async fn measure<S, F>(
    open: impl Fn() -> F,
    profile: &LinkProfile,
    effort: Effort,
) -> Result<Calibration, CalibrateError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = io::Result<S>>,
{
    let outage = profile.outage.map_or(Duration::ZERO, |outage| outage.lasts);
    let patience = Duration::from_secs(30) + effort.transfer_time + 4 * (profile.rtt + outage);
    let broken = |why| CalibrateError::Broken { link: profile.name.clone(), why };
    let silent = |_| CalibrateError::Silent {
        link: profile.name.clone(),
        waited: humantime::format_duration(patience).to_string(),
    };
    let (first_answer, mut times) =
        ping(&open, profile, effort, patience).await.map_err(|why| {
            if why.kind() == io::ErrorKind::TimedOut { silent(()) } else { broken(why) }
        })?;
    let down = timeout(patience, download(&open, effort)).await.map_err(|_| silent(()))?;
    let up = timeout(patience, upload(&open)).await.map_err(|_| silent(()))?;
    times.sort_unstable();
    let stalls = stalls(&times, profile);
    let rtt = round_trips(&times);
    // A reset by the profile ends a transfer, but not the calibration.
    let whole = |rate: io::Result<Option<f64>>| match rate {
        Err(_) if profile.reset.is_some() => Ok(None),
        rate => rate.map_err(broken),
    };
    let (down_mbit, up_mbit) = (whole(down)?, whole(up)?);
    Ok(Calibration { asked: profile.clone(), first_answer, rtt, stalls, down_mbit, up_mbit })
}

/// Sends messages and waits for their echo, repeatedly; a connection that is reset is opened again.
async fn ping<S, F>(
    open: &impl Fn() -> F,
    profile: &LinkProfile,
    effort: Effort,
    patience: Duration,
) -> io::Result<(Duration, Vec<Duration>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = io::Result<S>>,
{
    let begun = Instant::now();
    let mut first_answer = None;
    let mut times = Vec::new();
    loop {
        let had = times.len();
        let connected = Instant::now();
        let mut stream = open().await?;
        let mut new = true;
        let broke = loop {
            let enough = times.len() >= effort.pings || begun.elapsed() >= effort.ping_time;
            if let Some(first_answer) = first_answer.filter(|_| enough && !times.is_empty()) {
                return Ok((first_answer, times));
            }
            let asked = Instant::now();
            match timeout(patience, echo(&mut stream, new)).await {
                Err(late) => return Err(late.into()),
                Ok(Err(error)) => break error,
                // The first one includes the handshake.
                Ok(Ok(())) if new => first_answer = first_answer.or(Some(connected.elapsed())),
                Ok(Ok(())) => times.push(asked.elapsed()),
            }
            new = false;
        };
        if profile.reset.is_none() || times.len() == had {
            return Err(broke);
        }
    }
}

async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), first: bool) -> io::Result<()> {
    let mut message = [b'e'; PING_BYTES];
    if first {
        message[0] = b'E';
    }
    stream.write_all(&message).await?;
    stream.read_exact(&mut message).await?;
    Ok(())
}

async fn download<S, F>(open: &impl Fn() -> F, effort: Effort) -> io::Result<Option<f64>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = io::Result<S>>,
{
    let mut stream = open().await?;
    stream.write_all(b"D").await?;
    let (bytes, time) = take(&mut stream, effort).await?;
    Ok(mbit(bytes, time))
}

async fn upload<S, F>(open: &impl Fn() -> F) -> io::Result<Option<f64>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = io::Result<S>>,
{
    let mut stream = open().await?;
    stream.write_all(b"U").await?;
    let (mut from, mut to) = split(stream);
    let mut result = [0; 16];
    tokio::select! {
        read = from.read_exact(&mut result) => read?,
        sent = give(&mut to) => return sent.map(|()| None),
    };
    let [bytes, nanoseconds] = [0, 8].map(|at| {
        let mut number = [0; 8];
        number.copy_from_slice(&result[at..at + 8]);
        u64::from_be_bytes(number)
    });
    Ok(mbit(bytes, Duration::from_nanos(nanoseconds)))
}

/// Serves one connection. It ends when the client goes away.
pub(super) async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, effort: Effort) {
    let _ = match stream.read_u8().await {
        Ok(b'D') => give(&mut stream).await,
        Ok(b'U') => take_and_tell(stream, effort).await,
        Ok(b'E') => repeat(stream).await,
        Ok(_) | Err(_) => Ok(()),
    };
}

async fn repeat(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut message = [0; PING_BYTES];
    // The byte that selected the purpose is part of the first message.
    stream.read_exact(&mut message[1..]).await?;
    loop {
        stream.write_all(&message).await?;
        stream.read_exact(&mut message).await?;
    }
}

async fn take_and_tell(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    effort: Effort,
) -> io::Result<()> {
    let (bytes, time) = take(&mut stream, effort).await?;
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    stream.write_all(&bytes.to_be_bytes()).await?;
    stream.write_all(&nanoseconds.to_be_bytes()).await?;
    // Closing with unread bytes would break the connection before the result arrives.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(|_| ())
}

/// Sends until the other side closes the connection.
async fn give(to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let block = vec![b'.'; BLOCK_BYTES];
    loop {
        to.write_all(&block).await?;
    }
}

/// Receives bytes for a while; returns how many arrived after the first ones, and in what time.
async fn take(from: &mut (impl AsyncRead + Unpin), effort: Effort) -> io::Result<(u64, Duration)> {
    let mut block = vec![0; BLOCK_BYTES];
    if from.read(&mut block).await? == 0 {
        return Ok((0, Duration::ZERO));
    }
    let begun = Instant::now();
    let (mut bytes, mut time) = (0, Duration::ZERO);
    while bytes < effort.transfer_bytes && time < effort.transfer_time {
        match from.read(&mut block).await {
            Ok(0) | Err(_) => break,
            Ok(more) => bytes += more as u64,
        }
        time = begun.elapsed();
    }
    Ok((bytes, time))
}

fn mbit(bytes: u64, time: Duration) -> Option<f64> {
    (bytes > 0 && !time.is_zero()).then(|| bytes as f64 * 8.0 / 1e6 / time.as_secs_f64())
}

/// Summarises sorted times.
fn round_trips(times: &[Duration]) -> RoundTrips {
    RoundTrips {
        pings: times.len(),
        least: times.first().copied().unwrap_or_default(),
        median: quantile(times, 0.5).unwrap_or_default(),
        p95: quantile(times, 0.95).unwrap_or_default(),
        most: times.last().copied().unwrap_or_default(),
    }
}

fn stalls(times: &[Duration], profile: &LinkProfile) -> Stalls {
    let limit = profile.rtt + profile.jitter * 3 + STALL_SLACK;
    let late = &times[times.partition_point(|time| *time <= limit)..];
    let beyond = |time: Duration| time.saturating_sub(profile.rtt);
    Stalls {
        share: late.len() as f64 / times.len().max(1) as f64,
        median: beyond(quantile(late, 0.5).unwrap_or_default()),
        longest: beyond(late.last().copied().unwrap_or_default()),
    }
}
