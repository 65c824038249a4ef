//! What goes into the machine and what comes out of it. Plain values.
//!
//! A shell must carry effects out in order, and pass on each session's events in order. After [`Effect::Close`] it
//! passes on no further event of that session. It reports a session that ends without a failure, or takes no more
//! commands, as [`Event::Failed`](thinker::Event::Failed).

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

/// Identifies a node of a run: its role, and its index among the candidates for that role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId {
    /// The role.
    pub role: Role,
    /// The index, from 0.
    pub index: usize,
}

impl NodeId {
    /// The small node with this index.
    pub fn small(index: usize) -> Self {
        NodeId { role: Role::Small, index }
    }

    /// The large node with this index.
    pub fn large(index: usize) -> Self {
        NodeId { role: Role::Large, index }
    }
}

/// The nodes of a run, by their names for people. The first node of each role plays it; the others stand in for it, in
/// order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeNames {
    /// The small nodes.
    pub small: Vec<String>,
    /// The large nodes; empty if the policy does not use one.
    pub large: Vec<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A node's session sent an event.
    Event(NodeId, thinker::Event),
    /// A node's session gave a sign of life, without an event.
    Alive(NodeId),
    /// The time of [`Conductor::wake_at`](crate::Conductor::wake_at) has come, and every event that any session sent
    /// before it has been passed on.
    Wake,
    /// A node of this name can stand in for others of its role. Either it is new and its index is the one after the
    /// last, or it was lost or withdrawn and is well again.
    Offer(NodeId, String),
    /// A node must not be given a new session. A session that it has continues.
    Withdraw(NodeId),
    /// The caller wants no more of the answer.
    Cancel,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start a session on a node, and send it this command. The node has no other session.
    Open(NodeId, Box<Open>),
    /// Send the node's session a command.
    Send(NodeId, Box<Command>),
    /// Give the node's session up; with the reason, if its node is to blame.
    Close(NodeId, Option<Failure>),
    /// Report to the observer.
    Tell(Stamped),
    /// The answer is over; [`Conductor::conclude`](crate::Conductor::conclude) returns how. This is the last effect.
    End,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// It is complete, or stopped at a limit.
    Complete(End),
    /// No small node is left, or the policy is defective.
    Failed {
        /// The node's name.
        node: String,
        /// Why.
        failure: Failure,
    },
}

/// An answer that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// Its text as the observer was shown it, as spans.
    pub transcript: Transcript,
    /// What it cost.
    pub summary: Summary,
}

impl Outcome {
    /// Returns the whole text.
    pub fn text(&self) -> String {
        self.transcript.text()
    }

    /// Returns the last report to the observer.
    pub fn told(&self) -> Stamped {
        let progress = Progress::Ended(Box::new(self.summary.clone()));
        Stamped { at_us: self.summary.time.total_us, progress }
    }
}

/// The current step: its time, and its effects so far.
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
