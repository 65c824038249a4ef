//! The driver: runs an answer's machine over real sessions, with a clock and an observer.
//!
//! It decides nothing. It waits in one place, [`answer`], for the next event of either session, the
//! caller's wish to stop, or the time that the machine wants to be woken at, and carries out what
//! the machine says. Carrying out never waits, so neither node can hold up the other.

use std::{pin::pin, time::Duration};

use conductor::{
    Conductor, Effect, Input, NodeId, NodeNames, Outcome, invariants::DebugWitness,
    progress::Progress,
};
use thinking::{
    policy::Role,
    thinker::{Code, Command, Event, Failure, Session},
};
use tokio::{
    sync::mpsc::error::TrySendError,
    time::{Instant, sleep_until},
};
use tracing::{Instrument as _, field::Empty};

use crate::{
    LOG_TARGET, Summary,
    progress::Observer,
    question::{Node, Run, Traffic},
    spans::AskSpans,
};

/// Answers a question: drives the policy over the nodes until it ends the answer, a limit is
/// reached, `cancel` completes, or no small node is left.
///
/// Never fails: what went wrong is in the outcome, with the text so far. When it returns, or is
/// dropped, both sessions are given up and the nodes stop computing.
pub async fn answer(
    run: Run,
    observer: &mut dyn Observer,
    cancel: impl Future<Output = ()> + Send,
) -> Outcome {
    // Of the level of errors, so that whatever is logged about the question says which one it is.
    let span = tracing::error_span!(
        target: LOG_TARGET,
        "question",
        question_id = run.question.id,
        tokens = Empty,
        takeovers = Empty,
        corrections = Empty,
        degraded = Empty
    );
    let outcome = drive(run, observer, cancel).instrument(span.clone()).await;
    let Summary { takeovers, corrections, degraded, .. } = &outcome.summary;
    span.record("tokens", outcome.summary.tokens()).record("takeovers", takeovers.len());
    span.record("corrections", corrections);
    span.record("degraded", degraded.is_some());
    outcome
}

async fn drive(
    run: Run,
    observer: &mut dyn Observer,
    cancel: impl Future<Output = ()> + Send,
) -> Outcome {
    let started = Instant::now();
    let names = |nodes: &[Node]| nodes.iter().map(|node| node.name.clone()).collect();
    let nodes = NodeNames { small: names(&run.small), large: names(&run.large) };
    let (small, large) = (Part::new(Role::Small, run.small), Part::new(Role::Large, run.large));
    let mut parts = Parts { small, large };
    let mut spans = AskSpans::default();
    let mut witness = DebugWitness::new(&run.question, run.settings);
    let (mut conductor, mut effects) =
        Conductor::start(run.question, run.settings, run.policy, nodes);
    let mut cancel = pin!(cancel);
    let mut now = Duration::ZERO;
    let mut first = Role::Large;
    'answer: loop {
        witness.step(now, &effects, conductor.wake_at());
        for effect in effects {
            match effect {
                Effect::Open(node, open) => parts.of(node.role).open(node, Command::Open(*open)),
                Effect::Send(node, command) => parts.of(node.role).send(*command),
                Effect::Close(node, failure) => parts.of(node.role).close(node, failure.as_ref()),
                Effect::Tell(stamped) => {
                    log(&stamped.progress);
                    spans.see(&stamped.progress);
                    observer.see(&stamped);
                }
                Effect::End => break 'answer,
            }
        }
        // In this order: a flood of events must keep neither the caller nor the other node waiting,
        // and a node is silent only when nothing of it lies here unread.
        let input = tokio::select! {
            biased;
            () = &mut cancel => Input::Cancel,
            input = parts.next(first) => input,
            () = sleep_until(started + conductor.wake_at()) => Input::Wake,
        };
        if let Input::Event(node, _) | Input::Alive(node) = &input {
            first = node.role.other();
        }
        witness.take(&input);
        now = started.elapsed();
        effects = conductor.step(input, now);
    }
    let traffic: Vec<_> = parts.small.traffic().chain(parts.large.traffic()).collect();
    let outcome = conductor.conclude(&traffic);
    witness.end(&outcome);
    observer.see(&outcome.told());
    outcome
}

/// Both parts.
struct Parts {
    small: Part,
    large: Part,
}

impl Parts {
    fn of(&mut self, role: Role) -> &mut Part {
        match role {
            Role::Small => &mut self.small,
            Role::Large => &mut self.large,
        }
    }

    /// What happens next in either session, of this part first where both have something to say.
    async fn next(&mut self, first: Role) -> Input {
        let Parts { small, large } = self;
        let (one, other) = match first {
            Role::Small => (small, large),
            Role::Large => (large, small),
        };
        tokio::select! {
            biased;
            input = one.next() => input,
            input = other.next() => input,
        }
    }
}

/// The nodes of one part, and the session of the one that plays it.
struct Part {
    role: Role,
    nodes: Vec<Node>,
    /// What had crossed each node's link when it was first used, where that is counted.
    before: Vec<Option<Traffic>>,
    session: Option<(NodeId, Session)>,
    /// The session's queue was full: it takes no commands.
    is_stuck: bool,
}

impl Part {
    fn new(role: Role, nodes: Vec<Node>) -> Self {
        let before = vec![None; nodes.len()];
        let mut part = Part { role, nodes, before, session: None, is_stuck: false };
        part.meter(0);
        part
    }

    fn open(&mut self, node: NodeId, open: Command) {
        let Some(thinker) = self.nodes.get(node.index).map(|node| &node.thinker) else { return };
        self.session = Some((node, thinker.session()));
        self.is_stuck = false;
        self.meter(node.index);
        self.send(open);
    }

    fn send(&mut self, command: Command) {
        let Some((_, session)) = &self.session else { return };
        // A closed queue needs no care here: the events say why.
        if let Err(TrySendError::Full(_)) = session.commands.try_send(command) {
            self.is_stuck = true;
        }
    }

    fn close(&mut self, node: NodeId, failure: Option<&Failure>) {
        self.session = None;
        if let (Some(failure), Some(node)) = (failure, self.nodes.get(node.index)) {
            let (part, node) = (self.role, &node.name);
            tracing::warn!(target: LOG_TARGET, node, code = ?failure.code, "{part} node lost: {failure}");
        }
    }

    /// The next event; a session that ends without a word has failed.
    async fn next(&mut self) -> Input {
        let Some((node, session)) = &mut self.session else {
            return std::future::pending().await;
        };
        let failed = |why| Event::Failed(Failure::new(Code::Unavailable, why));
        if self.is_stuck {
            let event = failed("the node takes no commands: its queue is full");
            return Input::Event(*node, event);
        }
        let signs = &mut session.signs;
        let sign = async {
            if signs.changed().await.is_err() {
                // There will be no more of them; its events say why.
                std::future::pending::<()>().await;
            }
        };
        let event = tokio::select! {
            biased;
            event = session.events.recv() => event,
            () = sign => return Input::Alive(*node),
        };
        let event =
            event.unwrap_or_else(|| failed("the node closed the session without giving a reason"));
        Input::Event(*node, event)
    }

    /// Counts a node's traffic from now on, if nothing does yet.
    fn meter(&mut self, index: usize) {
        if let (Some(node), Some(before)) = (self.nodes.get(index), self.before.get_mut(index)) {
            *before = before.or_else(|| node.traffic());
        }
    }

    /// What crossed the links of the nodes that were used.
    fn traffic(&self) -> impl Iterator<Item = (NodeId, Traffic)> {
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

/// What a person should know who reads the log and not the journal.
fn log(progress: &Progress) {
    match progress {
        Progress::Rejoined(back) => {
            let (node, attempts) = (&back.node, back.attempts);
            tracing::info!(target: LOG_TARGET, node, attempts, "the large node is back");
        }
        Progress::Repaired { role, committed_bytes } => {
            tracing::warn!(target: LOG_TARGET, ?role, committed_bytes, "the node's text differs: sent again");
        }
        _ => {}
    }
}
