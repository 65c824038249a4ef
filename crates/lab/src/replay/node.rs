//! A node behind its link, in simulated time: commands go up and are executed one after the other, and its events come
//! down.
//!
//! What is sent and when is up to the conductor.

use std::{collections::VecDeque, mem::take, time::Duration};

use answer::Traffic;
use conductor::{Input, NodeId};
use thinking::{
    draw::splitmix64,
    policy::Role,
    thinker::{Command, Delta, Event, FinishReason, Finished, Opened, TextHash, Warmed},
};
use transport::DEFAULT_HEARTBEAT;

use super::{
    conditions::Conditions,
    recording::{AskEnd, NodeCosts, Piece, RecordedAsk, Recording},
    sizes,
    speeds::Reading,
};
use crate::link::{Direction, LinkProfile, Way, connect};

/// How far a node's text goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Position {
    bytes: usize,
    hash: TextHash,
}

/// A task of a node.
#[derive(Debug, Clone, Copy)]
enum Work {
    Open,
    /// Read text that ends here.
    Read {
        from: usize,
        to: Position,
    },
    /// Make a proposal; the index is that of the ask.
    Propose(usize),
    Cancel,
}

/// An event of a node. The indices are those of an ask and of its piece.
#[derive(Debug, Clone, Copy)]
pub(super) enum Said {
    Opened,
    Warmed {
        to: Position,
        tokens: u32,
        prefill_us: u64,
    },
    Delta(usize, usize),
    Finished(usize),
    Cancelled(usize),
    /// Nothing but a sign of life.
    Sign,
}

/// What arrives from a node.
#[derive(Debug)]
pub(super) enum Heard {
    /// An event.
    Said(Said),
    /// It would continue to write for the ask with this index, which was not recorded.
    Unknown(usize),
}

/// One node, with its connection.
#[derive(Debug)]
pub(super) struct Node<'a> {
    id: NodeId,
    recording: &'a Recording,
    costs: &'a NodeCosts,
    up: Direction,
    down: Direction,
    /// When the connection is established.
    made: Duration,
    /// The node's text after all commands sent so far.
    position: Position,
    /// The index of the current or last ask.
    pub(super) ask: usize,
    /// The commands in flight, and the events in flight, each with its arrival time.
    commands: VecDeque<(Duration, Work)>,
    said: VecDeque<(Duration, Said)>,
    /// The ask that it writes for until it is cancelled, and when text beyond the recording would arrive.
    unfinished: Option<usize>,
    unknown: Option<(Duration, usize)>,
    /// When it has executed all commands that have arrived.
    free_at: Duration,
    /// When it last sent an event.
    said_at: Duration,
    reading: Reading,
    pub(super) traffic: Traffic,
}

impl<'a> Node<'a> {
    pub(super) fn new(
        id: NodeId,
        recording: &'a Recording,
        costs: &'a NodeCosts,
        conditions: &Conditions,
    ) -> Self {
        let none = LinkProfile::default();
        let (link, connection) = match id.role {
            Role::Small => (&conditions.small, 1),
            Role::Large => (&conditions.large, 0),
        };
        let link = link.as_ref().unwrap_or(&none);
        let seed = splitmix64(conditions.seed, recording.draw);
        let [mut up, mut down] =
            [Way::Up, Way::Down].map(|way| Direction::new(link, way, seed, connection));
        let made = match conditions.connected {
            true => Duration::ZERO,
            false => connect(&mut up, &mut down, Duration::ZERO),
        };
        Node {
            id,
            recording,
            costs,
            up,
            down,
            made,
            position: Position::default(),
            ask: 0,
            commands: VecDeque::new(),
            said: VecDeque::new(),
            unfinished: None,
            unknown: None,
            free_at: Duration::ZERO,
            said_at: Duration::ZERO,
            reading: Reading::default(),
            traffic: Traffic::default(),
        }
    }

    pub(super) fn role(&self) -> Role {
        self.id.role
    }

    fn asked(&self, ask: usize) -> &'a RecordedAsk {
        &self.recording.asks[ask]
    }

    /// Opens its session at `now`.
    pub(super) fn open(&mut self, now: Duration) {
        self.goes_up(now, sizes::open(self.recording.prompt_bytes), Work::Open);
    }

    /// Sends it a command at `now`.
    pub(super) fn send(&mut self, now: Duration, command: &Command) {
        let (bytes, work) = match command {
            Command::Open(_) => return self.open(now),
            Command::Append(append) => {
                let text_bytes = append.text.len();
                // About four bytes per token, if their number is not known.
                let ids = if self.recording.share_ids { text_bytes.div_ceil(4) } else { 0 };
                (sizes::append(text_bytes, ids), self.read(&append.text))
            }
            Command::Propose(_) => {
                let watch =
                    if self.id.role == Role::Small { self.recording.watch_bytes } else { 0 };
                (sizes::propose(watch), Work::Propose(self.ask))
            }
            Command::Commit { bytes } => {
                let text = &self.asked(self.ask).text;
                let kept = usize::try_from(*bytes).ok().and_then(|bytes| text.get(..bytes));
                (sizes::commit(), self.read(kept.unwrap_or_default()))
            }
            // Answers with a review are not replayed.
            Command::Cancel | Command::Cut(_) => (sizes::cancel(), Work::Cancel),
        };
        self.goes_up(now, bytes, work);
    }

    fn goes_up(&mut self, now: Duration, bytes: usize, work: Work) {
        self.traffic.sent_bytes += bytes as u64;
        let at = self.up.send(now.max(self.made), bytes);
        self.commands.push_back((at, work));
    }

    /// Returns when the next command arrives at the node, or its next event here.
    pub(super) fn next_at(&self) -> Option<Duration> {
        let command = self.commands.front().map(|(at, _)| *at);
        let said = self.said.front().map(|(at, _)| *at);
        let unknown = self.unknown.map(|(at, _)| at);
        [command, said, unknown].into_iter().flatten().min()
    }

    /// Returns the first event that has arrived here by `now`.
    pub(super) fn hear(&mut self, now: Duration) -> Option<Heard> {
        if let Some((_, said)) = self.said.pop_front_if(|(at, _)| *at <= now) {
            return Some(Heard::Said(said));
        }
        self.unknown.take_if(|(at, _)| *at <= now).map(|(_, ask)| Heard::Unknown(ask))
    }

    /// Executes the commands that have arrived by `now`.
    pub(super) fn work(&mut self, now: Duration) {
        while let Some((at, work)) = self.commands.pop_front_if(|(at, _)| *at <= now) {
            self.carry_out(at, work);
        }
    }

    fn read(&mut self, text: &str) -> Work {
        let from = self.position.bytes;
        self.position.bytes += text.len();
        self.position.hash.push(text);
        Work::Read { from, to: self.position }
    }

    fn carry_out(&mut self, now: Duration, work: Work) {
        self.free_at = self.free_at.max(now);
        match work {
            Work::Open => {
                self.said_at = now;
                self.free_at += Duration::from_micros(self.costs.accept_us);
                self.say(Said::Opened, now);
                let tokens = self.costs.prompt_tokens.saturating_sub(self.costs.cached_tokens);
                let recorded = Duration::from_micros(self.costs.warming.open_us);
                let prefill_us = self.reads(now, tokens, recorded);
                self.say(Said::Warmed { to: Position::default(), tokens, prefill_us }, now);
            }
            Work::Read { from, to } => {
                let (time, tokens) = self.costs.warming.cost(from, to.bytes);
                let prefill_us = self.reads(now, tokens, time);
                self.say(Said::Warmed { to, tokens, prefill_us }, now);
            }
            Work::Propose(ask) => {
                self.reading.ends();
                self.propose(ask, now);
            }
            Work::Cancel => {
                if let Some(ask) = self.unfinished.take() {
                    self.unknown = None;
                    self.say(Said::Cancelled(ask), now);
                }
            }
        }
    }

    /// Takes in this many tokens: in the recorded time, or in that of the node's own speed. Returns it in microseconds.
    fn reads(&mut self, now: Duration, tokens: u32, recorded: Duration) -> u64 {
        let time = match &self.costs.speeds {
            None => recorded,
            Some(curve) => self.reading.takes(curve, now, self.free_at, tokens),
        };
        self.free_at += time;
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    }

    fn propose(&mut self, ask: usize, now: Duration) {
        let recorded = self.asked(ask);
        let first = self.free_at + Duration::from_micros(recorded.first_us);
        for (index, piece) in recorded.pieces.iter().enumerate() {
            self.free_at = first + Duration::from_micros(piece.after_us);
            self.say(Said::Delta(ask, index), now);
        }
        let end = first + Duration::from_micros(recorded.rest_us);
        match recorded.ended {
            AskEnd::Finished => {
                self.free_at = end;
                self.say(Said::Finished(ask), now);
            }
            AskEnd::Overtaken { .. } => {
                self.unfinished = Some(ask);
                self.unknown = Some((self.down.clone().send(end, 0), ask));
            }
            // Its text would have arrived after the timeout.
            AskEnd::GivenUp => self.unfinished = Some(ask),
        }
    }

    /// Sends an event as soon as the node is free, and heartbeats before that if it was silent for long.
    fn say(&mut self, said: Said, now: Duration) {
        while self.said_at + DEFAULT_HEARTBEAT < self.free_at {
            self.said_at += DEFAULT_HEARTBEAT;
            let at = self.down.send(self.said_at, sizes::HEARTBEAT);
            self.traffic.received_bytes += sizes::HEARTBEAT as u64;
            // Earlier ones are left out: the node had nothing to do then, and nobody waited for it.
            if at >= now {
                self.said.push_back((at, Said::Sign));
            }
        }
        self.said_at = self.free_at;
        let bytes = match said {
            Said::Opened => sizes::opened(&self.costs.card),
            Said::Warmed { .. } => sizes::warmed(),
            Said::Delta(ask, index) => {
                let piece = self.asked(ask).pieces[index];
                sizes::delta(piece.end - self.begin(ask, index), piece.tokens)
            }
            Said::Finished(_) | Said::Cancelled(_) => sizes::finished(),
            Said::Sign => sizes::HEARTBEAT,
        };
        self.traffic.received_bytes += bytes as u64;
        let at = self.down.send(self.free_at, bytes);
        self.said.push_back((at, said));
    }

    /// Returns where a piece begins, in bytes of its proposal.
    fn begin(&self, ask: usize, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.asked(ask).pieces[before].end)
    }

    /// Converts an event to a session's event. A piece of text reuses the memory of `spare`.
    pub(super) fn input(&self, said: Said, spare: &mut String) -> Input {
        let event = match said {
            Said::Opened => Event::Opened(Box::new(Opened {
                card: self.costs.card.clone(),
                prompt_tokens: self.costs.prompt_tokens,
                cached_tokens: self.costs.cached_tokens,
            })),
            Said::Warmed { to, tokens, prefill_us } => Event::Warmed(Warmed {
                committed_bytes: to.bytes as u64,
                hash: to.hash,
                tokens,
                prefill_tokens: tokens,
                prefill_us,
                reviewed_bytes: 0,
                passes_milli: 0,
            }),
            Said::Delta(ask, index) => {
                let RecordedAsk { text, pieces, .. } = self.asked(ask);
                let Piece { end, tokens, settled, .. } = pieces[index];
                let piece = &text[self.begin(ask, index)..end];
                let mut text = take(spare);
                text.clear();
                text.push_str(piece);
                let settled_bytes = settled as u64;
                Event::Delta(Delta { text, tokens, settled_bytes, ..Delta::default() })
            }
            Said::Finished(ask) => Event::Finished(self.finished(ask, None)),
            Said::Cancelled(ask) => {
                Event::Finished(self.finished(ask, Some(FinishReason::Cancelled)))
            }
            Said::Sign => return Input::Alive(self.id),
        };
        Input::Event(self.id, event)
    }

    fn finished(&self, ask: usize, reason: Option<FinishReason>) -> Finished {
        let recorded = self.asked(ask);
        Finished {
            reason: reason.unwrap_or_else(|| recorded.reason.clone()),
            tokens: recorded.tokens,
            bytes: recorded.text.len() as u64,
            prefill_tokens: recorded.prefill_tokens,
            // The journal only holds the total for the whole answer.
            cached_tokens: 0,
            timing: recorded.timing,
            passes_milli: 0,
        }
    }
}
