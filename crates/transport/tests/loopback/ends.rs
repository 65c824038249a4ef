//! How sessions and nodes end: dropped, lost, half-closed, drained.

use std::{sync::Arc, time::Duration};

use thinking::{
    testing::{Options, Script, ScriptedThinker},
    thinker::{Code, Command, Event, FinishReason, Session, Thinker},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use transport::{Remote, RemoteConfig};

use crate::support::{Gated, Node, SOON, failure, failure_of_open, next, opened, propose, until};

/// Lets a Thinker make three tokens and reads them.
async fn three_tokens(gated: &Gated, session: &mut Session) {
    session.commands.send(propose(1000)).await.unwrap();
    gated.allow(3);
    for _ in 0..3 {
        assert!(matches!(next(session).await, Some(Event::Delta(_))));
    }
}

/// Waits until the Thinker's session is over, and checks that it makes no more tokens though it is allowed to.
async fn stopped_at_three(gated: &Gated) {
    until("the Thinker's session ends", || gated.is_over()).await;
    gated.allow(100);
    tokio::task::yield_now().await;
    assert_eq!(gated.computed(), 3);
}

#[tokio::test]
async fn dropping_the_session_stops_the_compute() {
    let gated = Gated::new();
    let node = Node::start(Arc::new(gated.clone())).await;
    let remote = node.remote();
    let mut session = opened(&remote).await;
    three_tokens(&gated, &mut session).await;
    drop(session);
    stopped_at_three(&gated).await;
    drop(remote);
}

#[tokio::test]
async fn dropping_the_events_alone_stops_the_compute() {
    let gated = Gated::new();
    let node = Node::start(Arc::new(gated.clone())).await;
    let remote = node.remote();
    let mut session = opened(&remote).await;
    three_tokens(&gated, &mut session).await;
    let Session { commands, events, .. } = session;
    drop(events);
    stopped_at_three(&gated).await;
    drop((commands, remote));
}

#[tokio::test]
async fn a_session_outlives_its_remote() {
    let gated = Gated::new();
    let node = Node::start(Arc::new(gated.clone())).await;
    let mut session = opened(&node.remote()).await;
    three_tokens(&gated, &mut session).await;
    assert!(!gated.is_over());
}

#[tokio::test]
async fn a_client_whose_connection_breaks_is_gone() {
    let gated = Gated::new();
    let node = Node::start(Arc::new(gated.clone())).await;
    // A relay stands in for the network; ending it is like pulling the cable.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let port = node.port;
    let relay = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = copy_bidirectional(&mut near, &mut far).await;
    });
    let remote = Remote::new(RemoteConfig::new(address)).unwrap();
    let mut session = opened(&remote).await;
    three_tokens(&gated, &mut session).await;
    relay.abort();
    stopped_at_three(&gated).await;
    let lost = failure(&mut session).await;
    assert_eq!(lost.code, Code::Unavailable, "{lost}");
    assert!(lost.message.contains("http://127.0.0.1:"), "{lost}");
}

#[tokio::test]
async fn a_restarted_node_is_found_again_by_the_same_remote() {
    let thinker = || Arc::new(ScriptedThinker::new(Script::babble()));
    let mut node = Node::start(thinker()).await;
    let remote = node.remote();
    drop(opened(&remote).await);
    node.begin_stop();
    let port = node.port;
    node.stopped().await;
    assert_eq!(failure_of_open(&remote).await.code, Code::Unavailable);
    let listener = transport::bind(&format!("127.0.0.1:{port}")).await.unwrap();
    let config = transport::ServerConfig::new(crate::support::card());
    tokio::spawn(transport::serve(listener, thinker(), config, std::future::pending()));
    drop(opened(&remote).await);
}

#[tokio::test]
async fn half_closing_lets_the_queue_complete() {
    let thinker = Arc::new(ScriptedThinker::new(Script::text("one two three four")));
    let node = Node::start(thinker.clone()).await;
    let mut session = opened(&node.remote()).await;
    session.commands.send(propose(2)).await.unwrap();
    session.commands.send(Command::Commit { bytes: 3 }).await.unwrap();
    session.commands = Session::channel().0.commands;
    assert!(matches!(next(&mut session).await, Some(Event::Delta(_))));
    assert!(matches!(next(&mut session).await, Some(Event::Delta(_))));
    assert!(matches!(next(&mut session).await, Some(Event::Finished(_))));
    assert!(matches!(next(&mut session).await, Some(Event::Warmed(_))));
    assert_eq!(next(&mut session).await, None);
    until("the node's session ends", || thinker.open_sessions() == 0).await;
}

async fn health_client(port: u16) -> HealthClient<Channel> {
    let url = format!("http://127.0.0.1:{port}");
    HealthClient::new(Channel::from_shared(url).unwrap().connect().await.unwrap())
}

async fn health(port: u16, service: &str) -> ServingStatus {
    let mut client = health_client(port).await;
    let request = HealthCheckRequest { service: service.to_owned() };
    client.check(request).await.unwrap().into_inner().status()
}

#[tokio::test]
async fn the_drain_lets_sessions_complete_and_takes_no_new_ones() {
    let gated = Gated::new();
    let mut node = Node::with(Arc::new(gated.clone()), |config| config.drain = SOON).await;
    let remote = node.remote();
    for service in ["", "specthink.v1.Thinker"] {
        assert_eq!(health(node.port, service).await, ServingStatus::Serving);
    }
    let mut session = opened(&remote).await;
    three_tokens(&gated, &mut session).await;
    node.begin_stop();

    let not_serving = async {
        while health(node.port, "specthink.v1.Thinker").await != ServingStatus::NotServing {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, not_serving).await.unwrap();
    let refused = failure_of_open(&remote).await;
    assert_eq!(refused.code, Code::Unavailable);
    assert!(refused.message.contains("node is shutting down"), "{refused}");
    assert_eq!(health(node.port, "").await, ServingStatus::NotServing);

    // The running session continues.
    gated.allow(1);
    assert!(matches!(next(&mut session).await, Some(Event::Delta(_))));
    drop(session);
    node.stopped().await;
}

#[tokio::test]
async fn after_the_drain_sessions_fail_and_watchers_do_not_hold_the_node() {
    let gated = Gated::new();
    let mut node = Node::with(Arc::new(gated.clone()), |config| {
        config.drain = Duration::from_millis(50);
    })
    .await;
    let mut client = health_client(node.port).await;
    let mut watch =
        client.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut session = opened(&node.remote()).await;
    three_tokens(&gated, &mut session).await;
    node.begin_stop();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let ended = failure(&mut session).await;
    assert_eq!(ended.code, Code::Unavailable);
    assert!(ended.message.starts_with("node is shutting down; "), "{}", ended.message);
    stopped_at_three(&gated).await;
    node.stopped().await;
}

#[tokio::test]
async fn a_deadline_travels_with_the_question() {
    let options = Options { token_delay: Duration::from_secs(3600), ..Options::default() };
    let thinker = Arc::new(ScriptedThinker::with_options(Script::babble(), options));
    let node = Node::start(thinker.clone()).await;
    let mut session = node.remote().session();
    let Command::Open(open) = crate::support::open() else { unreachable!() };
    let deadline = Some(Duration::from_millis(30));
    session
        .commands
        .send(Command::Open(thinking::thinker::Open { deadline, ..open.clone() }))
        .await
        .unwrap();
    session.commands.send(propose(5)).await.unwrap();
    assert!(matches!(next(&mut session).await, Some(Event::Opened(_))));
    assert!(matches!(next(&mut session).await, Some(Event::Warmed(_))));
    let Some(Event::Finished(finished)) = next(&mut session).await else { panic!() };
    assert_eq!(finished.reason, FinishReason::Deadline);
    let Command::Open(arrived) = &thinker.commands()[0].1 else { panic!() };
    assert_eq!(arrived.deadline, deadline);
}
