//! Connects to a node or a server: as a Thinker that answers, and as a member of a pool that is watched. Downloads the
//! tokenizers of servers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use answer::Node;
use hub::{Console, Hub, HubError, TokenizerPlace};
use pool::Teller;
use thinking::thinker::{Condition, Failure, Serving};
use tokio::{
    runtime,
    time::{Instant, sleep},
};
use transport::Remote;
use upstream::{Upstream, UpstreamConfig};

use crate::{
    endpoint::{NodePlace, NodeWay},
    exit::{CliError, Exit},
};

/// How often a node is asked how busy it is, and a lost node whether it is back.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// How often a third-party server is asked whether it is reachable.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// A node or a server, for requests other than sessions.
#[derive(Clone)]
pub(crate) enum AskedThinker {
    Node(Remote),
    Server(Arc<Upstream>),
}

impl AskedThinker {
    /// Checks that it serves the required model. One that cannot be asked passes.
    pub(crate) async fn check_model(&self) -> Result<(), Failure> {
        match self {
            AskedThinker::Node(remote) => remote.check_model().await,
            AskedThinker::Server(upstream) => upstream.check_model().await,
        }
    }

    /// Reports its condition, for as long as this is polled.
    pub(crate) async fn keep_watching(self, teller: Teller) {
        match self {
            AskedThinker::Node(remote) => {
                remote.keep_watching(WATCH_EVERY, |condition| teller.tell(condition)).await;
            }
            AskedThinker::Server(upstream) => loop {
                let asked = Instant::now();
                // This costs nothing, even at a server that bills tokens.
                teller.tell(match upstream.answers().await {
                    Ok(()) => Condition::Serving(Box::new(Serving {
                        round_trip: asked.elapsed(),
                        ..Serving::default()
                    })),
                    Err(failure) => Condition::Gone(failure),
                });
                sleep(ASK_EVERY).await;
            },
        }
    }
}

/// Whether to download what is not in the hub's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Download {
    Yes,
    No,
}

/// Returns a node to ask. Does not connect yet.
pub(crate) fn connected(
    place: &NodePlace,
    download: Download,
) -> Result<(Node, AskedThinker), CliError> {
    Ok(match &place.way {
        NodeWay::Node(config) | NodeWay::Name(config) => {
            let (name, remote) = (config.label(), Remote::new(config.clone())?);
            (Node::new(name, Arc::new(remote.clone())), AskedThinker::Node(remote))
        }
        NodeWay::Server(config, tokenizer) => {
            let mut config = config.clone();
            if let Some(place) = tokenizer {
                config.tokenizer = brought(place, &config, download)?;
            }
            let (name, upstream) = (config.label(), Arc::new(Upstream::new(config)?));
            let thinker = Arc::clone(&upstream);
            (Node::new(name, thinker), AskedThinker::Server(upstream))
        }
    })
}

/// Returns the path of the tokenizer of a server's model, or `None` if it would have to be downloaded and may not be.
fn brought(
    place: &TokenizerPlace,
    server: &UpstreamConfig,
    download: Download,
) -> Result<Option<PathBuf>, CliError> {
    let mut hub = Hub::from_vars(|name| std::env::var(name).ok());
    // If the user has forbidden downloads (HF_HUB_OFFLINE), a tokenizer that is not in the cache is an error.
    let may_be_missing = download == Download::No && !hub.offline;
    hub.offline |= may_be_missing;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|why| CliError::new(Exit::Internal, format!("cannot start the runtime: {why}")))?;
    match runtime.block_on(hub.tokenizer(place, &Console::stdio())) {
        Ok(path) => Ok(Some(path)),
        Err(HubError::NotCached { .. }) if may_be_missing => Ok(None),
        Err(error) => {
            let message = format!("the tokenizer of {}: {error}", server.address);
            Err(CliError::new(Exit::from(&error), message))
        }
    }
}
