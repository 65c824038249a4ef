//! What an answer needs: the question, the nodes and the settings. Nothing here runs.

use std::{fmt, sync::Arc};

pub use conductor::question::{Question, Settings, Traffic};
use thinking::{policy::Limited, thinker::Thinker};

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

/// Everything [`answer`](crate::answer) needs.
pub struct Run {
    /// What is to be answered.
    pub question: Question,
    /// The small nodes: the first writes, the others stand in for it, in order.
    pub small: Vec<Node>,
    /// The large nodes, where the policy has a use for one: the first takes over, the others stand in for it, in order.
    pub large: Vec<Node>,
    /// Decides who writes. Limited, because every large node may be lost at any time, and this is
    /// what goes on without it.
    pub policy: Limited,
    /// How the nodes are treated.
    pub settings: Settings,
}
