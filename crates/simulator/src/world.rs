//! The world around one answer: a clock that jumps from one event to the next.
//!
//! Messages of a session arrive in the order in which they were sent. Everything that arrives at one moment is taken in
//! before the machine is woken.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use conductor::{
    Conductor, Effect, Input, NodeId, NodeNames,
    invariants::{Breach, Invariant, Known, Witness},
};
use thinking::{
    policy::{Need, PolicyKind, Role},
    thinker::{Code, Command, EVENT_QUEUE, Event, Failure},
};

use crate::{
    Simulated,
    checks::{self, Checked},
    draw::Draws,
    host::Host,
    pools::{self, SimulatedPool},
    scenario::{Place, SILENCE, Scenario, TroubleKind},
    trace::{self, Trace},
};

/// An answer that ends takes fewer steps than this.
const MOST_STEPS: u64 = 100_000;

/// Runs the answer of a scenario.
pub(crate) fn run(scenario: &Scenario, traced: bool) -> Simulated {
    if scenario.looks_every.is_none() {
        return World::new(scenario, [None, None], traced).run();
    }
    let roles = [Role::Small, Role::Large];
    let ordered = roles.iter().fold(scenario.clone(), |scenario, &role| {
        let order = SimulatedPool::new(role, &scenario).chosen();
        scenario.in_order(role, &order)
    });
    let pools = roles.map(|role| Some(SimulatedPool::new(role, &ordered)));
    World::new(&ordered, pools, traced).run()
}

struct World<'a> {
    scenario: &'a Scenario,
    draws: Draws,
    now: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    happenings: BTreeMap<usize, Happening>,
    scheduled: u64,
    links: Vec<Link>,
    current: BTreeMap<(u8, usize), usize>,
    /// The pools of the small and the large nodes, if the nodes form pools.
    pools: [Option<SimulatedPool>; 2],
    witness: Witness,
    trace: Trace,
    steps: u64,
}

/// A session, with both ends and the link between them.
struct Link {
    node: NodeId,
    host: Host,
    /// When the last message arrives at either end.
    there_at: Duration,
    back_at: Duration,
    /// When the client last received anything.
    heard_at: Duration,
    /// When the host continues by itself.
    works_at: Option<Duration>,
    /// Events in flight: the node rests while its queue is full.
    in_flight: usize,
    is_resting: bool,
    /// Whether the client still holds it.
    is_open: bool,
}

/// Something that happens to a session or to a node.
#[derive(Debug)]
enum Happening {
    Command(usize, Command),
    GivenUp(usize),
    Work(usize),
    Event(usize, Event),
    /// A sign of life is due to be sent, or arrives.
    Beat(usize),
    Sign(usize),
    Silence(usize),
    /// All sessions of the node are lost.
    Crash(NodeId),
    Reset(NodeId),
    Cancel,
    /// The pool checks a node, for the first time or again.
    Look(NodeId),
    Leave(NodeId),
    /// The machine is told about changes of the nodes.
    Told(Input),
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, pools: [Option<SimulatedPool>; 2], traced: bool) -> Self {
        let known = Known {
            sound: scenario.sound(),
            max_tokens: (scenario.policy.kind() != PolicyKind::Paper)
                .then_some(scenario.question.max_tokens),
            takeover_deadline: scenario.policy.limits.deadline,
            target_share: scenario.policy.limits.targets.share,
            judges_all: checks::judges_all(scenario),
            need: match scenario.policy.kind() {
                PolicyKind::Entropy => Some(Need::Entropies),
                PolicyKind::Score => Some(Need::Asides),
                _ => None,
            },
            paused: scenario.pause.map_or(Duration::ZERO, |(_, time)| time),
        };
        let witness = Witness::new(scenario.question.clone(), scenario.settings, known);
        World {
            scenario,
            draws: Draws::new(!scenario.seed),
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            scheduled: 0,
            links: Vec::new(),
            current: BTreeMap::new(),
            pools,
            witness,
            trace: Trace::new(traced),
            steps: 0,
        }
    }

    fn run(mut self) -> Simulated {
        let Scenario { question, settings, policy, .. } = self.scenario;
        self.trace.scenario(self.scenario);
        let policy = match policy.build(question.seed, question.max_tokens) {
            Ok(policy) => policy,
            Err(error) => {
                let seen = error.to_string();
                return self.over(None, Err(Breach { invariant: Invariant::Contract, seen }));
            }
        };
        self.schedule_troubles();
        let names = |role| {
            let there = self.scenario.places(role).iter().filter(|place| place.joins_at.is_zero());
            (0..there.count()).map(|index| pools::name(role, index)).collect()
        };
        let nodes = NodeNames { small: names(Role::Small), large: names(Role::Large) };
        let (mut conductor, effects) = Conductor::start(question.clone(), *settings, policy, nodes);
        let ended = self
            .take_in(None, effects, &conductor)
            .and_then(|has_ended| if has_ended { Ok(()) } else { self.write(&mut conductor) });
        self.over(Some(conductor), ended)
    }

    fn over(self, conductor: Option<Conductor>, ended: Checked) -> Simulated {
        let World { witness, mut trace, steps, now, scenario, links, .. } = self;
        let outcome = conductor.map(|conductor| conductor.conclude(&[]));
        let mut checked = ended;
        if let (Ok(()), Some(outcome)) = (&checked, &outcome) {
            let held = links.iter().map(|link| (link.node, &link.host));
            checked =
                witness.end(outcome).and_then(|()| checks::nodes_agree(scenario, held, outcome));
        }
        if let Some(outcome) = &outcome {
            trace.line(now, || trace::outcome(outcome));
        }
        let breach = checked.err();
        if let Some(breach) = &breach {
            trace.line(now, || format!("BREACH {breach}"));
        }
        Simulated { outcome, breach, steps, trace: trace.into_lines() }
    }

    fn schedule_troubles(&mut self) {
        for node in self.scenario.nodes() {
            for trouble in &self.scenario.place(node).troubles {
                match trouble.kind {
                    TroubleKind::Crash => self.schedule(trouble.from, Happening::Crash(node)),
                    TroubleKind::Reset => self.schedule(trouble.from, Happening::Reset(node)),
                    _ => {}
                }
            }
        }
        if self.scenario.looks_every.is_some() {
            for node in self.scenario.nodes() {
                let Place { joins_at, leaves_at, .. } = self.scenario.place(node);
                self.schedule(*joins_at, Happening::Look(node));
                if let Some(at) = leaves_at {
                    self.schedule(*at, Happening::Leave(node));
                }
            }
        }
        if let Some(at) = self.scenario.cancel_at {
            self.schedule(at, Happening::Cancel);
        }
    }

    fn schedule(&mut self, at: Duration, happening: Happening) {
        let key = self.scheduled as usize;
        self.queue.push(Reverse((at.max(self.now), self.scheduled, key)));
        self.happenings.insert(key, happening);
        self.scheduled += 1;
    }

    /// Runs to the answer's end.
    fn write(&mut self, conductor: &mut Conductor) -> Checked {
        loop {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                let seen = format!("it is not over after {MOST_STEPS} steps, at {:?}", self.now);
                return Err(Breach { invariant: Invariant::EndsInTime, seen });
            }
            let wake_at = self.running_at(conductor.wake_at().max(self.now));
            let input = match self.queue.peek() {
                Some(Reverse((at, ..))) if *at <= wake_at => {
                    let Some(Reverse((at, _, key))) = self.queue.pop() else { continue };
                    self.now = at;
                    let Some(happening) = self.happenings.remove(&key) else { continue };
                    let Some(input) = self.happen(happening)? else { continue };
                    input
                }
                _ => {
                    self.now = wake_at;
                    Input::Wake
                }
            };
            self.trace.line(self.now, || trace::input(&input));
            let effects = conductor.step(input.clone(), self.now);
            if self.take_in(Some(&input), effects, conductor)? {
                return Ok(());
            }
        }
    }

    /// Returns when something that comes at this time is taken in: later, if the machine's process is paused.
    fn running_at(&self, at: Duration) -> Duration {
        match self.scenario.pause {
            Some((from, time)) if from <= at && at < from + time => from + time,
            _ => at,
        }
    }

    /// Carries effects out. Returns whether the answer is over.
    fn take_in(
        &mut self,
        input: Option<&Input>,
        effects: Vec<Effect>,
        conductor: &Conductor,
    ) -> Result<bool, Breach> {
        self.witness.step(self.now, input, &effects, conductor.wake_at())?;
        let mut has_ended = false;
        for effect in effects {
            self.trace.line(self.now, || trace::effect(&effect));
            match effect {
                Effect::Open(node, open) => self.open(node, Command::Open(*open)),
                Effect::Send(node, command) => self.send(node, *command),
                Effect::Close(node, failure) => self.close(node, failure.as_ref()),
                Effect::Tell(stamped) => checks::is_degraded_for_a_reason(self.scenario, &stamped)?,
                Effect::End => has_ended = true,
            }
        }
        Ok(has_ended)
    }

    fn open(&mut self, node: NodeId, open: Command) {
        let place = self.scenario.place(node);
        let id = self.links.len();
        self.links.push(Link {
            node,
            host: Host::new(place.model, place.lie()),
            there_at: self.now,
            back_at: self.now,
            heard_at: self.now,
            works_at: None,
            in_flight: 0,
            is_resting: false,
            is_open: true,
        });
        self.current.insert(key(node), id);
        self.with_pool(node.role, |pool, now| pool.begun(node.index, now));
        self.send(node, open);
        self.schedule(self.now + place.heartbeat, Happening::Beat(id));
        self.schedule(self.now + SILENCE, Happening::Silence(id));
    }

    fn send(&mut self, node: NodeId, command: Command) {
        let Some(id) = self.current.get(&key(node)).copied() else { return };
        let at = self.arrival(id, self.links[id].there_at);
        self.links[id].there_at = at;
        self.schedule(at, Happening::Command(id, command));
    }

    fn close(&mut self, node: NodeId, failure: Option<&Failure>) {
        let Some(id) = self.current.remove(&key(node)) else { return };
        self.with_pool(node.role, |pool, now| pool.ended(node.index, failure, now));
        let at = self.arrival(id, self.links[id].there_at);
        self.links[id].is_open = false;
        self.schedule(at, Happening::GivenUp(id));
    }

    /// Returns when a message that is sent now arrives, which is after the previous one.
    fn arrival(&mut self, id: usize, before: Duration) -> Duration {
        let place = self.scenario.place(self.links[id].node);
        let jitter = self.draws.moment(place.jitter + Duration::from_micros(1));
        let at = (self.now + place.one_way + jitter).max(before);
        place.until(TroubleKind::Partition, at).unwrap_or(at)
    }

    /// Sends the client what a node sends.
    fn reply(&mut self, id: usize, happening: Happening) {
        let at = self.arrival(id, self.links[id].back_at);
        self.links[id].back_at = at;
        self.links[id].in_flight += usize::from(matches!(happening, Happening::Event(..)));
        // What arrives while the client's machine is paused waits there.
        let at = self.running_at(at);
        self.schedule(at, happening);
    }

    /// Handles something that happens. Returns the input for the machine, if there is one.
    fn happen(&mut self, happening: Happening) -> Result<Option<Input>, Breach> {
        match happening {
            Happening::Cancel => return Ok(Some(Input::Cancel)),
            Happening::Told(input) => return Ok(Some(input)),
            Happening::Look(node) => self.look(node),
            Happening::Leave(node) => self.with_pool(node.role, |pool, _| pool.leave(node.index)),
            Happening::Crash(node) => self.break_off(node, true),
            Happening::Reset(node) => self.break_off(node, false),
            Happening::Command(id, command) => self.arrives(id, command),
            Happening::GivenUp(id) => {
                self.links[id].host.give_up();
                self.work(id);
            }
            Happening::Work(id) => {
                if self.links[id].works_at.take_if(|at| *at <= self.now).is_some() {
                    self.work(id);
                }
            }
            Happening::Beat(id) => self.beat(id),
            Happening::Silence(id) => return Ok(self.silence(id)),
            Happening::Sign(id) => {
                let link = &mut self.links[id];
                link.heard_at = self.now;
                if link.is_open {
                    return Ok(Some(Input::Alive(link.node)));
                }
            }
            Happening::Event(id, event) => return self.event(id, event),
        }
        Ok(None)
    }

    fn event(&mut self, id: usize, event: Event) -> Result<Option<Input>, Breach> {
        let link = &mut self.links[id];
        let node = link.node;
        link.heard_at = self.now;
        link.in_flight -= 1;
        let is_open = link.is_open;
        if std::mem::take(&mut link.is_resting) {
            self.schedule(self.now, Happening::Work(id));
            self.links[id].works_at = Some(self.now);
        }
        let is_refusal = |it: &Event| matches!(it, Event::Failed(failure) if failure.code == Code::InvalidArgument);
        if is_refusal(&event) && self.scenario.place(node).lie().is_none() {
            let seen = format!("{node:?} was sent a command that it must refuse: {event:?}");
            return Err(Breach { invariant: Invariant::Contract, seen });
        }
        if is_open && matches!(event, Event::Delta(_)) {
            self.with_pool(node.role, |pool, _| pool.wrote(node.index));
        }
        Ok(is_open.then_some(Input::Event(node, event)))
    }

    /// Changes a pool, and schedules what the machine must be told about it.
    fn with_pool(&mut self, role: Role, change: impl FnOnce(&mut SimulatedPool, Duration)) {
        let now = self.now;
        let Some(pool) = &mut self.pools[role as usize] else { return };
        change(pool, now);
        for input in pool.news(now) {
            self.schedule(self.running_at(now), Happening::Told(input));
        }
    }

    /// Lets a pool check a node; the first time the node is only added.
    fn look(&mut self, node: NodeId) {
        let Some(every) = self.scenario.looks_every else { return };
        let place = self.scenario.place(node);
        if place.leaves_at.is_some_and(|at| at <= self.now) {
            return;
        }
        let is_first = self.now <= place.joins_at;
        self.with_pool(node.role, |pool, now| {
            pool.look(node.index, (!is_first).then_some(place), now)
        });
        self.schedule(self.now + every, Happening::Look(node));
    }

    /// Ends all sessions of a node.
    fn break_off(&mut self, node: NodeId, is_crash: bool) {
        for id in 0..self.links.len() {
            if self.links[id].node == node && !self.links[id].host.is_over() {
                self.links[id].host.give_up();
                self.work(id);
                let what = if is_crash { "it crashed" } else { "the connection was reset" };
                self.reply(id, Happening::Event(id, unavailable(what)));
            }
        }
    }

    fn arrives(&mut self, id: usize, command: Command) {
        let (now, node) = (self.now, self.links[id].node);
        let place = self.scenario.place(node);
        if let Some(until) = place.until(TroubleKind::Hang, now) {
            self.schedule(until, Happening::Command(id, command));
            return;
        }
        if self.links[id].host.is_over() {
            return;
        }
        let is_open = matches!(command, Command::Open(_));
        let refusal = if place.until(TroubleKind::Crash, now).is_some() {
            Some(unavailable("nobody listens"))
        } else if is_open && place.until(TroubleKind::Overload, now).is_some() {
            Some(Event::Failed(Failure::new(Code::Overloaded, "every session is taken")))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.links[id].host.give_up();
            self.work(id);
            self.reply(id, Happening::Event(id, refusal));
            return;
        }
        self.links[id].host.take(command);
        self.work(id);
    }

    fn work(&mut self, id: usize) {
        let place = self.scenario.place(self.links[id].node);
        if let Some(until) = place.until(TroubleKind::Hang, self.now) {
            self.links[id].works_at = Some(until);
            self.schedule(until, Happening::Work(id));
            return;
        }
        if self.links[id].in_flight >= EVENT_QUEUE {
            self.links[id].is_resting = true;
            return;
        }
        let (said, next) = self.links[id].host.work(self.now);
        for event in said {
            let node = self.links[id].node;
            self.trace.line(self.now, || trace::said(node, &event));
            self.reply(id, Happening::Event(id, event));
        }
        self.links[id].works_at = next;
        if let Some(at) = next {
            self.schedule(at, Happening::Work(id));
        }
    }

    /// Sends a sign of life from the node, if it can.
    fn beat(&mut self, id: usize) {
        let place = self.scenario.place(self.links[id].node);
        if self.links[id].host.is_over() || !self.links[id].is_open {
            return;
        }
        if place.until(TroubleKind::Hang, self.now).is_none() {
            self.reply(id, Happening::Sign(id));
        }
        self.schedule(self.now + place.heartbeat, Happening::Beat(id));
    }

    /// Gives a connection up if nothing came from it for too long.
    fn silence(&mut self, id: usize) -> Option<Input> {
        let link = &self.links[id];
        let at = link.heard_at + SILENCE;
        if !link.is_open {
            return None;
        }
        if self.now < at {
            self.schedule(at, Happening::Silence(id));
            return None;
        }
        Some(Input::Event(link.node, unavailable("nothing came for 20 s")))
    }
}

fn key(node: NodeId) -> (u8, usize) {
    (u8::from(node.role == Role::Large), node.index)
}

fn unavailable(what: &str) -> Event {
    Event::Failed(Failure::new(Code::Unavailable, what))
}
