//! A connection over the link, in paused time, where the figures are exact.
//!
//! Tokio's timer, which drives a paused clock, has a resolution of one millisecond, so the links here use whole ones.

#![allow(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]

use tokio::{
    io::{DuplexStream, duplex},
    join,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::link::Links;

struct Ends {
    client: DuplexStream,
    server: DuplexStream,
    link: JoinHandle<(io::Result<Carried>, LinkTraffic)>,
}

/// A connection over a link, with pipes that hold `pipe_bytes`.
fn over(link: &str, pipe_bytes: usize) -> Ends {
    let profile = Links::shipped().unwrap().link(link).unwrap();
    let (client, mut near) = duplex(pipe_bytes);
    let (mut far, server) = duplex(pipe_bytes);
    let clock = Clock::tokio();
    let link = tokio::spawn(async move {
        let counters = Counters::default();
        let carried = carry(&mut near, &mut far, &profile, (5, 0), &clock, &counters).await;
        (carried, counters.read())
    });
    Ends { client, server, link }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_waits_for_the_handshake_and_the_answer_takes_a_round_trip() {
    let Ends { mut client, mut server, link } = over("rtt=90ms", 1024);
    let begun = Instant::now();
    client.write_all(b"question").await.unwrap();
    let mut text = [0; 8];
    server.read_exact(&mut text).await.unwrap();
    assert_eq!((begun.elapsed(), &text), (ms(90 + 45), b"question"));
    server.write_all(b"answer!!").await.unwrap();
    client.read_exact(&mut text).await.unwrap();
    assert_eq!((begun.elapsed(), &text), (ms(90 + 90), b"answer!!"));
    drop((client, server));
    let (carried, traffic) = link.await.unwrap();
    assert_eq!(carried.unwrap(), Carried::Whole);
    assert_eq!((traffic.up.bytes, traffic.down.bytes), (8, 8));
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_close_together_does_not_wait_for_a_round_trip() {
    let Ends { mut client, mut server, .. } = over("rtt=90ms", 1024);
    let begun = Instant::now();
    let send = async {
        sleep(ms(90)).await;
        for n in 0..5u8 {
            client.write_all(&[n]).await.unwrap();
            sleep(ms(10)).await;
        }
    };
    let read = async {
        for n in 0..5u8 {
            assert_eq!(server.read_u8().await.unwrap(), n);
            assert_eq!(begun.elapsed(), ms(90 + 45 + 10 * u64::from(n)));
        }
    };
    join!(send, read);
}

#[tokio::test(start_paused = true)]
async fn the_rate_holds_and_every_byte_arrives_as_it_was() {
    // 1448 bytes take 8 ms at 1.448 mbit.
    let Ends { client, mut server, .. } = over("rtt=20ms,up=1.448mbit", 1024);
    let begun = Instant::now();
    let bytes: Vec<u8> = (0..1448u32 * 500).map(|n| (n % 251) as u8).collect();
    let sent = bytes.clone();
    let sender = tokio::spawn(async move {
        let mut client = client;
        client.write_all(&sent).await.unwrap();
        client
    });
    let mut got = vec![0; bytes.len()];
    timeout(ms(60_000), server.read_exact(&mut got)).await.unwrap().unwrap();
    assert!(got == bytes);
    assert_eq!(begun.elapsed(), ms(20 + 10 + 8 * 500));
    drop(sender.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_held_back_when_the_window_is_full() {
    let Ends { mut client, server, .. } = over("rtt=20ms,up=1.448mbit", 1024);
    let mut sent = 0;
    while let Ok(written) = timeout(ms(1_000), client.write(&[0; 512])).await {
        sent += written.unwrap();
    }
    // The window, one pipe before it, and the arrived bytes that nobody reads.
    let most = MIN_WINDOW_BYTES + 2 * 1024 + SEGMENT_BYTES;
    assert!((MIN_WINDOW_BYTES..=most).contains(&sent), "{sent}");
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_half_close_arrives_behind_the_bytes_and_leaves_the_other_half_open() {
    let Ends { mut client, mut server, link } = over("rtt=90ms", 1024);
    client.write_all(b"all").await.unwrap();
    client.shutdown().await.unwrap();
    let mut text = Vec::new();
    server.read_to_end(&mut text).await.unwrap();
    assert_eq!(text, b"all");
    let heard = Instant::now();
    sleep(ms(500)).await;
    server.write_all(b"the rest").await.unwrap();
    server.shutdown().await.unwrap();
    let mut text = Vec::new();
    client.read_to_end(&mut text).await.unwrap();
    assert_eq!((text.as_slice(), heard.elapsed()), (b"the rest".as_slice(), ms(500 + 45)));
    assert_eq!(link.await.unwrap().0.unwrap(), Carried::Whole);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_reset_at_its_age() {
    let Ends { mut client, mut server, link } = over("rtt=20ms,reset=3s", 1024);
    let begun = Instant::now();
    let mut byte = [0];
    loop {
        if client.write_all(b"x").await.is_err() || server.read_exact(&mut byte).await.is_err() {
            break;
        }
    }
    assert_eq!(begun.elapsed(), ms(3_020));
    assert_eq!(link.await.unwrap().0.unwrap(), Carried::Reset);
}

#[tokio::test(start_paused = true)]
async fn an_outage_holds_everything_back_and_loses_nothing() {
    let Ends { mut client, mut server, link } = over("rtt=20ms,outage=2s/10s", 64 * 1024);
    let sender = tokio::spawn(async move {
        for n in 0..1_500u32 {
            client.write_all(&n.to_be_bytes()).await.unwrap();
            sleep(ms(10)).await;
        }
    });
    let (mut longest, mut before) = (Duration::ZERO, None);
    for n in 0..1_500u32 {
        assert_eq!(server.read_u32().await.unwrap(), n);
        let silent = before.map_or(Duration::ZERO, |before: Instant| before.elapsed());
        longest = longest.max(silent);
        before = Some(Instant::now());
    }
    assert!(longest >= ms(2_000) && longest <= ms(3_100), "{longest:?}");
    sender.await.unwrap();
    drop(server);
    let (_, traffic) = link.await.unwrap();
    assert!(traffic.up.stalls >= 1 && traffic.up.stalled >= ms(1_000), "{traffic:?}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_ends_the_connection() {
    let Ends { mut client, server, link } = over("rtt=20ms", 1024);
    drop(server);
    let mut byte = [0];
    assert_eq!(client.read(&mut byte).await.unwrap(), 0);
    client.write_all(b"into the void").await.unwrap();
    assert!(link.await.unwrap().0.is_err());
}

#[test]
fn windows_and_pieces_are_bounded() {
    let links = Links::shipped().unwrap();
    for (link, window, piece) in [
        // 1.25 mbit for 400 ms would be less.
        ("3g-median", MIN_WINDOW_BYTES, 1448),
        ("4g-good", 18_000_000 / 8 * 170 / 1000, 1448),
        ("wifi-good", 100_000_000 / 8 * 110 / 1000, 8 * 1448),
        ("datacentre", MAX_WINDOW_BYTES, 11 * 1448),
        ("loopback", MAX_WINDOW_BYTES, 11 * 1448),
    ] {
        let profile = links.link(link).unwrap();
        let got = (window_bytes(&profile, Way::Down), piece_bytes(&profile, Way::Down));
        assert_eq!(got, (window, piece), "{link}");
    }
}
