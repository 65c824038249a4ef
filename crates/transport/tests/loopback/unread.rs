//! Clients that do not read what the node sends, in simulated time. The client chooses HTTP/2's windows.

use std::{sync::Arc, time::Duration};

use proto::v1::{
    Code as WireCode, Command, Event, Open, Propose, command::Command as Wire,
    event::Event as WireEvent, thinker_client::ThinkerClient,
};
use thinking::thinker::Code;
use tokio::time::sleep;
use tokio_stream::StreamExt as _;
use tonic::{Streaming, transport::Endpoint};

use crate::support::{Gated, Node, failure_of_open, opened};

/// Starts a proposal for a client whose stream window holds `window_bytes`. The client sends nothing more.
async fn events(node: &Node, window_bytes: u32) -> Streaming<Event> {
    let url = format!("http://127.0.0.1:{}", node.port);
    let endpoint = Endpoint::from_shared(url).unwrap().initial_stream_window_size(window_bytes);
    let mut client = ThinkerClient::new(endpoint.connect().await.unwrap());
    let open = Open { protocol_version: 1, raw_prompt: Some("?".into()), ..Open::default() };
    let propose = Propose { max_tokens: 100, ..Propose::default() };
    let commands = [Wire::Open(open), Wire::Propose(propose)];
    let commands = commands.map(|command| Command { command: Some(command) });
    let commands = tokio_stream::iter(commands).chain(tokio_stream::pending());
    client.think(commands).await.unwrap().into_inner()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_loses_its_place() {
    let gated = Gated::new();
    let node = Node::with(Arc::new(gated.clone()), |config| config.max_sessions = 1).await;
    let _events = events(&node, 0).await;
    gated.allow(50);
    sleep(Duration::from_secs(58)).await;
    assert_eq!(failure_of_open(&node.remote()).await.code, Code::Overloaded);
    assert!(!gated.is_over());
    sleep(Duration::from_secs(3)).await;
    assert!(gated.is_over(), "the model computes for nobody");
    drop(opened(&node.remote()).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_too_late_is_told_why() {
    let gated = Gated::new();
    let node = Node::with(Arc::new(gated.clone()), |config| config.max_sessions = 1).await;
    let mut events = events(&node, 100).await;
    gated.allow(50);
    sleep(Duration::from_secs(70)).await;
    drop(opened(&node.remote()).await);
    let failed = loop {
        match events.message().await.unwrap().unwrap().event.unwrap() {
            WireEvent::Failed(failed) => break failed,
            WireEvent::Opened(_) | WireEvent::Warmed(_) | WireEvent::Delta(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(failed.code(), WireCode::DeadlineExceeded);
    assert!(failed.message.starts_with("the client read nothing for 60s; "), "{}", failed.message);
    assert_eq!(events.message().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_keeps_its_session() {
    let gated = Gated::new();
    let node = Node::with(Arc::new(gated.clone()), |config| config.max_sessions = 1).await;
    let mut events = events(&node, 100).await;
    gated.allow(50);
    let mut tokens = 0;
    while tokens < 50 {
        sleep(Duration::from_secs(30)).await;
        match events.message().await.unwrap().unwrap().event.unwrap() {
            WireEvent::Delta(delta) => tokens += delta.tokens,
            WireEvent::Opened(_) | WireEvent::Warmed(_) | WireEvent::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
