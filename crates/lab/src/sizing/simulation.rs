//! Many answers on shared nodes, in simulated time, event by event.
//!
//! How a node computes is in [`super::processor`], who asks when in [`super::arrivals`], and the results in
//! [`super::figures`].

use std::{cmp::Reverse, collections::BinaryHeap, mem::take};

use thinking::{
    draw::{splitmix64, uniform},
    policy::Role,
};

use super::{
    Fleet, NodePool,
    arrivals::Arrival,
    processor::{Done, Processor, Sorted, Ticket, Usage},
    trace::{AnswerTrace, TraceStep},
};

/// Text is read in pieces of about this many tokens while the other model writes.
const PIECE_TOKENS: u32 = 8;

/// An event. Of simultaneous events, the one listed first here is handled first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Text of an answer reaches the node of a role, which reads it.
    Read { place: u32, role: usize, tokens: u32 },
    /// A node finishes something, if it has not changed since.
    Node { role: usize, node: u32, version: u32 },
    /// The last text before an ask reaches a node.
    Late { place: u32, role: usize, tokens: u32 },
    /// An ask reaches its node.
    Asked(u32),
    /// A node notices what reached it in the middle of a turn: text, or an ask if there are no tokens.
    Noticed { place: u32, generation: u32, role: usize, tokens: u32 },
    /// The next step of an answer, or its end.
    Step(u32),
    /// The next question.
    Arrival,
}

/// An answer in progress.
#[derive(Debug, Clone, Copy, Default)]
struct Answer {
    generation: u32,
    trace: usize,
    /// The number of the question, and when it was asked.
    number: usize,
    asked_at: f64,
    nodes: [u32; 2],
    /// Pieces that its nodes still have to read.
    unread: [u32; 2],
    /// How many steps have begun, and when the last one did.
    begun: usize,
    step_at: f64,
    /// Whether its node was asked but still has to read.
    waits: bool,
    /// Tokens of the step that are written, that are being written now, and that were sent to the other node.
    written: u32,
    segment: u32,
    sent: u32,
}

impl Answer {
    fn ticket(&self, place: u32) -> Ticket {
        Ticket { place, generation: self.generation }
    }
}

/// Totals of the questions that count.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// From the question to the end of its answer, in seconds.
    pub(super) answers_s: Vec<f32>,
    /// From an ask of the large model to its first text.
    pub(super) first_texts_s: Vec<f32>,
    /// How much longer that is than on a node that does nothing else.
    pub(super) waits_s: Vec<f32>,
    /// Answers that took longer than their deadline.
    pub(super) cut_off: usize,
    pub(super) cost: f64,
    /// What all nodes of a role did together, and in how many seconds.
    pub(super) usage: [Usage; 2],
    pub(super) window_s: f64,
}

/// Which questions count: `answers` of them, after the first `skipped`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) skipped: usize,
    pub(super) answers: usize,
}

pub(super) struct Simulation<'a, A> {
    traces: &'a [AnswerTrace],
    large: &'a NodePool,
    pools: [Option<&'a NodePool>; 2],
    nodes: [Vec<Processor<'a>>; 2],
    arrivals: A,
    next: Option<Arrival>,
    arrived: usize,
    now: f64,
    events: BinaryHeap<Reverse<(Sorted, Event)>>,
    answers: Vec<Answer>,
    free: Vec<u32>,
    counted: Counted,
    opened: Option<(f64, [Usage; 2])>,
    tally: Tally,
    done: Vec<Done>,
    /// How many turns were met in the middle, each at a different point.
    turns: u64,
}

impl<'a, A: Iterator<Item = Arrival>> Simulation<'a, A> {
    pub(super) fn new(
        traces: &'a [AnswerTrace],
        fleet: &'a Fleet,
        arrivals: A,
        counted: Counted,
    ) -> Self {
        let pools = [fleet.small.as_ref(), Some(&fleet.large)];
        let nodes = pools.map(|pool| {
            let nodes = pool.iter().flat_map(|pool| (0..pool.nodes).map(|_| &pool.curve));
            nodes.map(Processor::new).collect()
        });
        Simulation {
            traces,
            large: &fleet.large,
            pools,
            nodes,
            arrivals,
            next: None,
            arrived: 0,
            now: 0.0,
            events: BinaryHeap::new(),
            answers: Vec::new(),
            free: Vec::new(),
            counted,
            opened: None,
            tally: Tally::default(),
            done: Vec::new(),
            turns: 0,
        }
    }

    /// Runs until everything that counts is answered and, if there are more questions, the first one that does not
    /// count has been asked.
    pub(super) fn run(mut self) -> Tally {
        self.await_arrival();
        while self.tally.answers_s.len() < self.counted.answers || self.tally.window_s == 0.0 {
            let Some(Reverse((at, event))) = self.events.pop() else { break };
            self.now = at.0;
            match event {
                Event::Read { place, role, tokens } => self.read(place, role, tokens),
                Event::Node { role, node, version } => {
                    if self.nodes[role][node as usize].version == version {
                        self.touch(role, node, |_| {});
                    }
                }
                Event::Late { place, role, tokens } => self.late(place, role, tokens),
                Event::Asked(place) => self.asked(place),
                Event::Noticed { place, generation, role, tokens } => {
                    self.noticed(Ticket { place, generation }, role, tokens);
                }
                Event::Step(place) => self.step(place),
                Event::Arrival => self.arrival(),
            }
        }
        if self.tally.window_s == 0.0 {
            self.close();
        }
        self.tally
    }

    fn plan(&mut self, at: f64, event: Event) {
        self.events.push(Reverse((Sorted(at), event)));
    }

    fn await_arrival(&mut self) {
        self.next = self.arrivals.next();
        if let Some(next) = self.next {
            self.plan(next.at_s, Event::Arrival);
        }
    }

    fn answer(&mut self, place: u32) -> &mut Answer {
        &mut self.answers[place as usize]
    }

    /// Returns the current step of an answer.
    fn current(&self, place: u32) -> TraceStep {
        let answer = &self.answers[place as usize];
        self.traces[answer.trace].steps[answer.begun - 1]
    }

    fn is_counted(&self, number: usize) -> bool {
        let Counted { skipped, answers } = self.counted;
        (skipped..skipped + answers).contains(&number)
    }

    /// Collects what a node has finished, changes its work, and plans when it next finishes something.
    fn touch(&mut self, role: usize, node: u32, change: impl FnOnce(&mut Processor<'a>)) {
        let mut done = take(&mut self.done);
        let processor = &mut self.nodes[role][node as usize];
        processor.go_on(self.now, &mut done);
        change(processor);
        for done in done.drain(..) {
            match done {
                Done::Read(ticket) => self.has_read(role, ticket),
                Done::Wrote(ticket) => self.has_written(role, ticket.place),
            }
        }
        self.done = done;
        let processor = &mut self.nodes[role][node as usize];
        if let Some(at) = processor.next_at() {
            let version = processor.version;
            self.plan(at, Event::Node { role, node, version });
        }
    }

    fn arrival(&mut self) {
        let Some(arrival) = self.next.take() else { return };
        let number = self.arrived;
        self.arrived += 1;
        if number == self.counted.skipped {
            self.opened = Some((self.now, self.usage()));
        }
        if number == self.counted.skipped + self.counted.answers {
            self.close();
        }
        self.begin(number, arrival);
        self.await_arrival();
    }

    fn usage(&self) -> [Usage; 2] {
        let sum = |nodes: &Vec<Processor<'_>>| {
            nodes.iter().map(|node| node.usage_at(self.now)).fold(Usage::default(), Usage::and)
        };
        self.nodes.each_ref().map(sum)
    }

    /// Records what the nodes did between the first and the last question that count.
    fn close(&mut self) {
        let Some((opened_at, before)) = self.opened else { return };
        let now = self.usage();
        self.tally.window_s = self.now - opened_at;
        self.tally.usage = [0, 1].map(|role| now[role].since(before[role]));
    }

    /// Opens an answer's sessions, each on the less used of the nodes that were drawn.
    fn begin(&mut self, number: usize, arrival: Arrival) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.answers.push(Answer::default());
            (self.answers.len() - 1) as u32
        });
        let mut nodes = [0; 2];
        for (role, chosen) in nodes.iter_mut().enumerate() {
            let pool = &mut self.nodes[role];
            if let Some(node) = less_used(pool, arrival.drawn(role, pool.len())) {
                pool[node].answers += 1;
                *chosen = node as u32;
            }
        }
        let generation = self.answer(place).generation.wrapping_add(1);
        let (trace, asked_at) = (arrival.trace, self.now);
        *self.answer(place) =
            Answer { generation, trace, number, asked_at, nodes, ..Answer::default() };
        let (prompt_tokens, before_s) =
            (self.traces[trace].prompt_tokens, self.traces[trace].before_s);
        for (role, tokens) in prompt_tokens.into_iter().enumerate() {
            self.read(place, role, tokens);
        }
        self.plan(self.now + before_s, Event::Step(place));
    }

    /// Gives a node text to read, if the nodes of its role are shared.
    fn read(&mut self, place: u32, role: usize, tokens: u32) {
        if self.pools[role].is_some() && tokens > 0 {
            let answer = self.answer(place);
            answer.unread[role] += 1;
            let (ticket, node) = (answer.ticket(place), answer.nodes[role]);
            self.touch(role, node, |node| node.read(ticket, f64::from(tokens)));
        }
    }

    fn has_read(&mut self, role: usize, Ticket { place, generation }: Ticket) {
        let answer = self.answer(place);
        if answer.generation != generation {
            // The last text it wrote, for an answer that is over.
            return;
        }
        answer.unread[role] -= 1;
        if answer.unread[role] == 0 && answer.waits && self.current(place).role as usize == role {
            self.answer(place).waits = false;
            self.write(role, place);
        }
    }

    fn step(&mut self, place: u32) {
        let Answer { trace, begun, .. } = *self.answer(place);
        if let Some(before) = begun.checked_sub(1).map(|before| self.traces[trace].steps[before]) {
            // Sentences that no model wrote.
            let role = before.role as usize;
            self.read(place, role, before.reads[role]);
        }
        let Some(step) = self.traces[trace].steps.get(begun).copied() else {
            return self.end(place);
        };
        let now = self.now;
        let answer = self.answer(place);
        answer.begun += 1;
        answer.step_at = now;
        (answer.written, answer.sent) = (0, 0);
        if self.pools[step.role as usize].is_some() {
            return self.plan(now + step.up_s, Event::Asked(place));
        }
        let took_s = step.up_s + step.node_s + step.end_down_s;
        self.plan(now + took_s, Event::Step(place));
        self.pieces(place, &step, took_s);
    }

    /// Plans how the text of a user's own node reaches the other node: piece by piece, and finally token by token.
    fn pieces(&mut self, place: u32, step: &TraceStep, took_s: f64) {
        let role = step.role.other() as usize;
        let Some(before) = step.reads[role].checked_sub(1) else { return };
        let last_s = took_s * f64::from(step.tokens_to_read()) / f64::from(step.tokens.max(2));
        self.plan(self.now + last_s, Event::Late { place, role, tokens: 1 });
        let pieces = before.div_ceil(PIECE_TOKENS);
        for piece in 1..=pieces {
            let at = self.now + last_s * f64::from(piece) / f64::from(pieces + 1);
            let tokens = part(before, piece, pieces) - part(before, piece - 1, pieces);
            self.plan(at, Event::Read { place, role, tokens });
        }
    }

    /// Text that the answer may wait for reaches a node.
    fn late(&mut self, place: u32, role: usize, tokens: u32) {
        self.answer(place).unread[role] += 1;
        self.notice(place, role, tokens);
    }

    fn asked(&mut self, place: u32) {
        let step = self.current(place);
        let role = step.role as usize;
        if step.late_tokens > 0 {
            self.answer(place).waits = true;
            self.late(place, role, step.late_tokens);
        } else if self.answer(place).unread[role] > 0 {
            self.answer(place).waits = true;
        } else {
            self.notice(place, role, 0);
        }
    }

    /// Plans when the node notices what reached it in the middle of a turn: at the turn's end.
    fn notice(&mut self, place: u32, role: usize, tokens: u32) {
        let Answer { generation, nodes, .. } = *self.answer(place);
        self.turns += 1;
        let left = uniform(splitmix64(0, self.turns));
        let at = self.now + left * self.nodes[role][nodes[role] as usize].turn_s();
        self.plan(at, Event::Noticed { place, generation, role, tokens });
    }

    fn noticed(&mut self, ticket: Ticket, role: usize, tokens: u32) {
        let answer = self.answer(ticket.place);
        let node = answer.nodes[role];
        if answer.generation != ticket.generation {
            return;
        }
        if tokens > 0 {
            return self.touch(role, node, |node| node.read(ticket, f64::from(tokens)));
        }
        if let Some((ticket, tokens)) = self.segment(ticket.place) {
            self.touch(role, node, |node| node.write(ticket, tokens));
        }
    }

    /// Returns the tokens that an answer's node writes next; after the last of them the step is over.
    fn segment(&mut self, place: u32) -> Option<(Ticket, f64)> {
        let step = self.current(place);
        let is_read = self.pools[step.role.other() as usize].is_some();
        let now = self.now;
        let answer = self.answer(place);
        let left = step.tokens - answer.written;
        answer.segment = match answer.written {
            // The answer waits for the first token.
            0 => left.min(1),
            _ if is_read && left > 1 => PIECE_TOKENS.min(left - 1),
            _ => left,
        };
        let (ticket, tokens) = (answer.ticket(place), answer.segment);
        if tokens == 0 {
            self.plan(now + step.end_down_s, Event::Step(place));
        }
        (tokens > 0).then_some((ticket, f64::from(tokens)))
    }

    /// Continues writing on the node that is being changed.
    fn write(&mut self, role: usize, place: u32) {
        if let Some((ticket, tokens)) = self.segment(place) {
            let node = self.answer(place).nodes[role];
            self.nodes[role][node as usize].write(ticket, tokens);
        }
    }

    fn has_written(&mut self, role: usize, place: u32) {
        let step = self.current(place);
        let answer = self.answer(place);
        let is_first = answer.written == 0;
        answer.written += answer.segment;
        let (written, sent) = (answer.written, answer.sent);
        if is_first {
            self.first_text(place, &step);
        }
        let reader = step.role.other() as usize;
        if self.pools[reader].is_some() {
            let all = step.tokens_to_read();
            let due = part(step.reads[reader], written.min(all), all);
            self.answer(place).sent = due;
            let tokens = due - sent;
            self.plan(self.now, Event::Read { place, role: reader, tokens });
        }
        self.write(role, place);
    }

    fn first_text(&mut self, place: u32, step: &TraceStep) {
        let Answer { number, step_at, .. } = *self.answer(place);
        if step.role == Role::Large && self.is_counted(number) {
            let took_s = self.now + step.first_down_s - step_at;
            let alone_s = step.first_text_alone_s(&self.large.curve);
            self.tally.first_texts_s.push(took_s as f32);
            self.tally.waits_s.push((took_s - alone_s).max(0.0) as f32);
        }
    }

    fn end(&mut self, place: u32) {
        let Answer { trace, number, asked_at, nodes, .. } = *self.answer(place);
        for (pool, node) in self.nodes.iter_mut().zip(nodes) {
            if let Some(node) = pool.get_mut(node as usize) {
                node.answers -= 1;
            }
        }
        self.free.push(place);
        // The remaining reads of its nodes belong to no answer any more.
        let answer = self.answer(place);
        answer.generation = answer.generation.wrapping_add(1);
        if self.is_counted(number) {
            let took_s = self.now - asked_at;
            let trace = &self.traces[trace];
            self.tally.answers_s.push(took_s as f32);
            self.tally.cut_off += usize::from(trace.deadline_s.is_some_and(|most| took_s > most));
            self.tally.cost += trace.cost;
        }
    }
}

/// Returns the first `parts` of `all` equal parts of a number of tokens.
fn part(tokens: u32, parts: u32, all: u32) -> u32 {
    (u64::from(tokens) * u64::from(parts) / u64::from(all.max(1))) as u32
}

/// Returns the node with fewer answers; if equal, the first. Returns `None` if there are no nodes.
fn less_used(pool: &[Processor<'_>], drawn: [usize; 2]) -> Option<usize> {
    let answers = |node: usize| pool.get(node).map(|node| node.answers);
    let [one, other] = drawn;
    Some(if answers(other)? < answers(one)? { other } else { one })
}
