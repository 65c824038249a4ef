//! Heartbeats and their absence, in simulated time: the clock jumps whenever every task waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use thinking::thinker::{Code, Event, Session, Thinker, Traffic};
use tokio::time::{Instant, sleep, timeout};
use transport::{Remote, RemoteConfig};

use crate::support::{Gated, Node, failure_of_open, next, open, opened, propose};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_quiet_node_that_lives_is_waited_for() {
    let gated = Gated::new();
    let node = Node::start(Arc::new(gated.clone())).await;
    let remote = node.remote();
    let mut session = opened(&remote).await;
    session.commands.send(propose(10)).await.unwrap();
    let before = remote.traffic().unwrap();
    assert!(timeout(HOUR, session.events.recv()).await.is_err(), "an hour of nothing");
    let after = remote.traffic().unwrap();
    // A heartbeat every five seconds either way, each more than ten bytes on the wire.
    assert!(after.sent_bytes - before.sent_bytes > 720 * 10, "{before:?} {after:?}");
    assert!(after.received_bytes - before.received_bytes > 720 * 10, "{before:?} {after:?}");
    gated.allow(1);
    assert!(matches!(session.events.recv().await, Some(Event::Delta(_))));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_silent_is_given_up() {
    let gated = Gated::new();
    let node = Node::with(Arc::new(gated.clone()), |config| config.heartbeat = HOUR).await;
    let mut config = node.config();
    // HTTP/2's own pings do not count as signs of life; they only advance the simulated clock.
    config.silence = Duration::from_secs(20);
    let mut session = opened(&Remote::new(config).unwrap()).await;
    session.commands.send(propose(10)).await.unwrap();
    let begin = Instant::now();
    let Some(Event::Failed(failure)) = session.events.recv().await else { panic!() };
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.message.contains("has been silent for 20s"), "{failure}");
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_secs(19) && waited < Duration::from_secs(30), "{waited:?}");
    assert!(gated.computed() == 0);
}

/// A Thinker whose own loop keeps running, or hangs.
struct Looping {
    gated: Gated,
    turns: AtomicU64,
    turns_more: u64,
}

impl Looping {
    async fn node(turns_more: u64) -> Node {
        let (gated, turns) = (Gated::new(), AtomicU64::new(0));
        Node::start(Arc::new(Looping { gated, turns, turns_more })).await
    }
}

impl Thinker for Looping {
    fn session(&self) -> Session {
        self.gated.session()
    }

    fn pulse(&self) -> Option<u64> {
        Some(self.turns.fetch_add(self.turns_more, Ordering::Relaxed))
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_model_hangs_gives_no_sign_of_life() {
    let node = Looping::node(0).await;
    let mut session = opened(&node.remote()).await;
    session.commands.send(propose(10)).await.unwrap();
    let begin = Instant::now();
    let Some(Event::Failed(failure)) = session.events.recv().await else { panic!() };
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.message.contains("has been silent for 20s"), "{failure}");
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_secs(40) && waited < Duration::from_secs(60), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_model_goes_round_is_waited_for() {
    let node = Looping::node(1).await;
    let mut session = opened(&node.remote()).await;
    session.commands.send(propose(10)).await.unwrap();
    assert!(timeout(HOUR, session.events.recv()).await.is_err(), "an hour of nothing");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_never_answers_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let failure = failure_of_open_slowly(&Remote::new(RemoteConfig::new(address)).unwrap()).await;
    assert_eq!(failure, "silent");
}

/// `support::failure_of_open` bounds its waits by the clock, which jumps here.
async fn failure_of_open_slowly(remote: &Remote) -> &'static str {
    let mut session = remote.session();
    session.commands.send(open()).await.unwrap();
    match session.events.recv().await {
        Some(Event::Failed(failure)) if failure.message.contains("has been silent for") => "silent",
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_never_opened_loses_its_place() {
    use proto::v1::{Code as WireCode, event::Event as Wire, thinker_client::ThinkerClient};
    let node = Node::with(Arc::new(Gated::new()), |config| config.max_sessions = 1).await;
    let url = format!("http://127.0.0.1:{}", node.port);
    let mut client = ThinkerClient::connect(url).await.unwrap();
    let mut events = client.think(tokio_stream::pending()).await.unwrap().into_inner();
    loop {
        match events.message().await.unwrap().unwrap().event.unwrap() {
            Wire::Heartbeat(_) => continue,
            Wire::Failed(failed) => {
                assert_eq!(failed.code(), WireCode::DeadlineExceeded);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(events.message().await.unwrap(), None);
    sleep(Duration::from_secs(1)).await;
    drop(opened(&node.remote()).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_left_without_a_word_loses_its_place() {
    use proto::v1 as wire;
    use proto::v1::{event::Event as Wire, thinker_client::ThinkerClient};
    use tokio_stream::StreamExt;
    let node = Node::with(Arc::new(Gated::new()), |config| config.max_sessions = 1).await;
    let url = format!("http://127.0.0.1:{}", node.port);
    let mut client = ThinkerClient::connect(url).await.unwrap();
    let open =
        wire::Open { protocol_version: 1, raw_prompt: Some("?".into()), ..wire::Open::default() };
    let open = wire::Command { command: Some(wire::command::Command::Open(open)) };
    // Neither a command nor a heartbeat after the first.
    let commands = tokio_stream::once(open).chain(tokio_stream::pending());
    let mut events = client.think(commands).await.unwrap().into_inner();
    let mut warmed = false;
    let failed = loop {
        match events.message().await.unwrap().unwrap().event.unwrap() {
            Wire::Warmed(_) => warmed = true,
            Wire::Failed(failed) => break failed,
            Wire::Opened(_) | Wire::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(warmed);
    assert_eq!(failed.code(), wire::Code::DeadlineExceeded);
    assert!(failed.message.contains("send heartbeats"), "{}", failed.message);
    assert_eq!(events.message().await.unwrap(), None);
    sleep(Duration::from_secs(1)).await;
    // A client that sends heartbeats keeps its session without a command.
    let mut session = opened(&node.remote()).await;
    assert!(timeout(HOUR, session.events.recv()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_unused_session_connects_to_nothing() {
    let remote = Remote::new(RemoteConfig::new("127.0.0.1:9".parse().unwrap())).unwrap();
    let mut session = remote.session();
    assert!(timeout(HOUR, session.events.recv()).await.is_err());
    assert_eq!(remote.traffic(), Some(Traffic::default()));
    session.commands = thinking::thinker::Session::channel().0.commands;
    assert_eq!(next(&mut session).await, None);
    assert_eq!(failure_of_open(&remote).await.code, Code::Unavailable);
}
