//! What goes into the machine and what comes out of it. Plain values.
//!
//! What a shell owes: it carries effects out in their order, gives each session's events in theirs,
//! and after [`Effect::Close`] none of that session's any more. A session that ends without a word,
//! or takes no more commands, is an [`Event::Failed`](thinker::Event::Failed).

use std::time::Duration;

use thinking::{
    policy::{End, Role},
    thinker::{self, Command, Failure, Open},
    transcript::Transcript,
};

use crate::{
    account::Summary,
    micros,
    progress::{Progress, Stamped},
};

/// Names a node of a run: which part it plays, and its place among those that can play it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId {
    /// The part.
    pub role: Role,
    /// From 0.
    pub index: usize,
}

impl NodeId {
    /// The small node at this place.
    pub fn small(index: usize) -> Self {
        NodeId { role: Role::Small, index }
    }

    /// The large node at this place.
    pub fn large(index: usize) -> Self {
        NodeId { role: Role::Large, index }
    }
}

/// The nodes of a run, by their names for people. Each part's first node plays it, the others
/// stand in for it, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeNames {
    /// The small nodes.
    pub small: Vec<String>,
    /// The large nodes; none where the policy has no use for one.
    pub large: Vec<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A node's session says something.
    Event(NodeId, thinker::Event),
    /// A node's session gives a sign of life, and has nothing to say.
    Alive(NodeId),
    /// The time of [`Conductor::wake_at`](crate::Conductor::wake_at) has come, and nothing that any
    /// session said before it is left to be told.
    Wake,
    /// A node can stand in for others of its part, under this name: one that is new, its place the one behind the last,
    /// or one that was lost or withdrawn and is well again.
    Offer(NodeId, String),
    /// A node is to be given no new session. One that it has goes on.
    Withdraw(NodeId),
    /// The caller wants no more of the answer.
    Cancel,
}

/// Something that is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start a session on a node, and send it this. The node has no other session.
    Open(NodeId, Box<Open>),
    /// Send the node's session a command.
    Send(NodeId, Box<Command>),
    /// Give the node's session up; why, where its node is to blame.
    Close(NodeId, Option<Failure>),
    /// Tell the observer.
    Tell(Stamped),
    /// The answer is over: [`Conductor::conclude`](crate::Conductor::conclude) says how. It is the
    /// last effect of all.
    End,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// It is complete, or stopped at a limit.
    Complete(End),
    /// No small node is left, or a policy made no sense.
    Failed {
        /// The node's name.
        node: String,
        /// Why.
        failure: Failure,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// Its text, as the observer was shown it, by spans.
    pub transcript: Transcript,
    /// What it cost.
    pub summary: Summary,
}

impl Outcome {
    /// The whole text.
    pub fn text(&self) -> String {
        self.transcript.text()
    }

    /// What the observer is told last.
    pub fn told(&self) -> Stamped {
        let progress = Progress::Ended(Box::new(self.summary.clone()));
        Stamped { at_us: self.summary.time.total_us, progress }
    }
}

/// The step in hand: its time, and what it has led to so far.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) now: Duration,
    pub(crate) effects: Vec<Effect>,
}

impl Step {
    pub(crate) fn send(&mut self, node: NodeId, command: Command) {
        self.effects.push(Effect::Send(node, Box::new(command)));
    }

    pub(crate) fn tell(&mut self, progress: Progress) {
        self.effects.push(Effect::Tell(Stamped { at_us: micros(self.now), progress }));
    }
}
