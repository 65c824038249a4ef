//! What an answer needs: the question, the nodes and the settings. Nothing here runs.

use std::{fmt, sync::Arc, time::Duration};

pub use conductor::question::{Question, Settings, Traffic};
use thinking::{
    policy::Limited,
    thinker::{Failure, Thinker},
};
use tokio::sync::watch;

/// A Thinker with a name for people.
#[derive(Clone)]
pub struct Node {
    /// Its address, or another name that identifies it in messages.
    pub name: String,
    /// The Thinker.
    pub thinker: Arc<dyn Thinker>,
    /// Where sessions with it are reported.
    pub sessions: Option<Arc<dyn SessionLedger>>,
}

/// Is notified of an answer's sessions with a node. Every session that begins also ends.
pub trait SessionLedger: Send + Sync {
    /// Called when a session begins.
    fn begun(&self);
    /// Called when the node has its first text, this long after it was asked.
    fn wrote(&self, after: Duration);
    /// Called when a session is over; with the failure if the node is to blame.
    fn ended(&self, failure: Option<&Failure>);
}

impl Node {
    /// A node with this name.
    pub fn new(name: impl Into<String>, thinker: Arc<dyn Thinker>) -> Self {
        Node { name: name.into(), thinker, sessions: None }
    }

    /// Returns the bytes that crossed the network to it so far, if they are counted.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        self.thinker.traffic()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The nodes of one part.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// The nodes that are there when the answer begins: the first plays the part, the others stand in for it, in order.
    pub nodes: Vec<Node>,
    /// How these nodes change meanwhile, and which others come. `None` if nobody reports that.
    pub standings: Option<watch::Receiver<Standings>>,
}

/// All nodes that can play a part at present. Their names are unique.
pub type Standings = Arc<[Standing]>;

/// A node that can play a part.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The node.
    pub node: Node,
    /// Whether it takes new sessions.
    pub takes_sessions: bool,
}

impl FromIterator<Node> for Candidates {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        Candidates { nodes: nodes.into_iter().collect(), standings: None }
    }
}

/// Everything [`answer`](crate::answer) needs.
pub struct Run {
    /// The question to answer.
    pub question: Question,
    /// The small nodes.
    pub small: Candidates,
    /// The large nodes, if the policy uses one.
    pub large: Candidates,
    /// The policy, which decides who writes. It is limited, because every large node may be lost at any time, and the
    /// limits define how the answer continues without it.
    pub policy: Limited,
    /// How the nodes are treated.
    pub settings: Settings,
}
