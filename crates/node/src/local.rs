//! A node inside another program: the same node, without its own process.

use hub::Console;
use thinking::thinker::ModelCard;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{config::NodeConfig, error::NodeError, serve::ReadyNode};

/// A serving node. Dropping it ends it without a drain.
#[derive(Debug)]
pub struct LocalNode {
    url: String,
    card: ModelCard,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), NodeError>>,
}

impl LocalNode {
    /// Starts a node that prints nothing, usually with a configuration from [`NodeConfig::local`]. It serves on the
    /// current runtime.
    ///
    /// # Errors
    /// When the address, the device or the model cannot be used.
    pub async fn start(config: NodeConfig) -> Result<LocalNode, NodeError> {
        let node = ReadyNode::start(config, &Console::silent()).await?;
        let (url, card) = (node.url(), node.card().clone());
        let (stop, stopped) = oneshot::channel();
        #[expect(
            clippy::disallowed_methods,
            reason = "its handle is kept; dropping this aborts it"
        )]
        let serving = tokio::spawn(node.serve(async {
            let _ = stopped.await;
        }));
        Ok(LocalNode { url, card, stop: Some(stop), serving })
    }

    /// Returns the URL for clients.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns what it serves.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Starts the shutdown, and waits until sessions are drained.
    ///
    /// # Errors
    /// When the listener breaks, or the serving task panicked.
    pub async fn stop(mut self) -> Result<(), NodeError> {
        drop(self.stop.take());
        let served = (&mut self.serving).await;
        served.map_err(|why| NodeError::Internal(format!("serving failed: {why}")))?
    }
}

impl Drop for LocalNode {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
