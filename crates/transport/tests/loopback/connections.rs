//! Peers that connect and send nothing, and more peers than there are places.

use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use thinking::thinker::{Code, Event, Thinker as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use transport::ServerTls;

use crate::support::{Gated, Node, Pki, SOON, failure_of_open, next, open, opened, propose, until};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame, and one that acknowledges the peer's.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const SETTINGS_ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];

async fn connect(node: &Node) -> TcpStream {
    TcpStream::connect(("127.0.0.1", node.port)).await.unwrap()
}

/// Returns how long it took until the node hung up.
async fn hung_up(mut stream: TcpStream) -> Duration {
    let begin = Instant::now();
    let read_on = async { while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} };
    timeout(Duration::from_secs(3600), read_on).await.expect("it is still open after an hour");
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn one_that_makes_no_call_is_hung_up_on() {
    let node = Node::start(Arc::new(Gated::new())).await;
    let half = &PREFACE[..10];
    let whole = [PREFACE, SETTINGS, SETTINGS_ACK].concat();
    for bytes in [b"", half, PREFACE, &whole] {
        let mut stream = connect(&node).await;
        stream.write_all(bytes).await.unwrap();
        let waited = hung_up(stream).await;
        assert!(waited.abs_diff(Duration::from_secs(20)) < Duration::from_secs(2), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_says_nothing_before_or_after_tls_is_hung_up_on() {
    let pki = Pki::new();
    let (cert, key) = (pki.file("server.pem"), pki.file("server.key"));
    let tls = Some(ServerTls { cert, key, client_ca: None });
    let node = Node::with(Arc::new(Gated::new()), |config| config.tls = tls).await;
    let waited = hung_up(connect(&node).await).await;
    assert!(waited <= Duration::from_secs(11), "{waited:?}");

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.file("ca.pem")).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols.push(b"h2".to_vec());
    let mut tls = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = connect(&node).await;
    while tls.is_handshaking() {
        let mut out = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut out).unwrap();
        }
        stream.write_all(&out).await.unwrap();
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        let mut bytes = &bytes[..read];
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes).unwrap();
            tls.process_new_packets().unwrap();
        }
    }
    let mut out = Vec::new();
    tls.write_tls(&mut out).unwrap();
    stream.write_all(&out).await.unwrap();
    let waited = hung_up(stream).await;
    assert!(waited.abs_diff(Duration::from_secs(20)) < Duration::from_secs(2), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn one_without_a_session_is_kept_for_a_while() {
    let node = Node::with(Arc::new(Gated::new()), |config| config.max_connections = 1).await;
    let first = node.remote();
    drop(opened(&first).await);
    sleep(Duration::from_secs(200)).await;
    let failure = failure_of_open(&node.remote()).await;
    assert_eq!(failure.code, Code::Unavailable, "{failure}");
    sleep(Duration::from_secs(200)).await;
    drop(opened(&node.remote()).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_hung_up_on_connects_again() {
    let node = Node::start(Arc::new(Gated::new())).await;
    let remote = node.remote();
    for _ in 0..3 {
        drop(opened(&remote).await);
        sleep(Duration::from_secs(400)).await;
    }
}

#[tokio::test]
async fn one_too_many_is_refused_and_the_others_go_on() {
    let gated = Gated::new();
    let node = Node::with(Arc::new(gated.clone()), |config| config.max_connections = 2).await;
    let mut first = opened(&node.remote()).await;
    let second = opened(&node.remote()).await;
    let failure = failure_of_open(&node.remote()).await;
    assert_eq!(failure.code, Code::Unavailable, "{failure}");
    first.commands.send(propose(1)).await.unwrap();
    gated.allow(1);
    assert!(matches!(next(&mut first).await, Some(Event::Delta(_))));
    drop(second);
    until("the session is over", || gated.is_over()).await;
    let gets_in = async {
        loop {
            let mut third = node.remote().session();
            third.commands.send(open()).await.unwrap();
            if let Some(Event::Opened(_)) = next(&mut third).await {
                break;
            }
        }
    };
    timeout(SOON, gets_in).await.unwrap();
}

#[tokio::test]
async fn those_that_say_nothing_keep_nobody_out() {
    let gated = Gated::new();
    let node = Node::with(Arc::new(gated.clone()), |config| config.max_connections = 4).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(connect(&node).await);
    }
    let mut session = opened(&node.remote()).await;
    for _ in 0..20 {
        silent.push(connect(&node).await);
    }
    session.commands.send(propose(1)).await.unwrap();
    gated.allow(1);
    assert!(matches!(next(&mut session).await, Some(Event::Delta(_))));
    drop(opened(&node.remote()).await);
}
