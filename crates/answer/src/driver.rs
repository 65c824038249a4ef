//! The driver: runs an answer's machine over real sessions, with a clock and an observer.
//!
//! It decides nothing. It waits in one place, [`answer`], for the next event of either session, for the caller to
//! cancel, or for the time at which the machine wants to be woken, and carries out the machine's effects. Carrying out
//! never waits, so neither node can hold up the other.

use std::{pin::pin, time::Duration};

use conductor::{
    Conductor, Effect, Input, NodeNames, Outcome, invariants::DebugWitness, progress::Progress,
};
use thinking::{policy::Role, thinker::Command};
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument as _, field::Empty};

use crate::{LOG_TARGET, Summary, part::Part, progress::Observer, question::Run, spans::AskSpans};

/// Answers a question: drives the policy over the nodes until it ends the answer, a limit is reached, `cancel`
/// completes, or no small node is left.
///
/// Never fails: errors are part of the outcome, together with the text so far. When it returns or is dropped, both
/// sessions are given up and the nodes stop computing.
pub async fn answer(
    run: Run,
    observer: &mut dyn Observer,
    cancel: impl Future<Output = ()> + Send,
) -> Outcome {
    // The span has the level of errors, so that every log line about the question carries its id.
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
    let (small, large) = (Part::new(Role::Small, run.small), Part::new(Role::Large, run.large));
    let nodes = NodeNames { small: small.names(), large: large.names() };
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
                Effect::Send(node, command) => parts.of(node.role).send(node, *command),
                Effect::Close(node, failure) => parts.of(node.role).close(node, failure),
                Effect::Tell(stamped) => {
                    log(&stamped.progress);
                    spans.see(&stamped.progress);
                    observer.see(&stamped);
                }
                Effect::End => break 'answer,
            }
        }
        // The order matters: a flood of events must delay neither the caller nor the other node, and a node is silent
        // only if none of its events is unread here.
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

    /// Returns what happens next in either session. If both have something, the part of the role `first` comes first.
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

/// Logs what people who read only the log, not the journal, should know.
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
