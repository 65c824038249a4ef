//! The machine. What must be true after every step:
//!
//! - The committed text is the answer: it is shown when it is added, and never taken back. With stop texts, its end may
//!   be held back a little, and the answer ends where one is found. What is given of the answer is committed, and not
//!   shown.
//! - A session holds a beginning of the committed text, and at most one proposal that goes on from
//!   there. One that lags behind catches up before it is asked to write. One that reviews is ahead of it by what the
//!   small node writes ([`review`]).
//! - A part has one session; the large one has a second while a takeover is asked of two nodes and neither has text
//!   ([`hedge`]).
//! - Both nodes write at a time only while the large one has no text: what the small one writes then is an overlap.
//! - Every session's prompt leaves the thought as the first small node's does, from before it is asked to write.
//! - At most one proposal that is not provisional grows, at the end of the committed text.
//! - What is awaited can come: where that is the end of a proposal, it has none yet.
//!
//! A step takes its input in ([`events`], [`alarms`], [`losses`]). What the policy is to hear of it
//! goes into a queue ([`Due`]), and the step ends by telling it and carrying out what it answers
//! ([`turns`]) until the queue is empty. Nothing in carrying out adds to the queue, so it ends.

mod alarms;
mod events;
mod hedge;
mod losses;
mod review;
mod turns;

use std::{collections::VecDeque, time::Duration};

use thinking::{
    loops::LoopFinder,
    policy::{End, Limited, Role, Why},
    stops::StopFinder,
    thinker::{Code, Failure, Objection, Open, ThoughtStart},
};

use crate::{
    DEADLINE_GRACE, LONGEST,
    committed::CommittedText,
    ledger::Ledger,
    micros,
    port::{Effect, Ended, Input, NodeId, NodeNames, Outcome, Step},
    progress::Progress,
    question::{Question, Settings, Traffic},
    session::SessionState,
    side::{Side, Sides},
};

/// A wake-up that comes so much too late tells of a pause of whoever runs this (Ctrl-Z, a sleeping
/// machine), not of a silent node.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// One answer on its way. See the module.
pub struct Conductor {
    question: Question,
    settings: Settings,
    policy: Limited,
    sides: Sides,
    committed: CommittedText,
    /// How far the answer's thought is where its text begins: what the first small node's template leaves of it.
    thought: ThoughtStart,
    /// Where the policy wants to know of loops in the committed text.
    loops: Option<LoopFinder>,
    ledger: Ledger,
    awaiting: Awaiting,
    /// When the awaited node last gave a sign.
    heard_at: Duration,
    /// When nothing that the nodes say can change the end any more.
    hard_deadline: Duration,
    /// When something happened after a time in which nothing did; perhaps whoever runs this stood still.
    resumed_at: Duration,
    due: VecDeque<Due>,
    /// What is objected to, until the policy has said what is done.
    objection: Option<Objection>,
    /// The first bytes of the answer that stand without a verdict.
    stands: usize,
    /// When verdicts were last late.
    verdicts_from: Duration,
    asks: u32,
    overlaps: u32,
    step: Step,
    ended: Option<Ended>,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Awaiting {
    /// The small node to accept the question.
    Opened,
    /// A node to finish what it was asked for.
    Finished(Role),
    /// The small node to take in the policy's text.
    Inserted { text: String, why: Why },
    /// The large node to judge the end of what the small one wrote.
    Verdict,
}

impl Awaiting {
    fn role(&self) -> Role {
        match self {
            Awaiting::Finished(role) => *role,
            Awaiting::Opened | Awaiting::Inserted { .. } => Role::Small,
            Awaiting::Verdict => Role::Large,
        }
    }
}

/// What the policy is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// The small node accepted the question.
    Started { prompt_tokens: u32 },
    /// This side's proposal is complete.
    Finished(Role),
    /// This side's proposal goes round in a loop.
    Looped(Role),
    /// The large node objects to what the small one wrote.
    Objected,
    /// The policy's own text is committed.
    Inserted { tokens: u32 },
    /// The takeover's first text is late.
    Late,
    /// Nothing: the policy was told that the takeover is late, and the overlap goes on as an ordinary turn, if it
    /// lets it be.
    OverlapStands,
}

impl Conductor {
    /// An answer that begins now, at time zero, and what is to be done first.
    pub fn start(
        question: Question,
        settings: Settings,
        policy: Limited,
        nodes: NodeNames,
    ) -> (Self, Vec<Effect>) {
        let mut ledger = Ledger::default();
        let first = |names: &[String]| names.first().cloned().unwrap_or_default();
        ledger.summary.small.node = first(&nodes.small);
        ledger.summary.large.node = first(&nodes.large);
        // A review is of what is sent ahead.
        let reviews = policy.review().is_some();
        let settings = Settings {
            keep_warm: settings.keep_warm || reviews,
            resend: settings.resend && !reviews,
            ..settings
        };
        let small = Side::new(Role::Small, nodes.small);
        let large = Side::new(Role::Large, nodes.large);
        let hard_deadline = question.deadline.unwrap_or(LONGEST).min(LONGEST) + DEADLINE_GRACE;
        let mut conductor = Conductor {
            question,
            settings,
            loops: policy.cuts_loops().then(LoopFinder::default),
            policy,
            sides: Sides { small, large },
            committed: CommittedText::default(),
            thought: ThoughtStart::Unknown,
            ledger,
            awaiting: Awaiting::Opened,
            heard_at: Duration::ZERO,
            hard_deadline,
            resumed_at: Duration::ZERO,
            due: VecDeque::new(),
            objection: None,
            stands: 0,
            verdicts_from: Duration::ZERO,
            asks: 0,
            overlaps: 0,
            step: Step::default(),
            ended: None,
        };
        if conductor.sides.small.is_empty() {
            let failure = Failure::new(Code::InvalidArgument, "no small node is given");
            conductor.end(Ended::Failed { node: String::new(), failure });
        } else {
            conductor.open_side(Role::Small);
            if !settings.resend {
                conductor.open_side(Role::Large);
            }
        }
        let effects = std::mem::take(&mut conductor.step.effects);
        (conductor, effects)
    }

    /// Takes in what happened at `now`, the time since the question was asked; a time before the
    /// last one counts as that. Returns what is to be done, in order; nothing once the answer is over.
    ///
    /// An event of a node that has no session is passed over, and one that breaks the contract of
    /// sessions ends its session.
    pub fn step(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        if self.ended.is_some() {
            return Vec::new();
        }
        let (before, now) = (self.step.now, self.step.now.max(now));
        self.step.now = now;
        if now - before > OVERSLEPT {
            self.resumed_at = now;
        }
        match self.take(input).and_then(|()| self.tell_policy()) {
            Ok(()) => self.settle_hedge(),
            Err(ended) => self.end(ended),
        }
        std::mem::take(&mut self.step.effects)
    }

    /// Takes back the list of an earlier step, whose effects are carried out, so that the next step need not allocate.
    pub fn reuse(&mut self, mut effects: Vec<Effect>) {
        effects.clear();
        self.step.effects = effects;
    }

    /// The caller's wish comes first, then the deadline, then a takeover that is long overdue: a flood of events keeps
    /// none of them waiting.
    fn take(&mut self, input: Input) -> Result<(), Ended> {
        match input {
            Input::Cancel => Err(Ended::Complete(End::Cancelled)),
            _ if self.step.now >= self.hard_deadline => Err(Ended::Complete(End::Deadline)),
            Input::Event(node, event) => {
                self.give_up_overdue()?;
                self.take_event(node, event)
            }
            Input::Alive(node) => {
                self.give_up_overdue()?;
                self.hear(node);
                Ok(())
            }
            Input::Offer(node, name) => {
                self.sides.of_mut(node.role).offer(node, name, self.step.now);
                Ok(())
            }
            Input::Withdraw(node) => {
                self.sides.of_mut(node.role).withdraw(node);
                Ok(())
            }
            Input::Wake => self.wake(),
        }
    }

    fn tell_policy(&mut self) -> Result<(), Ended> {
        while let Some(due) = self.due.pop_front() {
            self.advance(due)?;
        }
        Ok(())
    }

    fn end(&mut self, ended: Ended) {
        self.ledger.finish_text(&mut self.step);
        self.ended = Some(match ended {
            Ended::Complete(end) if end != End::Cancelled && self.ledger.stopped_by().is_some() => {
                Ended::Complete(End::Stop)
            }
            ended => ended,
        });
        self.step.effects.push(Effect::End);
    }

    /// Opens a session on the candidate at work, with all committed text, unless there is one.
    fn open_side(&mut self, role: Role) {
        let side = self.sides.of(role);
        if let (None, Some(node)) = (&side.session, side.at_work()) {
            self.open(node, self.committed.len());
        }
    }

    /// Opens a session on a node with the first bytes of the committed text.
    fn open(&mut self, node: NodeId, bytes: usize) {
        let open = self.opening(node.role, bytes);
        let session = SessionState::open(node, open, &mut self.step);
        self.sides.of_mut(node.role).session = Some(session);
    }

    /// What a session begins with that has the first bytes of the committed text.
    fn opening(&self, role: Role, bytes: usize) -> Open {
        // A deadline that has passed is still a deadline: the node then answers at once.
        let left = |deadline: Duration| {
            deadline.saturating_sub(self.step.now).max(Duration::from_millis(1))
        };
        Open {
            question_id: self.question.id.clone(),
            prompt: self.question.prompt.clone(),
            committed: self.committed.text().get(..bytes).unwrap_or_default().to_owned(),
            sampling: self.question.sampling,
            deadline: self.question.deadline.map(left),
            thought: self.thought,
            review: self.review_from(role, bytes),
        }
    }

    /// Gives a side's session up; why, where its node is to blame.
    fn close(&mut self, role: Role, failure: Option<Failure>) {
        if let Some(session) = self.sides.of_mut(role).session.take() {
            self.ledger.gone(&session);
            self.step.effects.push(Effect::Close(session.node, failure));
        }
    }

    /// Sends both sessions ahead what they have not got. `all`: also a few bytes.
    fn warm(&mut self, all: bool) {
        if self.settings.keep_warm {
            for side in [&mut self.sides.small, &mut self.sides.large] {
                if let Some(session) = &mut side.session {
                    let all = all || session.reviews();
                    session.warm(&self.committed, all, &mut self.step);
                }
            }
            self.send_draft();
        }
    }

    /// The large side is out. Marks the answer; the first reason stands.
    fn degrade(&mut self, reason: String) {
        self.ledger.summary.degraded.get_or_insert_with(|| reason.clone());
        self.step.tell(Progress::Degraded { reason });
    }

    /// The small node accepted the question, so that it is known where the answer begins: behind what is given of it.
    fn begin_text(&mut self) {
        let Question { beginning, stop, .. } = &self.question;
        let behind = beginning.thought_behind(self.thought);
        self.ledger.look_for(StopFinder::new(stop, behind));
        let text = beginning.text(self.thought);
        if !text.is_empty() {
            self.ledger.summary.thought = behind;
            self.committed.push(&text, &[], None);
            if let Some(small) = &mut self.sides.small.session {
                small.begin(&text, &mut self.step);
            }
            self.warm(true);
        }
    }

    /// The answer is over where a stop text is committed.
    fn unless_stopped(&self) -> Result<(), Ended> {
        if self.ledger.stopped_by().is_some() { Err(Ended::Complete(End::Stop)) } else { Ok(()) }
    }

    /// Whether the small node writes on provisionally while the large one is waited for.
    fn is_overlapping(&self) -> bool {
        let overlap = self.sides.small.proposal.as_ref();
        self.awaiting == Awaiting::Finished(Role::Large) && overlap.is_some_and(|p| p.is_overlap())
    }

    /// Closes the books, with what crossed each node's link. An answer that is not over ends here,
    /// cancelled.
    pub fn conclude(mut self, traffic: &[(NodeId, Traffic)]) -> Outcome {
        for role in [Role::Small, Role::Large] {
            if let Some(proposal) = self.sides.of_mut(role).proposal.take() {
                // What was shown of it is part of the answer.
                if proposal.finished().is_none() {
                    self.ledger.finished(&proposal, &self.step);
                }
                self.ledger.kept(&proposal, proposal.text.shown(), true, &self.step);
            }
            self.close(role, None);
        }
        self.ledger.cut_to_shown();
        let stopped_by = self.ledger.stopped_by().map(str::to_owned);
        let Ledger { transcript, mut summary, .. } = self.ledger;
        let ended = self.ended.unwrap_or(Ended::Complete(End::Cancelled));
        match &ended {
            Ended::Complete(end) => {
                summary.stopped_by = stopped_by.filter(|_| *end == End::Stop);
                summary.end = Some(*end);
            }
            Ended::Failed { failure, .. } => summary.failure = Some(failure.clone()),
        }
        for (node, crossed) in traffic {
            let total = summary.model_mut(node.role).traffic.get_or_insert_default();
            total.sent_bytes += crossed.sent_bytes;
            total.received_bytes += crossed.received_bytes;
            total.requests += crossed.requests;
        }
        let time = &mut summary.time;
        time.total_us = micros(self.step.now);
        time.other_us = time.total_us.saturating_sub(time.small.total_us() + time.large.total_us());
        Outcome { ended, transcript, summary }
    }
}
