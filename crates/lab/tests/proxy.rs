//! The proxy over real sockets on loopback: what only sockets can show. Delays are tested in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{io, time::Duration};

use lab::link::{LinkProfile, Links, ShapingProxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{Instant, timeout},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn link(text: &str) -> LinkProfile {
    Links::shipped().unwrap().link(text).unwrap()
}

struct Over {
    client: TcpStream,
    server: TcpStream,
    proxy: ShapingProxy,
    stop: oneshot::Sender<()>,
}

async fn proxy_to(upstream: String, profile: LinkProfile) -> (ShapingProxy, oneshot::Sender<()>) {
    let (stop, stopped) = oneshot::channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shutdown = async {
        let _ = stopped.await;
    };
    (ShapingProxy::start(listener, upstream, profile, 1, shutdown).unwrap(), stop)
}

async fn over(profile: LinkProfile) -> Over {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (proxy, stop) = proxy_to(listener.local_addr().unwrap().to_string(), profile).await;
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (server, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    Over { client, server, proxy, stop }
}

#[tokio::test]
async fn bytes_come_through_unchanged_both_ways_and_are_counted() {
    let Over { mut client, mut server, proxy, stop } = over(link("loopback")).await;
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n % 253) as u8).collect();
    let echo = async {
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        server.write_all(&got).await.unwrap();
        server.shutdown().await.unwrap();
    };
    let ask = async {
        client.write_all(&bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert!(got == bytes);
    };
    timeout(PATIENCE, async { tokio::join!(echo, ask) }).await.unwrap();
    stop.send(()).unwrap();
    let traffic = proxy.ended().await;
    assert_eq!((traffic.up.bytes, traffic.down.bytes), (300_000, 300_000));
    assert_eq!((traffic.connections, traffic.open, traffic.refused), (1, 0, 0));
}

#[tokio::test]
async fn a_reset_is_seen_as_one_by_both_sides() {
    let Over { mut client, mut server, proxy, stop: _stop } =
        over(link("rtt=2ms,reset=50ms")).await;
    let mut byte = [0];
    for stream in [&mut client, &mut server] {
        let error = timeout(PATIENCE, stream.read(&mut byte)).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    assert_eq!(proxy.traffic().reset, 1);
}

#[tokio::test]
async fn the_shutdown_cuts_what_is_open() {
    let Over { mut client, server: _server, proxy, stop } = over(link("loopback")).await;
    stop.send(()).unwrap();
    let traffic = timeout(PATIENCE, proxy.ended()).await.unwrap();
    assert_eq!(traffic.open, 0);
    let mut byte = [0];
    let end = timeout(PATIENCE, client.read(&mut byte)).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)));
}

#[tokio::test]
async fn without_an_upstream_the_client_is_told_after_a_round_trip() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = free.local_addr().unwrap().to_string();
    drop(free);
    let (proxy, _stop) = proxy_to(upstream, link("rtt=20ms")).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let begun = Instant::now();
    let mut byte = [0];
    let end = timeout(PATIENCE, client.read(&mut byte)).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)));
    assert!(begun.elapsed() >= Duration::from_millis(15));
    assert_eq!(proxy.traffic().refused, 1);
}
