//! The nodes of one part, as an answer uses them: the session of the node that plays it, and changes of the nodes
//! meanwhile.

use std::{collections::VecDeque, sync::Arc};

use conductor::{Input, NodeId};
use thinking::{
    policy::Role,
    thinker::{Code, Command, Event, Failure, Session},
};
use tokio::{
    sync::{mpsc::error::TrySendError, watch},
    time::Instant,
};

use crate::{
    LOG_TARGET,
    question::{Candidates, Node, SessionLedger, Standing, Standings, Traffic},
};

/// The nodes of one part, and the session of the one that plays it.
pub(crate) struct Part {
    role: Role,
    nodes: Vec<Node>,
    /// What had crossed each node's link when the node was first used, if that is counted.
    before: Vec<Option<Traffic>>,
    /// The session of the node that plays it, and a second one while a takeover is hedged.
    sessions: Vec<OpenSession>,
    news: Option<watch::Receiver<Standings>>,
    /// The standings that the machine knows.
    known: Standings,
    /// What the machine must still be told about them.
    untold: VecDeque<Input>,
}

/// A session and its node.
struct OpenSession {
    node: NodeId,
    session: Session,
    /// Whether its queue was full: the node takes no commands.
    is_stuck: bool,
    entry: LedgerEntry,
}

/// A session's entry in its node's ledger. Dropping it closes the entry.
struct LedgerEntry {
    ledger: Option<Arc<dyn SessionLedger>>,
    /// When it was asked for the text that is to come.
    asked_at: Option<Instant>,
    failure: Option<Failure>,
}

impl Part {
    pub(crate) fn new(role: Role, candidates: Candidates) -> Self {
        let Candidates { nodes, standings: mut news } = candidates;
        let known = news.as_mut().map(|news| news.borrow_and_update().clone());
        let before = vec![None; nodes.len()];
        let mut part = Part {
            role,
            nodes,
            before,
            sessions: Vec::new(),
            news,
            known: known.unwrap_or_default(),
            untold: VecDeque::new(),
        };
        part.meter(0);
        part
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    pub(crate) fn open(&mut self, node: NodeId, open: Command) {
        let Some(Node { thinker, sessions, .. }) = self.nodes.get(node.index) else { return };
        let entry = LedgerEntry { ledger: sessions.clone(), asked_at: None, failure: None };
        if let Some(ledger) = &entry.ledger {
            ledger.begun();
        }
        let session = thinker.session();
        self.sessions.push(OpenSession { node, session, is_stuck: false, entry });
        self.meter(node.index);
        self.send(node, open);
    }

    pub(crate) fn send(&mut self, node: NodeId, command: Command) {
        let Some(open) = self.sessions.iter_mut().find(|open| open.node == node) else { return };
        if matches!(command, Command::Propose(_)) {
            open.entry.asked_at = Some(Instant::now());
        }
        // A closed queue needs no handling here: the events will give the reason.
        if let Err(TrySendError::Full(_)) = open.session.commands.try_send(command) {
            open.is_stuck = true;
        }
    }

    pub(crate) fn close(&mut self, node: NodeId, failure: Option<Failure>) {
        if let (Some(failure), Some(node)) = (&failure, self.nodes.get(node.index)) {
            let (part, node) = (self.role, &node.name);
            tracing::warn!(target: LOG_TARGET, node, code = ?failure.code, "{part} node lost: {failure}");
        }
        if let Some(place) = self.sessions.iter().position(|open| open.node == node) {
            self.sessions.swap_remove(place).entry.failure = failure;
        }
    }

    /// Waits for what happens next: a node comes or goes, or the session has an event or a sign of life.
    pub(crate) async fn next(&mut self) -> Input {
        loop {
            if let Some(input) = self.untold.pop_front() {
                return input;
            }
            let Part { sessions, news, .. } = self;
            let (first, second) = match &mut sessions[..] {
                [first, second, ..] => (Some(first), Some(second)),
                [first] => (Some(first), None),
                [] => (None, None),
            };
            tokio::select! {
                biased;
                standings = changed(news) => self.compare(standings),
                input = next_of(first) => return input,
                input = next_of(second) => return input,
            }
        }
    }

    /// Notes what the machine must be told about changes of the nodes.
    fn compare(&mut self, standings: Standings) {
        let known = std::mem::replace(&mut self.known, Arc::clone(&standings));
        for (place, Standing { node, takes_sessions }) in standings.iter().enumerate() {
            let before = find(&known, place, &node.name);
            if before.is_some_and(|before| before.takes_sessions) == *takes_sessions {
                continue;
            }
            let index = self.nodes.iter().position(|it| it.name == node.name);
            match (takes_sessions, index) {
                (true, index) => {
                    let id = NodeId { role: self.role, index: index.unwrap_or(self.nodes.len()) };
                    if index.is_none() {
                        self.before.push(None);
                        self.nodes.push(node.clone());
                    }
                    // It may be a different node of the same name.
                    self.nodes[id.index] = node.clone();
                    self.untold.push_back(Input::Offer(id, node.name.clone()));
                }
                (false, Some(index)) => self.withdraw(index),
                (false, None) => {}
            }
        }
        for (place, Standing { node, .. }) in known.iter().enumerate() {
            let index = self.nodes.iter().position(|it| it.name == node.name);
            if let (None, Some(index)) = (find(&standings, place, &node.name), index) {
                self.withdraw(index);
            }
        }
    }

    fn withdraw(&mut self, index: usize) {
        self.untold.push_back(Input::Withdraw(NodeId { role: self.role, index }));
    }

    /// Starts counting a node's traffic, unless it is counted already.
    fn meter(&mut self, index: usize) {
        if let (Some(node), Some(before)) = (self.nodes.get(index), self.before.get_mut(index)) {
            *before = before.or_else(|| node.traffic());
        }
    }

    /// Returns what crossed the links of the nodes that were used.
    pub(crate) fn traffic(&self) -> impl Iterator<Item = (NodeId, Traffic)> {
        let nodes = self.nodes.iter().zip(&self.before).enumerate();
        nodes.filter_map(|(index, (node, before))| {
            let (before, now) = ((*before)?, node.traffic()?);
            let crossed = Traffic {
                sent_bytes: now.sent_bytes.saturating_sub(before.sent_bytes),
                received_bytes: now.received_bytes.saturating_sub(before.received_bytes),
                requests: now.requests.saturating_sub(before.requests),
            };
            Some((NodeId { role: self.role, index }, crossed))
        })
    }
}

impl LedgerEntry {
    /// Notes that the node wrote something.
    fn wrote(&mut self) {
        if let (Some(asked_at), Some(ledger)) = (self.asked_at.take(), &self.ledger) {
            ledger.wrote(asked_at.elapsed());
        }
    }
}

impl Drop for LedgerEntry {
    fn drop(&mut self) {
        if let Some(ledger) = &self.ledger {
            ledger.ended(self.failure.as_ref());
        }
    }
}

/// Returns the standing of the node with this name, which is usually at the same index.
fn find<'a>(standings: &'a Standings, place: usize, name: &str) -> Option<&'a Standing> {
    let is_it = |it: &&Standing| it.node.name == name;
    standings.get(place).filter(is_it).or_else(|| standings.iter().find(is_it))
}

/// Waits until the standings change, and returns them.
async fn changed(news: &mut Option<watch::Receiver<Standings>>) -> Standings {
    if let Some(news) = news
        && news.changed().await.is_ok()
    {
        return news.borrow_and_update().clone();
    }
    // The sender is gone, so they will not change again.
    std::future::pending().await
}

/// Waits for a session's next event or sign of life. A session that ends without an event counts as failed.
async fn next_of(open: Option<&mut OpenSession>) -> Input {
    let Some(OpenSession { node, session, is_stuck, entry }) = open else {
        return std::future::pending().await;
    };
    let failed = |why| Event::Failed(Failure::new(Code::Unavailable, why));
    if *is_stuck {
        return Input::Event(*node, failed("the node takes no commands: its queue is full"));
    }
    let signs = &mut session.signs;
    let sign = async {
        if signs.changed().await.is_err() {
            // There will be no more signs of life; the session's events give the reason.
            std::future::pending::<()>().await;
        }
    };
    let event = tokio::select! {
        biased;
        event = session.events.recv() => event,
        () = sign => return Input::Alive(*node),
    };
    match &event {
        Some(Event::Delta(_)) => entry.wrote(),
        Some(Event::Finished(_)) => entry.asked_at = None,
        _ => {}
    }
    let event =
        event.unwrap_or_else(|| failed("the node closed the session without giving a reason"));
    Input::Event(*node, event)
}
