//! The built-in pair: both nodes with their built-in models, in this process, on free ports of loopback. They are the
//! same nodes as those that run elsewhere, and are used over the same protocol.

use node::{Defaults, LocalNode, ModelSource, NodeConfig};
use tokio::runtime::Runtime;

use crate::{Builtin, BuiltinNodes};

/// Nobody else uses these nodes, and sessions of models this small cost little: as many as `eval --parallel` may ask
/// for, and some that are still ending.
const SESSIONS: u32 = 1024 + 64;

/// Both nodes with their own models.
pub(crate) struct BuiltinPair;

impl Builtin for BuiltinPair {
    fn can(&self) -> &str {
        node::BUILTIN_CAN
    }

    fn start(&self, large: bool) -> Result<BuiltinNodes, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // The network needs little; the cores are for the models.
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|why| format!("cannot start the runtime: {why}"))?;
        let nodes = runtime.block_on(async {
            let small = local(&small_node::DEFAULTS);
            let large = async {
                match large {
                    true => local(&large_node::DEFAULTS).await.map(Some),
                    false => Ok(None),
                }
            };
            tokio::try_join!(small, large)
        });
        let (small, large) = nodes?;
        Ok(BuiltinNodes {
            small: small.url().to_owned(),
            large: large.as_ref().map(|node| node.url().to_owned()),
            guard: Box::new(Guard { _nodes: (small, large), runtime: Some(runtime) }),
        })
    }
}

async fn local(defaults: &Defaults) -> Result<LocalNode, String> {
    let model = defaults.builtin.ok_or_else(|| format!("{} has no model", defaults.program))?;
    let mut config = NodeConfig::local(ModelSource::Builtin(model));
    config.server.max_sessions = SESSIONS;
    config.threads = Some(node::builtin_threads());
    let node = LocalNode::start(config).await;
    node.map_err(|error| error.to_string())
}

/// Stops the nodes.
struct Guard {
    _nodes: (LocalNode, Option<LocalNode>),
    runtime: Option<Runtime>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Without waiting: this may be dropped where blocking is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
