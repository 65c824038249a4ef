//! The conformance kit through client and server, over every kind of connection.

use std::sync::Arc;

use thinking::{
    testing::{KitSettings, Script, ScriptedThinker, assert_conforms},
    thinker::Thinker as _,
};
use transport::{Address, ClientTls, Remote, ServerTls, Token};

use crate::support::{Node, Pki, SOON};

async fn conforms(thinker: &Arc<ScriptedThinker>, remote: &Remote) {
    let counter = thinker.clone();
    let settings = KitSettings {
        wait: SOON,
        computed_tokens: Some(Arc::new(move || counter.computed_tokens())),
        exact_resume: true,
        ..KitSettings::default()
    };
    assert_conforms(remote, &settings).await;
    assert!(thinker.started_sessions() > 10, "the sessions went to this node");
    let traffic = remote.traffic().unwrap();
    assert!(traffic.sent_bytes > 1000 && traffic.received_bytes > 10_000, "{traffic:?}");
}

fn babbler() -> Arc<ScriptedThinker> {
    Arc::new(ScriptedThinker::new(Script::babble()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text() {
    let thinker = babbler();
    let node = Node::start(thinker.clone()).await;
    conforms(&thinker, &node.remote()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_a_token() {
    let (thinker, pki) = (babbler(), Pki::new());
    let node = Node::with(thinker.clone(), |config| {
        config.tls = Some(ServerTls {
            cert: pki.file("server.pem"),
            key: pki.file("server.key"),
            client_ca: None,
        });
        config.token = Some(Token::new("s3cret").unwrap());
    })
    .await;
    let mut config = node.config();
    // By name: the certificate must be checked against it.
    config.address = address(&node, "localhost");
    config.tls = ClientTls { ca: Some(pki.file("ca.pem")), identity: None };
    config.token = Some(Token::new("s3cret").unwrap());
    conforms(&thinker, &Remote::new(config).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutual_tls() {
    let (thinker, pki) = (babbler(), Pki::new());
    let node = Node::with(thinker.clone(), |config| {
        config.tls = Some(ServerTls {
            cert: pki.file("server.pem"),
            key: pki.file("server.key"),
            client_ca: Some(pki.file("ca.pem")),
        });
    })
    .await;
    let mut config = node.config();
    config.address = address(&node, "127.0.0.1");
    config.tls = ClientTls {
        ca: Some(pki.file("ca.pem")),
        identity: Some((pki.file("client.pem"), pki.file("client.key"))),
    };
    conforms(&thinker, &Remote::new(config).unwrap()).await;
}

fn address(node: &Node, host: &str) -> Address {
    format!("https://{host}:{}", node.port).parse().unwrap()
}
