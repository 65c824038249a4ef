//! A node in front of a third-party server.

use node::{LocalNode, ModelSource, NodeConfig, NodeExit};
use tests::Process;
use thinking::testing::{KitSettings, assert_conforms};
use transport::{Remote, RemoteConfig};
use upstream::{
    ServerKind, UpstreamConfig,
    testing::{FakeFault, FakeOptions, FakeServer},
};

use crate::LARGE;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_before_a_server_keeps_the_contract() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::LlamaCpp)).await;
    let upstream = UpstreamConfig::new(server.address().parse().unwrap());
    let config = NodeConfig::local(ModelSource::Upstream(Box::new(upstream)));
    let node = LocalNode::start(config).await.unwrap();
    assert_eq!((node.card().name.as_str(), node.card().context_tokens), ("fake", 4096));
    let remote = Remote::new(RemoteConfig::new(node.url().parse().unwrap())).unwrap();
    let computed_tokens = Some(server.counter());
    let settings = KitSettings { computed_tokens, reviews: false, ..KitSettings::default() };
    assert_conforms(&remote, &settings).await;
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_what_it_serves_and_from_where() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::Vllm)).await;
    let address = server.address();
    let started = tokio::task::spawn_blocking(move || {
        let args = ["--upstream", &address, "--listen", "127.0.0.1:0", "--name", "large"];
        let mut node = Process::spawn(LARGE, &args, &[]);
        node.wait_for("listening on ");
        node.stdout().to_vec()
    });
    let first = format!("model large: computed by {}, context 4096 tokens", server.address());
    assert_eq!(started.await.unwrap().first(), Some(&first));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_is_one_line_and_an_exit_code() {
    let html = vec![("/v1/models", FakeFault::Html)];
    let options = FakeOptions { faults: html, ..FakeOptions::new(ServerKind::Vllm) };
    let website = FakeServer::start(options).await;
    for (address, words) in [
        ("http://127.0.0.1:1".to_owned(), "cannot be reached"),
        (website.address(), "it is not such an API"),
    ] {
        let run = move || {
            let args = ["--upstream", &address, "--listen", "127.0.0.1:0"];
            Process::spawn(LARGE, &args, &[]).wait()
        };
        let ended = tokio::task::spawn_blocking(run).await.unwrap();
        assert_eq!(ended.code, Some(NodeExit::Upstream as i32), "{ended:?}");
        let line = ended.line("large-node");
        assert!(line.contains(words), "{line}");
    }
}
