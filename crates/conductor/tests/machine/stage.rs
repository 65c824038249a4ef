//! A stage: carries effects out over nodes that keep the contract of sessions, in simulated time.
//!
//! The nodes accept, prefill and commit text at once. They write only what a test lets them write.

use std::{collections::VecDeque, time::Duration};

use conductor::{
    Conductor, Effect, Input, NodeId, NodeNames, Outcome,
    invariants::{Known, Witness},
    progress::{Progress, Stamped},
    question::{Question, Settings},
};
use thinking::{
    beginning::AnswerBeginning,
    policy::{Limited, PolicySpec, Role},
    session::{ProposalRules, Protocol},
    stops::StopTexts,
    thinker::{
        Code, Command, Delta, Event, Failure, FinishReason, ModelCard, Objection, Opened, Prompt,
        Sampling, TextEnd, Warmed,
    },
};

/// A stage. See the module documentation.
pub(crate) struct Stage {
    pub(crate) conductor: Conductor,
    pub(crate) now: Duration,
    pub(crate) told: Vec<Stamped>,
    pub(crate) has_ended: bool,
    /// Nodes that answer nothing.
    pub(crate) silent: Vec<NodeId>,
    hosts: Vec<Host>,
    witness: Witness,
    /// Sessions that were given up for a reason.
    pub(crate) closed: Vec<(NodeId, Failure)>,
    /// Every session that was opened, with its committed text.
    pub(crate) opened: Vec<(NodeId, String)>,
    /// What large nodes object to from now on.
    pub(crate) objections: Vec<Planned>,
    /// Whether the nodes are from before reviews existed.
    pub(crate) are_old: bool,
    /// Whether a takeover may be asked of two large nodes.
    may_hedge: bool,
    /// How unsure the nodes are of a paragraph's first token, in nats.
    pub(crate) entropy: f32,
}

/// A planned objection to this text wherever it occurs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    pub(crate) text: &'static str,
    /// `None` if the large model would end the answer.
    pub(crate) instead: Option<&'static str>,
}

/// A node's end of a session.
struct Host {
    node: NodeId,
    protocol: Protocol,
    inbox: VecDeque<Command>,
    outbox: VecDeque<Event>,
    writing: Option<ProposalRules>,
}

pub(crate) const SMALL: NodeId = NodeId { role: Role::Small, index: 0 };
pub(crate) const LARGE: NodeId = NodeId { role: Role::Large, index: 0 };
pub(crate) const NEXT_LARGE: NodeId = NodeId { role: Role::Large, index: 1 };

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn question() -> Question {
    Question {
        id: "test".to_owned(),
        prompt: Prompt::Raw("2 + 2?".to_owned()),
        sampling: Sampling::default(),
        seed: 7,
        max_tokens: 200,
        beginning: AnswerBeginning::default(),
        stop: StopTexts::default(),
        deadline: None,
    }
}

/// The default policy.
pub(crate) fn strict() -> Limited {
    PolicySpec::default().build(0, 200).unwrap()
}

pub(crate) fn lost(message: &str) -> Event {
    Event::Failed(Failure::new(Code::Unavailable, message))
}

fn names(part: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{part}-{index}")).collect()
}

impl Stage {
    /// An answer over this many nodes, whose sessions are open.
    pub(crate) fn new(small: usize, large: usize, settings: Settings, policy: Limited) -> Self {
        Stage::of(question(), (small, large), settings, policy)
    }

    pub(crate) fn of(
        question: Question,
        (small, large): (usize, usize),
        settings: Settings,
        policy: Limited,
    ) -> Self {
        Stage::with(question, (small, large), settings, policy, vec![])
    }

    /// An answer to which one node sends nothing.
    pub(crate) fn silent_from_the_start(small: usize, large: usize, node: NodeId) -> Self {
        let settings = Settings::default();
        Stage::with(question(), (small, large), settings, strict(), vec![node])
    }

    /// An answer whose nodes are from before reviews existed.
    pub(crate) fn of_old_nodes(policy: Limited) -> Self {
        let mut stage = Stage::begun(question(), (1, 1), Settings::default(), policy, vec![]);
        stage.are_old = true;
        stage.settle();
        stage
    }

    fn with(
        question: Question,
        (small, large): (usize, usize),
        settings: Settings,
        policy: Limited,
        silent: Vec<NodeId>,
    ) -> Self {
        let mut stage = Stage::begun(question, (small, large), settings, policy, silent);
        stage.settle();
        stage
    }

    fn begun(
        question: Question,
        (small, large): (usize, usize),
        settings: Settings,
        policy: Limited,
        silent: Vec<NodeId>,
    ) -> Self {
        let witness = Witness::new(question.clone(), settings, Known::default());
        let nodes = NodeNames { small: names("small", small), large: names("large", large) };
        let (conductor, effects) = Conductor::start(question, settings, policy, nodes);
        let mut stage = Stage {
            conductor,
            now: Duration::ZERO,
            told: Vec::new(),
            has_ended: false,
            silent,
            witness,
            hosts: Vec::new(),
            closed: Vec::new(),
            opened: Vec::new(),
            objections: Vec::new(),
            are_old: false,
            may_hedge: settings.hedge_after.is_some(),
            entropy: 0.0,
        };
        stage.watch(None, &effects);
        stage.carry_out(effects);
        stage
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            assert!(!self.has_ended, "nothing follows the end: {effect:?}");
            match effect {
                Effect::Open(node, open) => {
                    assert!(self.host(node).is_none(), "{node:?} has a session");
                    let beside = self.hosts.iter().filter(|host| host.node.role == node.role);
                    let most = usize::from(node.role == Role::Large && self.may_hedge);
                    assert!(beside.count() <= most, "one at a time");
                    self.opened.push((node, open.committed.clone()));
                    let inbox = VecDeque::from([Command::Open(*open)]);
                    let protocol = Protocol::default();
                    let outbox = VecDeque::new();
                    self.hosts.push(Host { node, protocol, inbox, outbox, writing: None });
                }
                Effect::Send(node, command) => {
                    self.host(node).unwrap().inbox.push_back(*command);
                }
                Effect::Close(node, failure) => {
                    let before = self.hosts.len();
                    self.hosts.retain(|host| host.node != node);
                    assert_eq!(self.hosts.len() + 1, before, "{node:?} has a session");
                    self.closed.extend(failure.map(|failure| (node, failure)));
                }
                Effect::Tell(stamped) => self.told.push(stamped),
                Effect::End => self.has_ended = true,
            }
        }
    }

    fn host(&mut self, node: NodeId) -> Option<&mut Host> {
        self.hosts.iter_mut().find(|host| host.node == node)
    }

    /// Takes one input, and nothing else.
    pub(crate) fn step(&mut self, input: Input) {
        let effects = self.conductor.step(input.clone(), self.now);
        self.watch(Some(&input), &effects);
        self.carry_out(effects);
        self.check();
    }

    /// Checks what holds for every answer.
    fn watch(&mut self, input: Option<&Input>, effects: &[Effect]) {
        let wake_at = self.conductor.wake_at();
        let checked = self.witness.step(self.now, input, effects, wake_at);
        checked.unwrap_or_else(|breach| panic!("{breach}"));
    }

    /// Takes one event, and lets the nodes answer what follows.
    pub(crate) fn event(&mut self, node: NodeId, event: Event) {
        self.step(Input::Event(node, event));
        self.settle();
    }

    /// Lets every node answer what it was sent, except proposals.
    pub(crate) fn settle(&mut self) {
        while let Some((node, event)) = self.next_answer() {
            self.step(Input::Event(node, event));
        }
    }

    fn next_answer(&mut self) -> Option<(NodeId, Event)> {
        let silent = &self.silent;
        let hosts = self.hosts.iter_mut().filter(|host| !silent.contains(&host.node));
        let (objections, is_old) = (&self.objections, self.are_old);
        let answer = |host: &mut Host| Some((host.node, host.answer(objections, is_old)?));
        hosts.filter(|_| !self.has_ended).find_map(answer)
    }

    /// Lets a node write, token by token.
    pub(crate) fn says(&mut self, node: NodeId, tokens: &[&str]) {
        for token in tokens {
            let entropy = self.entropy;
            let Host { protocol, writing, .. } = self.host(node).unwrap();
            let Some(rules) = writing.as_mut() else { return };
            let first_token_entropy = rules.wants_entropy(protocol.committed()).then_some(entropy);
            let reason = rules.push(token, 1);
            if let Some(delta) = rules.delta(reason.as_ref()) {
                self.event(node, Event::Delta(Delta { first_token_entropy, ..delta }));
            }
            if let Some(reason) = reason {
                self.ends(node, reason);
            }
        }
    }

    /// Lets a node end its proposal.
    pub(crate) fn ends(&mut self, node: NodeId, reason: FinishReason) {
        let host = self.host(node).unwrap();
        let rules = host.writing.take().unwrap();
        let finished = host.protocol.finish(rules, reason);
        self.event(node, Event::Finished(finished));
    }

    /// Returns whether a node is asked to write.
    pub(crate) fn is_asked(&mut self, node: NodeId) -> bool {
        self.host(node).is_some_and(|host| host.writing.is_some())
    }

    /// Returns the answer's text that a node holds.
    pub(crate) fn committed(&mut self, node: NodeId) -> String {
        self.host(node).unwrap().protocol.committed().to_owned()
    }

    pub(crate) fn has_session(&mut self, node: NodeId) -> bool {
        self.host(node).is_some()
    }

    /// Lets time pass, with all wake-ups that fall into it.
    pub(crate) fn passes(&mut self, time: Duration) {
        let end = self.now + time;
        while !self.has_ended && self.conductor.wake_at() <= end {
            self.now = self.now.max(self.conductor.wake_at());
            self.step(Input::Wake);
            self.settle();
        }
        self.now = end;
    }

    pub(crate) fn text(&self) -> String {
        let text = |stamped: &Stamped| match &stamped.progress {
            Progress::Text(text) => Some(text.text.clone()),
            _ => None,
        };
        self.told.iter().filter_map(text).collect()
    }

    pub(crate) fn count(&self, like: impl Fn(&Progress) -> bool) -> usize {
        self.told.iter().filter(|stamped| like(&stamped.progress)).count()
    }

    /// Checks what must hold after every step, in addition to the witness.
    fn check(&self) {
        assert!(self.told.is_sorted_by_key(|stamped| stamped.at_us), "time never falls");
    }

    pub(crate) fn outcome(self) -> Outcome {
        let text = self.text();
        let outcome = self.conductor.conclude(&[]);
        assert_eq!(outcome.text(), text, "what was shown is the answer");
        self.witness.end(&outcome).unwrap_or_else(|breach| panic!("{breach}"));
        let summary = &outcome.summary;
        assert_eq!(summary.small.text_bytes + summary.large.text_bytes, text.len() as u64);
        outcome
    }
}

impl Host {
    /// Judges what is appended. The first planned objection that fits is made.
    fn judge(&mut self, objections: &[Planned]) -> Option<Objection> {
        let committed = self.protocol.committed().to_owned();
        let rules = self.protocol.review_mut().filter(|rules| rules.objection().is_none())?;
        let of = |plan: &Planned| {
            let found = match plan.text {
                "" => Some(committed.len()).filter(|_| rules.end() == TextEnd::Answer),
                text => committed[rules.reviewed()..].find(text).map(|at| rules.reviewed() + at),
            };
            let at = found.filter(|at| rules.judges(*at, &committed))?;
            Some(Objection {
                at_byte: at as u64,
                bytes: plan.text.len() as u32,
                gap: 2.0,
                rank: 1,
                log_p: -3.0,
                instead: plan.instead.map(str::to_owned),
                tokens: 1,
                token_ids: Vec::new(),
            })
        };
        match objections.iter().find_map(of) {
            Some(objection) => {
                rules.object(objection.clone());
                Some(objection)
            }
            None => {
                rules.passed(committed.len());
                None
            }
        }
    }

    fn answer(&mut self, objections: &[Planned], is_old: bool) -> Option<Event> {
        if let Some(next) = self.outbox.pop_front() {
            return Some(next);
        }
        if self.writing.is_some() && self.inbox.front() != Some(&Command::Cancel) {
            // Commands sent after a proposal wait for its end.
            return None;
        }
        let warmed = |protocol: &Protocol| Event::Warmed(Warmed { tokens: 1, ..protocol.warmed() });
        match self.inbox.pop_front()? {
            Command::Open(open) => {
                self.protocol.open(&open).unwrap();
                self.inbox.push_front(Command::Append(thinking::thinker::Append::default()));
                let name = "model".to_owned();
                let (can_review, can_report_entropy) = (!is_old, !is_old);
                let card =
                    ModelCard { name, can_review, can_report_entropy, ..ModelCard::default() };
                Some(Event::Opened(Box::new(Opened { card, prompt_tokens: 5, cached_tokens: 0 })))
            }
            Command::Append(append) => {
                self.protocol.append(&append).unwrap();
                let objection = self.judge(objections);
                let warmed = warmed(&self.protocol);
                match objection {
                    None => Some(warmed),
                    Some(objection) => {
                        self.outbox.push_back(warmed);
                        Some(Event::Objection(Box::new(objection)))
                    }
                }
            }
            Command::Propose(propose) => {
                let rules = self.protocol.propose(&propose).unwrap();
                if self.protocol.is_objecting() {
                    let finished = self.protocol.finish(rules, FinishReason::Cancelled);
                    return Some(Event::Finished(finished));
                }
                self.writing = Some(rules);
                self.answer(objections, is_old)
            }
            Command::Commit { bytes } => {
                self.protocol.commit(bytes).unwrap();
                Some(warmed(&self.protocol))
            }
            Command::Cut(cut) => {
                self.protocol.cut(cut).unwrap();
                Some(warmed(&self.protocol))
            }
            Command::Cancel => match self.writing.take() {
                Some(rules) => {
                    let finished = self.protocol.finish(rules, FinishReason::Cancelled);
                    Some(Event::Finished(finished))
                }
                None => self.answer(objections, is_old),
            },
        }
    }
}
