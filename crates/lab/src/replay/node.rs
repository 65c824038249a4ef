//! A node behind its link, in simulated time: commands go up, are carried out one after the other,
//! and events come down.
//!
//! What does not live here: what is sent and when (`exchange`).

use std::time::Duration;

use answer::Traffic;
use thinking::{draw::splitmix64, policy::Role};

use super::{
    conditions::Conditions,
    recording::{AskCosts, NodeCosts, Recording},
    sizes,
};
use crate::link::{Direction, LinkProfile, Way, connect};

/// What a node is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Open,
    /// Text of the answer, by its positions.
    Append {
        from: usize,
        to: usize,
    },
    Propose(usize),
    /// What is kept of its proposal, by its positions.
    Commit {
        from: usize,
        to: usize,
    },
}

/// What a node tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Opened,
    Warmed {
        prefill_us: u64,
    },
    /// So much of a proposal is there.
    Delta {
        ask: usize,
        bytes: usize,
    },
    Finished {
        ask: usize,
    },
}

/// One node, with its connection.
#[derive(Debug)]
pub(super) struct Node<'a> {
    recording: &'a Recording,
    costs: &'a NodeCosts,
    up: Direction,
    down: Direction,
    /// When the connection is there.
    made: Duration,
    /// When it has carried out all that it was told.
    free_at: Duration,
    pub(super) traffic: Traffic,
}

impl<'a> Node<'a> {
    pub(super) fn new(
        recording: &'a Recording,
        costs: &'a NodeCosts,
        link: Option<&LinkProfile>,
        conditions: &Conditions,
        connection: u64,
    ) -> Self {
        let none = LinkProfile::default();
        let link = link.unwrap_or(&none);
        let seed = splitmix64(conditions.seed, recording.draw);
        let [mut up, mut down] =
            [Way::Up, Way::Down].map(|way| Direction::new(link, way, seed, connection));
        let made = match conditions.connected {
            true => Duration::ZERO,
            false => connect(&mut up, &mut down, Duration::ZERO),
        };
        let traffic = Traffic::default();
        Node { recording, costs, up, down, made, free_at: Duration::ZERO, traffic }
    }

    /// Sends a command at `now`; says when it arrives.
    pub(super) fn send(&mut self, now: Duration, command: Command) -> Duration {
        let bytes = match command {
            Command::Open => sizes::open(self.recording.prompt_bytes),
            Command::Append { from, to } => {
                // About four bytes a token, when their number is not known.
                let ids = if self.recording.share_ids { (to - from).div_ceil(4) } else { 0 };
                sizes::append(to - from, ids)
            }
            Command::Propose(ask) => {
                let small = self.recording.asks[ask].role == Role::Small;
                let watch = self.recording.watch.filter(|_| small);
                sizes::propose(watch.map_or(0, |watch| watch.bytes))
            }
            Command::Commit { .. } => sizes::commit(),
        };
        self.traffic.sent_bytes += bytes as u64;
        self.up.send(now.max(self.made), bytes)
    }

    /// Carries out a command that has arrived; `tell` gets each event with the time at which the coordinator has it.
    pub(super) fn carry_out(
        &mut self,
        now: Duration,
        command: Command,
        mut tell: impl FnMut(Duration, Event),
    ) {
        self.free_at = self.free_at.max(now);
        match command {
            Command::Open => {
                self.free_at += Duration::from_micros(self.costs.accept_us);
                self.emit(Event::Opened, &mut tell);
                let prefill_us = self.costs.warming.open_us;
                self.free_at += Duration::from_micros(prefill_us);
                self.emit(Event::Warmed { prefill_us }, &mut tell);
            }
            Command::Append { from, to } | Command::Commit { from, to } => {
                let cost = self.costs.warming.cost(from, to);
                self.free_at += cost;
                let prefill_us = u64::try_from(cost.as_micros()).unwrap_or(u64::MAX);
                self.emit(Event::Warmed { prefill_us }, &mut tell);
            }
            Command::Propose(ask) => self.propose(ask, &mut tell),
        }
    }

    /// Tokens come evenly between the first and the last.
    fn propose(&mut self, index: usize, tell: &mut impl FnMut(Duration, Event)) {
        let recording = self.recording;
        let AskCosts { tokens, bytes, first_us, rest_us, .. } = recording.asks[index];
        let began = self.free_at;
        // A token without text, such as the end of the text, is not told.
        let deltas = (tokens as usize).min(bytes);
        let first = began + Duration::from_micros(first_us);
        for delta in 1..=deltas {
            let steps = (deltas as u64 - 1).max(1);
            self.free_at = first + Duration::from_micros(rest_us * (delta as u64 - 1) / steps);
            self.emit(Event::Delta { ask: index, bytes: bytes * delta / deltas }, tell);
        }
        self.free_at = first + Duration::from_micros(rest_us);
        self.emit(Event::Finished { ask: index }, tell);
    }

    fn emit(&mut self, event: Event, tell: &mut impl FnMut(Duration, Event)) {
        let bytes = match event {
            Event::Opened => sizes::opened(self.costs.card_bytes),
            Event::Warmed { .. } => sizes::warmed(),
            Event::Delta { ask, .. } => {
                let AskCosts { tokens, bytes, .. } = self.recording.asks[ask];
                sizes::delta(bytes / tokens.max(1) as usize)
            }
            Event::Finished { .. } => sizes::finished(),
        };
        self.traffic.received_bytes += bytes as u64;
        tell(self.down.send(self.free_at, bytes), event);
    }
}
