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
    /// Its address, or whatever tells it from the others in messages.
    pub name: String,
    /// What answers.
    pub thinker: Arc<dyn Thinker>,
    /// Who is told of the sessions with it.
    pub sessions: Option<Arc<dyn SessionLedger>>,
}

/// Is told of an answer's sessions with a node. Each that has begun ends.
pub trait SessionLedger: Send + Sync {
    /// One begins.
    fn begun(&self);
    /// The node has text, so long after it was asked.
    fn wrote(&self, after: Duration);
    /// One is over; why, where its node is to blame.
    fn ended(&self, failure: Option<&Failure>);
}

impl Node {
    /// A Thinker with this name.
    pub fn new(name: impl Into<String>, thinker: Arc<dyn Thinker>) -> Self {
        Node { name: name.into(), thinker, sessions: None }
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

/// The nodes of a part.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// Those that are there when the answer begins: the first plays the part, the others stand in for it, in order.
    pub nodes: Vec<Node>,
    /// What becomes of them meanwhile, and which others come. Absent: nobody says.
    pub standings: Option<watch::Receiver<Standings>>,
}

/// All nodes that can play a part, by now. Their names tell them apart.
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
    /// What is to be answered.
    pub question: Question,
    /// The small nodes.
    pub small: Candidates,
    /// The large nodes, where the policy has a use for one.
    pub large: Candidates,
    /// Decides who writes. Limited, because every large node may be lost at any time, and this is
    /// what goes on without it.
    pub policy: Limited,
    /// How the nodes are treated.
    pub settings: Settings,
}
