//! What an answer needs: the question, the nodes and the settings. Nothing here runs.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
pub use thinking::thinker::Traffic;
use thinking::{
    policy::Limited,
    thinker::{Prompt, Sampling, Thinker},
};

/// What is to be answered, and within which limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Appears in the nodes' logs.
    pub id: String,
    /// The conversation or raw text.
    pub prompt: Prompt,
    /// How tokens are drawn, on both nodes.
    pub sampling: Sampling,
    /// Every ask's seed follows from it.
    pub seed: u64,
    /// Greatest number of tokens of the whole answer, both models together.
    pub max_tokens: u32,
    /// Time for the whole answer.
    pub deadline: Option<Duration>,
}

/// A Thinker with a name for people.
#[derive(Clone)]
pub struct Node {
    /// Its address, or whatever tells it from the others in messages.
    pub name: String,
    /// What answers.
    pub thinker: Arc<dyn Thinker>,
}

impl Node {
    /// A Thinker with this name.
    pub fn new(name: impl Into<String>, thinker: Arc<dyn Thinker>) -> Self {
        Node { name: name.into(), thinker }
    }

    /// The bytes that crossed the network to it so far, where they are counted.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        self.thinker.traffic()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How the driver treats the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Send each node the other's text while it is written, so that it finds a warm prefix. When
    /// off, a node gets it when it must write.
    pub keep_warm: bool,
    /// Open a session anew for every takeover, with the whole text so far, as systems without sessions do. A baseline:
    /// it shows what sessions are worth.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resend: bool,
    /// How long the small node may be silent while it is waited for.
    pub small_timeout: Duration,
    /// How long the large node may be silent while it is waited for; then the small one goes on
    /// without it.
    pub large_timeout: Duration,
    /// How long after its loss the large node is tried again; then twice as long each time. Without, never, as
    /// in journals of before it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin_after: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            keep_warm: true,
            resend: false,
            small_timeout: Duration::from_secs(120),
            large_timeout: Duration::from_secs(30),
            rejoin_after: Some(Duration::from_secs(1)),
        }
    }
}

/// Everything [`answer`](crate::answer) needs.
pub struct Run {
    /// What is to be answered.
    pub question: Question,
    /// The small nodes: the first writes, the others stand in for it, in order.
    pub small: Vec<Node>,
    /// The large node, where the policy has a use for one.
    pub large: Option<Node>,
    /// Decides who writes. Limited, because the large node may be lost at any time, and this is
    /// what goes on without it.
    pub policy: Limited,
    /// How the nodes are treated.
    pub settings: Settings,
}
