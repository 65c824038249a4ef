//! A node inside the test's own process: the same code as the programs, without a process's start.

use std::{ffi::OsString, path::Path};

use node::{Console, Defaults, Node, NodeArgs, NodeConfig, NodeError};
use thinking::thinker::ModelCard;
use tokio::{sync::oneshot, task::JoinHandle};

/// A serving node. Dropping it ends it without a drain.
#[derive(Debug)]
pub struct LocalNode {
    url: String,
    card: ModelCard,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), NodeError>>,
}

impl LocalNode {
    /// Starts a node on a free port of loopback, with more arguments if need be.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start(
        defaults: &Defaults,
        model: &Path,
        args: &[&str],
    ) -> Result<LocalNode, NodeError> {
        let first = [defaults.program, "--listen", "127.0.0.1:0", "--model"].map(OsString::from);
        let line = first.into_iter().chain([model.as_os_str().to_owned()]);
        let line = line.chain(args.iter().map(OsString::from));
        let args = NodeArgs::parse_with(defaults, line)
            .map_err(|error| NodeError::Usage(error.to_string()))?;
        let node = Node::start(NodeConfig::new(args, |_| None)?, &Console::silent()).await?;
        let (url, card) = (node.url(), node.card().clone());
        let (stop, stopped) = oneshot::channel();
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
    /// As [`Node::serve`].
    ///
    /// # Panics
    /// When serving panicked.
    pub async fn stop(mut self) -> Result<(), NodeError> {
        drop(self.stop.take());
        (&mut self.serving).await.expect("serving does not panic")
    }
}

impl Drop for LocalNode {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
