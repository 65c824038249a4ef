//! A node inside another program: the same node, without a process of its own.

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
    /// Starts a node, which says nothing; [`NodeConfig::local`] makes a configuration for it. It
    /// serves on the runtime that this is called on.
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

    /// Where clients find it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it serves.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Begins the shutdown, and waits until sessions are drained.
    ///
    /// # Errors
    /// When the listener breaks, and when serving broke off.
    pub async fn stop(mut self) -> Result<(), NodeError> {
        drop(self.stop.take());
        let served = (&mut self.serving).await;
        served.map_err(|why| NodeError::Internal(format!("serving broke off: {why}")))?
    }
}

impl Drop for LocalNode {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
