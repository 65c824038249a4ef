//! A node shared by many answers, in simulated time: it writes for all sessions in one step, reads texts one after the
//! other, and alternates between the two.
//!
//! Between two changes everything proceeds at constant speed, so no event is needed for a single token. What is read
//! and written for which answer is in [`super::simulation`].

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
};

use machines::SpeedCurve;

/// An answer in progress: its slot, and which of the answers that used this slot it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) place: u32,
    pub(super) generation: u32,
}

/// What a node has finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Read(Ticket),
    Wrote(Ticket),
}

/// A number that is never NaN, for sorting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sorted(pub(super) f64);

impl Eq for Sorted {}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// A session that writes, sorted by when it finishes: by the number of tokens that each session has written by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Writing {
    until: Sorted,
    ticket: Ticket,
}

impl PartialOrd for Writing {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Writing {
    fn cmp(&self, other: &Self) -> Ordering {
        self.until.cmp(&other.until).then(self.ticket.place.cmp(&other.ticket.place))
    }
}

/// Work that is closer to its end than this, in seconds, counts as finished.
const INSTANT: f64 = 1e-7;

/// A node. Times are in seconds since the start of the simulation.
#[derive(Debug)]
pub(super) struct Processor<'a> {
    curve: &'a SpeedCurve,
    now: f64,
    writing: BinaryHeap<Reverse<Writing>>,
    /// Tokens that a session would have written that was here all the time.
    written: f64,
    reading: VecDeque<(Ticket, f64)>,
    /// Tokens in `reading`.
    backlog: f64,
    /// Tokens a second: written by each session, and read.
    speeds: (f64, f64),
    /// How often its work has changed: events planned for an earlier version are void.
    pub(super) version: u32,
    /// The number of answers assigned to this node.
    pub(super) answers: u32,
    usage: Usage,
}

/// What a node has done, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    /// Time in which it read or wrote.
    pub(super) busy_s: f64,
    /// Time in which it wrote for at least one session, and the sum of that time over all sessions.
    pub(super) writing_s: f64,
    pub(super) session_s: f64,
}

impl Usage {
    pub(super) fn and(self, other: Usage) -> Usage {
        Usage {
            busy_s: self.busy_s + other.busy_s,
            writing_s: self.writing_s + other.writing_s,
            session_s: self.session_s + other.session_s,
        }
    }

    pub(super) fn since(self, before: Usage) -> Usage {
        Usage {
            busy_s: self.busy_s - before.busy_s,
            writing_s: self.writing_s - before.writing_s,
            session_s: self.session_s - before.session_s,
        }
    }
}

impl<'a> Processor<'a> {
    pub(super) fn new(curve: &'a SpeedCurve) -> Self {
        Processor {
            curve,
            now: 0.0,
            writing: BinaryHeap::new(),
            written: 0.0,
            reading: VecDeque::new(),
            backlog: 0.0,
            speeds: (0.0, 0.0),
            version: 0,
            answers: 0,
            usage: Usage::default(),
        }
    }

    /// Queues text to read.
    pub(super) fn read(&mut self, ticket: Ticket, tokens: f64) {
        self.reading.push_back((ticket, tokens));
        self.backlog += tokens;
    }

    /// Starts writing tokens for a session, together with the sessions already writing.
    pub(super) fn write(&mut self, ticket: Ticket, tokens: f64) {
        self.writing.push(Reverse(Writing { until: Sorted(self.written + tokens), ticket }));
    }

    /// Advances to `now`, and adds what is finished by then to `done`. Its work may change before
    /// [`Processor::next_at`].
    pub(super) fn go_on(&mut self, now: f64, done: &mut Vec<Done>) {
        self.usage = self.usage_at(now);
        let (each, read) = self.speeds;
        let elapsed = now - self.now;
        self.now = now;
        self.written += each * elapsed;
        if let Some((_, left)) = self.reading.front_mut() {
            *left -= read * elapsed;
            self.backlog -= read * elapsed;
        }
        let instant = INSTANT + 4.0 * f64::EPSILON * now;
        while self.reading.front().is_some_and(|(_, left)| *left <= read * instant) {
            if let Some((ticket, left)) = self.reading.pop_front() {
                self.backlog -= left;
                done.push(Done::Read(ticket));
            }
        }
        let written = self.written + each * instant;
        while self.writing.peek().is_some_and(|Reverse(next)| next.until.0 <= written) {
            if let Some(Reverse(Writing { ticket, .. })) = self.writing.pop() {
                done.push(Done::Wrote(ticket));
            }
        }
    }

    /// Must be called after its work has changed: sets its speeds, and returns when it will next finish something.
    pub(super) fn next_at(&mut self) -> Option<f64> {
        self.version = self.version.wrapping_add(1);
        if self.writing.is_empty() {
            self.written = 0.0;
        }
        if self.reading.is_empty() {
            self.backlog = 0.0;
        }
        self.speeds = self.speeds();
        let (each, read) = self.speeds;
        let writing = self.writing.peek();
        let writing = writing.map(|Reverse(next)| (next.until.0 - self.written).max(0.0) / each);
        let reading = self.reading.front().map(|(_, left)| left.max(0.0) / read);
        let after = match (writing, reading) {
            (Some(writing), Some(reading)) => writing.min(reading),
            (one, other) => one.or(other)?,
        };
        Some(self.now + after)
    }

    /// A turn is a step for all sessions that write, and a chunk of the text to be read.
    fn speeds(&self) -> (f64, f64) {
        let sessions = u32::try_from(self.writing.len()).unwrap_or(u32::MAX);
        let read = self.curve.prefill_tokens_per_s();
        match (sessions, self.reading.is_empty()) {
            (0, true) => (0.0, 0.0),
            (0, false) => (0.0, read),
            (sessions, true) => (1.0 / self.curve.step_s(sessions), 0.0),
            (sessions, false) => {
                let chunk = self.backlog.clamp(1.0, self.curve.prefill_chunk_tokens());
                let turn_s = self.curve.step_s(sessions) + chunk / read;
                (1.0 / turn_s, chunk / turn_s)
            }
        }
    }

    /// Returns the length of the current turn; 0 if it does nothing.
    pub(super) fn turn_s(&self) -> f64 {
        match self.speeds {
            (0.0, 0.0) => 0.0,
            (0.0, read) => self.backlog.clamp(0.0, self.curve.prefill_chunk_tokens()) / read,
            (each, _) => 1.0 / each,
        }
    }

    /// Returns what it has done by `now`.
    pub(super) fn usage_at(&self, now: f64) -> Usage {
        let elapsed = now - self.now;
        let mut usage = self.usage;
        if !self.writing.is_empty() || !self.reading.is_empty() {
            usage.busy_s += elapsed;
        }
        if !self.writing.is_empty() {
            usage.writing_s += elapsed;
            usage.session_s += elapsed * self.writing.len() as f64;
        }
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve() -> SpeedCurve {
        let text = "prefill_tokens_per_s = 1000\nprefill_chunk_tokens = 100\n\
                    [[decode]]\nsessions = 1\ntokens_per_s = 10\n[[decode]]\nsessions = 2\ntokens_per_s = 16";
        SpeedCurve::parse("c.toml", text).unwrap()
    }

    fn ticket(place: u32) -> Ticket {
        Ticket { place, generation: 0 }
    }

    /// What it finishes, and when, in milliseconds.
    fn all(node: &mut Processor<'_>) -> Vec<(u64, Done)> {
        let (mut all, mut done) = (Vec::new(), Vec::new());
        while let Some(at) = node.next_at() {
            node.go_on(at, &mut done);
            all.extend(done.drain(..).map(|done| ((at * 1e3).round() as u64, done)));
        }
        all
    }

    #[test]
    fn sessions_that_write_share_its_steps() {
        let curve = curve();
        let mut node = Processor::new(&curve);
        node.write(ticket(0), 4.0);
        node.write(ticket(1), 8.0);
        // Four steps of two sessions at 125 ms, then four of one at 100 ms.
        let expected = [(500, Done::Wrote(ticket(0))), (900, Done::Wrote(ticket(1)))];
        assert_eq!(all(&mut node), expected);
        let Usage { busy_s, writing_s, session_s } = node.usage_at(2.0);
        assert!((busy_s - 0.9).abs() < 1e-9 && (writing_s - 0.9).abs() < 1e-9);
        assert!((session_s - 1.4).abs() < 1e-9);
    }

    #[test]
    fn reading_takes_turns_with_writing_a_chunk_at_a_time() {
        let curve = curve();
        let mut node = Processor::new(&curve);
        node.read(ticket(0), 200.0);
        node.read(ticket(1), 100.0);
        assert_eq!(all(&mut node), [(200, Done::Read(ticket(0))), (300, Done::Read(ticket(1)))]);
        let (now, mut done) = (10.0, Vec::new());
        node.go_on(now, &mut done);
        node.write(ticket(2), 2.0);
        node.read(ticket(3), 200.0);
        // Two turns of a step and a chunk, 200 ms each.
        let both = [(10_400, Done::Read(ticket(3))), (10_400, Done::Wrote(ticket(2)))];
        assert_eq!(all(&mut node), both);
    }
}
