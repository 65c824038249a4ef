//! The coordinator's side in simulated time: the conductor's rules of what is sent to which node, and when.
//!
//! A takeover's price comes from these rules, so they are the conductor's own: text is sent ahead in
//! chunks while nothing is proposed, text in an open trigger window is held back, a proposal goes
//! out at once behind all text it follows. What does not live here: a node's own work and its link
//! (`node`).

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use answer::account::{Spent, TimeSplit};
use thinking::policy::{Role, Why};

use super::{
    conditions::Conditions,
    node::{Command, Event, Node},
    recording::{Act, AskCosts, Recording},
    replayed::{Doubt, Replayed},
};

/// As the conductor's: unanswered commands after which text is gathered, and the chunk that is worth a message.
const UNANSWERED: usize = 16;
const CHUNK_BYTES: usize = 32;

/// One answer on its way.
pub(super) struct Exchange<'a> {
    recording: &'a Recording,
    conditions: &'a Conditions,
    now: Duration,
    /// What arrives when; the number keeps the order of what arrives together.
    queue: BinaryHeap<Reverse<(Duration, u64, Arrival)>>,
    queued: u64,
    small: Link<'a>,
    large: Option<Link<'a>>,
    /// Length of the committed text.
    written: usize,
    drafts: Vec<Draft>,
    /// How many of the recorded turns are done.
    turn: usize,
    awaiting: Awaiting,
    /// The latest ask.
    asked: usize,
    heard: Duration,
    over: bool,
    time: TimeSplit,
    handling_us: u64,
    doubt: Option<Doubt>,
}

/// What the conductor waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaiting {
    Opened,
    Finished(Role),
    Inserted,
}

/// Something that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Command(Role, Command),
    Event(Role, Event),
}

impl Ord for Arrival {
    /// Only their numbers order them.
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A node's session, as the conductor keeps it.
struct Link<'a> {
    node: Node<'a>,
    /// How far its text goes once it has carried out all.
    given: usize,
    proposing: bool,
    opened: bool,
    unanswered: usize,
}

/// What came of an ask so far.
#[derive(Debug, Clone, Copy, Default)]
struct Draft {
    asked_at: Duration,
    first_text_at: Option<Duration>,
    late_us: u64,
    shown: usize,
    spent: Spent,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(recording: &'a Recording, conditions: &'a Conditions) -> Self {
        let link = |costs, profile: &Option<_>, connection| Link {
            node: Node::new(recording, costs, profile.as_ref(), conditions, connection),
            given: 0,
            proposing: false,
            opened: false,
            unanswered: 0,
        };
        Exchange {
            recording,
            conditions,
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            queued: 0,
            small: link(&recording.small, &conditions.small, 1),
            large: recording.large.as_ref().map(|costs| link(costs, &conditions.large, 0)),
            written: 0,
            drafts: vec![Draft::default(); recording.asks.len()],
            turn: 0,
            awaiting: Awaiting::Opened,
            asked: 0,
            heard: Duration::ZERO,
            over: false,
            time: TimeSplit::default(),
            handling_us: 0,
            doubt: None,
        }
    }

    /// From the question to the end of the answer.
    pub(super) fn run(mut self) -> Replayed {
        self.send(Role::Small, Command::Open);
        self.send(Role::Large, Command::Open);
        while !self.over {
            let Some(Reverse((at, _, arrival))) = self.queue.pop() else { break };
            self.now = at;
            match arrival {
                Arrival::Command(role, command) => self.carry_out(role, command),
                Arrival::Event(role, event) => self.take(role, event),
            }
        }
        self.conclude()
    }

    fn link(&mut self, role: Role) -> Option<&mut Link<'a>> {
        match role {
            Role::Small => Some(&mut self.small),
            Role::Large => self.large.as_mut(),
        }
    }

    fn push(&mut self, at: Duration, arrival: Arrival) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, arrival)));
    }

    fn send(&mut self, role: Role, command: Command) {
        let now = self.now;
        let Some(link) = self.link(role) else { return };
        // A proposal is answered by its end, not by a report on the text.
        link.unanswered += usize::from(!matches!(command, Command::Propose(_)));
        let at = link.node.send(now, command);
        self.push(at, Arrival::Command(role, command));
    }

    fn carry_out(&mut self, role: Role, command: Command) {
        let now = self.now;
        let link = match role {
            Role::Small => Some(&mut self.small),
            Role::Large => self.large.as_mut(),
        };
        let (queue, queued) = (&mut self.queue, &mut self.queued);
        if let Some(link) = link {
            link.node.carry_out(now, command, |at, event| {
                *queued += 1;
                queue.push(Reverse((at, *queued, Arrival::Event(role, event))));
            });
        }
    }

    fn take(&mut self, role: Role, event: Event) {
        let awaited = match self.awaiting {
            Awaiting::Finished(role) => role,
            Awaiting::Opened | Awaiting::Inserted => Role::Small,
        };
        if awaited == role {
            self.watch_silence(role);
            self.heard = self.now;
        }
        match event {
            Event::Opened => {
                if let Some(link) = self.link(role) {
                    link.opened = true;
                }
                match (role, self.awaiting) {
                    (Role::Small, Awaiting::Opened) => self.advance(),
                    _ => self.warm(true),
                }
            }
            Event::Warmed { prefill_us } => self.warmed(role, prefill_us),
            Event::Delta { ask, bytes } => {
                let draft = &mut self.drafts[ask];
                let first = *draft.first_text_at.get_or_insert(self.now);
                let waited = first - draft.asked_at;
                let late = self.recording.takeover_deadline.is_some_and(|most| waited > most);
                if role == Role::Large && late {
                    self.doubt.get_or_insert(Doubt::TakeoverDeadline);
                }
                if !self.recording.asks[ask].provisional {
                    self.show(ask, self.recording.settled(ask, bytes));
                }
                self.warm(false);
            }
            Event::Finished { ask } => {
                self.finished(ask);
                self.advance();
            }
        }
    }

    fn watch_silence(&mut self, role: Role) {
        let (timeout, doubt) = match role {
            Role::Small => (self.recording.small_timeout, Doubt::SmallTimeout),
            Role::Large => (self.recording.large_timeout, Doubt::LargeTimeout),
        };
        if self.now.saturating_sub(self.heard) > timeout {
            self.doubt.get_or_insert(doubt);
        }
    }

    fn warmed(&mut self, role: Role, prefill_us: u64) {
        let mut answered_all = false;
        if let Some(link) = self.link(role) {
            link.unanswered = link.unanswered.saturating_sub(1);
            answered_all = link.unanswered == 0;
        }
        let now = self.now;
        // Prefill that a proposal had to wait for.
        if self.awaiting == Awaiting::Finished(role) {
            let draft = &mut self.drafts[self.asked];
            if draft.first_text_at.is_none() {
                draft.late_us = (draft.late_us + prefill_us).min(micros(now - draft.asked_at));
            }
        }
        // The policy's own text is the last that the small node was sent.
        if self.awaiting == Awaiting::Inserted && role == Role::Small && answered_all {
            self.advance();
        } else {
            self.warm(false);
        }
    }

    fn finished(&mut self, index: usize) {
        let ask = &self.recording.asks[index];
        let draft = &mut self.drafts[index];
        draft.spent = spent(ask, draft, micros(self.now - draft.asked_at));
        let spent = draft.spent;
        self.handling_us += ask.handling_us.min(spent.network_us);
        match ask.role {
            Role::Small => self.time.small.add(&spent),
            Role::Large => self.time.large.add(&spent),
        }
    }

    /// Does what the policy did next.
    fn advance(&mut self) {
        let recording = self.recording;
        let Some(turn) = recording.turns.get(self.turn) else {
            self.over = true;
            return;
        };
        self.turn += 1;
        let ending = turn.iter().all(|act| matches!(act, Act::Keep(_)));
        for act in turn {
            match *act {
                Act::Keep(ask) => self.keep(ask, ending),
                Act::Insert(bytes) => self.insert(bytes),
                Act::Ask(ask) => self.ask(ask),
            }
        }
        self.over = ending;
    }

    fn ask(&mut self, index: usize) {
        let role = self.recording.asks[index].role;
        self.drafts[index].asked_at = self.now;
        self.catch_up(role);
        if let Some(link) = self.link(role) {
            link.proposing = true;
        }
        self.send(role, Command::Propose(index));
        (self.awaiting, self.asked) = (Awaiting::Finished(role), index);
        self.heard = self.now;
    }

    fn keep(&mut self, index: usize, ending: bool) {
        let AskCosts { role, kept, .. } = self.recording.asks[index];
        self.show(index, kept);
        if let Some(link) = self.link(role) {
            let from = link.given;
            link.given += kept;
            link.proposing = false;
            self.send(role, Command::Commit { from, to: from + kept });
        }
        if !ending {
            self.warm(true);
        }
    }

    fn insert(&mut self, bytes: usize) {
        self.catch_up(Role::Small);
        self.shown_until(self.written + bytes);
        let from = self.small.given;
        self.small.given += bytes;
        self.send(Role::Small, Command::Append { from, to: from + bytes });
        self.warm(true);
        self.awaiting = Awaiting::Inserted;
        self.heard = self.now;
    }

    fn show(&mut self, index: usize, bytes: usize) {
        let draft = &mut self.drafts[index];
        if draft.shown < bytes {
            let end = self.written + bytes - draft.shown;
            draft.shown = bytes;
            self.shown_until(end);
        }
    }

    fn shown_until(&mut self, end: usize) {
        self.written = end;
        if end > 0 {
            self.time.first_text_us.get_or_insert(micros(self.now));
        }
    }

    /// Sends both nodes ahead what they have not got, if it is worth a message.
    fn warm(&mut self, all: bool) {
        if !self.recording.keep_warm {
            return;
        }
        for role in [Role::Small, Role::Large] {
            let (written, text) = (self.written, &self.recording.text);
            let Some(link) = self.link(role) else { continue };
            let pending = text.as_bytes().get(link.given..written).unwrap_or_default();
            let worth = all || pending.len() >= CHUNK_BYTES || pending.contains(&b'\n');
            if worth && link.opened && link.unanswered < UNANSWERED {
                self.catch_up(role);
            }
        }
    }

    /// Sends all committed text that it has not got, unless a proposal is open.
    fn catch_up(&mut self, role: Role) {
        let written = self.written;
        let Some(link) = self.link(role) else { return };
        let from = link.given;
        if from < written && !link.proposing {
            link.given = written;
            self.send(role, Command::Append { from, to: written });
        }
    }

    fn conclude(mut self) -> Replayed {
        let total_us = micros(self.now);
        self.time.total_us = total_us;
        self.time.other_us =
            total_us.saturating_sub(self.time.small.total_us() + self.time.large.total_us());
        if self.recording.deadline.is_some_and(|deadline| self.now > deadline) {
            self.doubt = Some(Doubt::Deadline);
        }
        let mut takeovers = self.recording.takeovers.clone();
        for takeover in &mut takeovers {
            let asks = self.recording.asks.iter().zip(&self.drafts);
            let mut same =
                asks.filter(|(ask, _)| ask.number == takeover.ask && ask.why != Why::Turn);
            if let Some((_, draft)) = same.next() {
                takeover.handoff_us = draft.first_text_at.map(|at| micros(at - draft.asked_at));
                takeover.wall_us = draft.spent.total_us();
                takeover.spent = draft.spent;
            }
        }
        let link = self.conditions.large.as_ref();
        Replayed {
            question: self.recording.question.clone(),
            link: link.map_or_else(|| "none".to_owned(), |link| link.name.clone()),
            seed: self.conditions.seed,
            time: self.time,
            handling_us: self.handling_us,
            takeovers,
            small_traffic: self.small.node.traffic,
            large_traffic: self.large.map(|large| large.node.traffic).unwrap_or_default(),
            doubt: self.doubt,
        }
    }
}

/// Where the time of an ask went, as the conductor counts it.
fn spent(ask: &AskCosts, draft: &Draft, wall_us: u64) -> Spent {
    let prefill_us = (ask.timing.prefill_us + draft.late_us).min(wall_us);
    let decode_us = ask.timing.decode_us.min(wall_us - prefill_us);
    let queue_us = ask.timing.queue_us.min(wall_us - prefill_us - decode_us);
    let network_us = wall_us - prefill_us - decode_us - queue_us;
    Spent { queue_us, prefill_us, decode_us, network_us }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Recording {
    /// How much of an ask's first bytes no rule can cut any more: all but an open window, which begins at the latest
    /// paragraph break. Never more than what became part of the answer.
    fn settled(&self, index: usize, bytes: usize) -> usize {
        let ask = &self.asks[index];
        let bytes = bytes.min(ask.kept);
        let Some(watch) = self.watch.filter(|_| ask.role == Role::Small) else { return bytes };
        let end = ask.base + bytes;
        let begin = end.saturating_sub(watch.window_bytes.saturating_add(2));
        let recent = self.text.as_bytes().get(begin..end).unwrap_or_default();
        let latest = recent.windows(2).rposition(|pair| pair == b"\n\n");
        latest.map_or(bytes, |at| (begin + at + 2).saturating_sub(ask.base).min(bytes))
    }
}
