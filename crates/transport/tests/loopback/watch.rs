//! Watching a node: how busy it is, that it drains, that it is gone, and that it is back.

use std::{sync::Arc, time::Duration};

use thinking::{
    testing::{Script, ScriptedThinker},
    thinker::{Condition, Serving},
};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};
use transport::{Remote, RemoteConfig};

use crate::support::{Node, SOON, card, opened};

/// The reported conditions of a node; dropping this ends the watch.
struct Watched {
    told: mpsc::UnboundedReceiver<Condition>,
    _watching: JoinSet<()>,
}

impl Watched {
    fn new(remote: Remote) -> Watched {
        let (tell, told) = mpsc::unbounded_channel();
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            let every = Duration::from_millis(20);
            remote.keep_watching(every, |condition| drop(tell.send(condition))).await;
        });
        Watched { told, _watching: watching }
    }

    /// Waits until a matching condition is reported.
    async fn until<T>(&mut self, like: impl Fn(&Condition) -> Option<T>) -> T {
        let found = async {
            loop {
                let condition = self.told.recv().await.unwrap();
                if let Some(found) = like(&condition) {
                    return found;
                }
            }
        };
        timeout(SOON, found).await.expect("a matching condition is reported")
    }
}

fn serving(condition: &Condition) -> Option<Serving> {
    match condition {
        Condition::Serving(serving) => Some(Serving::clone(serving)),
        _ => None,
    }
}

#[tokio::test]
async fn what_becomes_of_a_node_is_told() {
    let thinker = || Arc::new(ScriptedThinker::new(Script::babble()));
    let mut node = Node::with(thinker(), |config| config.max_sessions = 7).await;
    let config = node.config();
    let mut watched = Watched::new(node.remote());
    let Serving { card: told, load, .. } = watched.until(serving).await;
    assert_eq!(told, Some(card()));
    let load = load.expect("it reports its load");
    assert_eq!((load.sessions, load.max_sessions, load.is_full()), (0, 7, false));

    let session = opened(&node.remote()).await;
    let sessions = |sessions: u32| {
        move |condition: &Condition| {
            serving(condition)?.load.filter(|load| load.sessions == sessions)
        }
    };
    watched.until(sessions(1)).await;
    node.begin_stop();
    watched.until(|condition| (*condition == Condition::Draining).then_some(())).await;
    drop(session);
    node.stopped().await;
    let gone = |condition: &Condition| match condition {
        Condition::Gone(failure) => Some(failure.to_string()),
        _ => None,
    };
    let why = watched.until(gone).await;
    assert!(why.contains(&config.address.to_string()), "{why}");

    // Another node is started in its place.
    let place = format!("127.0.0.1:{}", config.address.port());
    let listener = transport::bind(&place).await.unwrap();
    let served = transport::ServerConfig::new(card());
    let _served =
        tokio::spawn(transport::serve(listener, thinker(), served, std::future::pending()));
    watched.until(serving).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_is_gone_after_five_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let mut watched = Watched::new(Remote::new(RemoteConfig::new(address)).unwrap());
    let begin = Instant::now();
    let Some(Condition::Gone(failure)) = watched.told.recv().await else { panic!("it is gone") };
    assert!(failure.message.ends_with("does not answer within 5s"), "{failure}");
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
    let Some(Condition::Gone(_)) = watched.told.recv().await else { panic!("it is asked again") };
}
