//! What happened in a simulated answer, one line each, for people.

use std::time::Duration;

use conductor::{Effect, Input, NodeId, Outcome, progress::Progress};
use thinking::{
    policy::Role,
    thinker::{Command, Event, FinishReason, TextEnd},
};

use crate::scenario::{Place, Scenario, Trouble};

/// Lines with their times, if requested.
#[derive(Debug)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(is_wanted: bool) -> Self {
        Trace { lines: is_wanted.then(Vec::new) }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, at: Duration, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>12.3} ms  {}", at.as_secs_f64() * 1e3, what()));
        }
    }

    /// Adds lines that describe the scenario.
    pub(crate) fn scenario(&mut self, scenario: &Scenario) {
        if let Some(lines) = &mut self.lines {
            lines.extend(scenario_lines(scenario));
        }
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

fn scenario_lines(scenario: &Scenario) -> Vec<String> {
    let Scenario { seed, question, settings, policy, cancel_at, pause, .. } = scenario;
    let mut lines = vec![
        format!(
            "seed {seed}: at most {} tokens, deadline {:?}",
            question.max_tokens, question.deadline
        ),
        format!("policy: {policy:?}"),
        format!("settings: {settings:?}"),
    ];
    for node in scenario.nodes() {
        let Place { model, one_way, jitter, heartbeat, troubles, joins_at, leaves_at } =
            scenario.place(node);
        lines.push(format!(
            "{}: {one_way:?} away, jitter {jitter:?}, a sign every {heartbeat:?}, {model:?}",
            name(node)
        ));
        if !joins_at.is_zero() || leaves_at.is_some() {
            lines.push(format!("    named from {joins_at:?} to {leaves_at:?}"));
        }
        for Trouble { kind, from, time } in troubles {
            lines.push(format!("    {kind:?} at {from:?} for {time:?}"));
        }
    }
    lines.extend(cancel_at.map(|at| format!("the caller cancels at {at:?}")));
    lines.extend(
        pause.map(|(from, time)| format!("the machine is paused at {from:?} for {time:?}")),
    );
    lines
}

/// Returns the line of an input to the machine.
pub(crate) fn input(input: &Input) -> String {
    match input {
        Input::Event(node, event) => format!("{} -> {}", name(*node), self::event(event)),
        Input::Alive(node) => format!("{} -> is alive", name(*node)),
        Input::Offer(node, name) => format!("offered {node:?} {name}"),
        Input::Withdraw(node) => format!("withdrawn {node:?}"),
        Input::Wake => "wake".to_owned(),
        Input::Cancel => "the caller cancels".to_owned(),
    }
}

/// Returns the line of an effect of the machine.
pub(crate) fn effect(effect: &Effect) -> String {
    let what = match effect {
        Effect::Open(node, open) => {
            let (length, deadline) = (open.committed.len(), open.deadline);
            format!("{} <- open, {length} bytes committed, deadline {deadline:?}", name(*node))
        }
        Effect::Send(node, command) => format!("{} <- {}", name(*node), self::command(command)),
        Effect::Close(node, None) => format!("{} <- close", name(*node)),
        Effect::Close(node, Some(failure)) => {
            format!("{} <- close: {:?}, {failure}", name(*node), failure.code)
        }
        Effect::Tell(stamped) => format!("tell: {}", progress(&stamped.progress)),
        Effect::End => "end".to_owned(),
    };
    format!("    {what}")
}

/// Returns the line of an event, when the node sends it.
pub(crate) fn said(node: NodeId, event: &Event) -> String {
    format!("        {} says {}", name(node), self::event(event))
}

/// Returns the line of the outcome.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    let summary = &outcome.summary;
    let degraded = summary.degraded.as_deref().unwrap_or("no");
    format!(
        "{:?}; small {} tokens, large {}, inserted {}; degraded: {degraded}; text {:?}",
        outcome.ended,
        summary.small.tokens,
        summary.large.tokens,
        summary.inserted_tokens,
        outcome.text()
    )
}

fn name(node: NodeId) -> String {
    let part = match node.role {
        Role::Small => "small",
        Role::Large => "large",
    };
    format!("{part}-{}", node.index)
}

fn event(event: &Event) -> String {
    match event {
        Event::Opened(opened) => format!("opened, prompt of {} tokens", opened.prompt_tokens),
        Event::Delta(delta) => format!(
            "text {:?}, {} tokens, settled up to byte {}",
            delta.text, delta.tokens, delta.settled_bytes
        ),
        Event::Finished(finished) => format!(
            "finished, {}: {} tokens, {} bytes",
            reason(&finished.reason),
            finished.tokens,
            finished.bytes
        ),
        Event::Warmed(warmed) => format!(
            "has {} bytes in its cache, {} of them reviewed",
            warmed.committed_bytes, warmed.reviewed_bytes
        ),
        Event::Objection(objection) => format!(
            "objects to {} bytes at byte {}, and would have {:?}",
            objection.bytes, objection.at_byte, objection.instead
        ),
        Event::Failed(failure) => format!("failed, {:?}: {failure}", failure.code),
    }
}

fn reason(reason: &FinishReason) -> String {
    match reason {
        FinishReason::Trigger(found) => {
            format!("{:?} found, cut at byte {}", found.kind, found.cut)
        }
        other => format!("{other:?}"),
    }
}

fn command(command: &Command) -> String {
    match command {
        Command::Open(_) => "open".to_owned(),
        Command::Append(append) => {
            let exempt = if append.exempt { ", exempt" } else { "" };
            let end = match append.end {
                TextEnd::Open => "",
                TextEnd::Stretch => ", which ends there",
                TextEnd::Answer => ", which ends the answer",
            };
            format!("append {:?}{exempt}{end}", append.text)
        }
        Command::Propose(propose) => {
            let watch = if propose.watch.is_some() { ", watched" } else { "" };
            format!(
                "propose at most {} tokens, stop at {:?}{watch}",
                propose.max_tokens, propose.stop
            )
        }
        Command::Commit { bytes } => format!("commit {bytes} bytes"),
        Command::Cancel => "cancel".to_owned(),
        Command::Cut(cut) if cut.accept => format!("cut to byte {} and accept", cut.bytes),
        Command::Cut(cut) => format!("cut to byte {}", cut.bytes),
    }
}

fn progress(progress: &Progress) -> String {
    match progress {
        Progress::Text(text) => format!("{:?} wrote {:?}", text.writer, text.text),
        Progress::Ask(asked) => format!(
            "ask {} of {:?}: {:?}, at most {} tokens from byte {}",
            asked.ask, asked.role, asked.why, asked.max_tokens, asked.committed_bytes
        ),
        Progress::Kept(kept) => format!(
            "ask {}: {} bytes and {} tokens kept, {} forgotten",
            kept.ask, kept.bytes, kept.tokens, kept.discarded_tokens
        ),
        Progress::Opened(opened) => format!("{} accepted the question", opened.node),
        Progress::Finished(finished) => format!("ask {}: finished", finished.ask),
        Progress::Warmed(warmed) => {
            format!("{:?} has {} bytes", warmed.role, warmed.committed_bytes)
        }
        other => format!("{other:?}"),
    }
}
