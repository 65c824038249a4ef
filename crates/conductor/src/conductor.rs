//! The machine. These properties hold after every step:
//!
//! - The committed text is the answer: it is shown when it is added, and never taken back. With stop texts, a little of
//!   its end may be held back, and the answer ends where one is found. The given beginning of the answer is committed,
//!   but not shown.
//! - A session holds a prefix of the committed text and at most one proposal that continues it. A session that lags
//!   behind catches up before it is asked to write. One that reviews is ahead by what the small node writes
//!   ([`review`]).
//! - Each role has one session. The large one has a second while a takeover is asked of two nodes and neither has text
//!   ([`hedge`]).
//! - Both nodes write at the same time only while the large one has no text; what the small one writes then is an
//!   overlap.
//! - Every session's prompt leaves the thought in the state in which the first small node's does, at the latest when
//!   the session is asked to write.
//! - At most one proposal that is not provisional grows, at the end of the committed text.
//! - What is awaited can still come: a proposal whose end is awaited has no end yet.
//!
//! A step first takes its input in ([`events`], [`alarms`], [`losses`]) and queues what the policy must be told
//! ([`Due`]). It then tells the policy and carries out the policy's actions ([`turns`]) until the queue is empty.
//! Carrying out actions never adds to the queue, so the loop ends.

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

/// If a wake-up comes later than this, the process was paused (Ctrl-Z, a sleeping machine); it does not mean that a
/// node was silent.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// One answer in progress. See the module documentation.
pub struct Conductor {
    question: Question,
    settings: Settings,
    policy: Limited,
    sides: Sides,
    committed: CommittedText,
    /// The state of the answer's thought where its text begins, as the first small node's template leaves it.
    thought: ThoughtStart,
    /// Searches the committed text for loops; `None` if the policy does not want to know of them.
    loops: Option<LoopFinder>,
    ledger: Ledger,
    awaiting: Awaiting,
    /// When the awaited node last gave a sign of life.
    heard_at: Duration,
    /// From this time on nothing that the nodes send can change the end.
    hard_deadline: Duration,
    /// When something last happened after a long time without input; the process may have been paused.
    resumed_at: Duration,
    due: VecDeque<Due>,
    /// The open objection, until the policy has decided what to do about it.
    objection: Option<Objection>,
    /// How many of the answer's first bytes are accepted without a verdict.
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
    /// The small node to prefill the policy's text.
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

/// What the policy must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// The small node accepted the question.
    Started { prompt_tokens: u32 },
    /// This side's proposal is complete.
    Finished(Role),
    /// This side's proposal ends in a loop.
    Looped(Role),
    /// The large node objects to what the small one wrote.
    Objected,
    /// The policy's own text is committed.
    Inserted { tokens: u32 },
    /// The takeover's first text is late.
    Late,
    /// Nothing. The policy was told that the takeover is late; unless it dropped the overlap, that continues as an
    /// ordinary turn.
    OverlapStands,
}

impl Conductor {
    /// Starts an answer now, at time zero. Returns it with the first effects.
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
        // A review judges text that is sent ahead.
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

    /// Takes in what happened at `now`, the time since the question was asked; a time before the last one counts as the
    /// last one. Returns what to do, in order; nothing once the answer is over.
    ///
    /// An event of a node that has no session is ignored. An event that breaks the contract of sessions ends its
    /// session.
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

    /// Takes back the list of an earlier step after its effects were carried out, so that the next step need not
    /// allocate.
    pub fn reuse(&mut self, mut effects: Vec<Effect>) {
        effects.clear();
        self.step.effects = effects;
    }

    /// Takes an input in. Cancellation comes first, then the deadline, then a takeover that is long overdue, so a flood
    /// of events cannot delay any of them.
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

    /// Opens a session with all committed text on the candidate at work, unless there is one.
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

    /// Returns the `Open` of a session that gets the first bytes of the committed text.
    fn opening(&self, role: Role, bytes: usize) -> Open {
        // A deadline that has passed is still sent, so that the node answers at once.
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

    /// Gives a side's session up; with the reason, if its node is to blame.
    fn close(&mut self, role: Role, failure: Option<Failure>) {
        if let Some(session) = self.sides.of_mut(role).session.take() {
            self.ledger.gone(&session);
            self.step.effects.push(Effect::Close(session.node, failure));
        }
    }

    /// Sends both sessions what they do not have yet. `all`: even if it is only a few bytes.
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

    /// Marks the answer as degraded because no large node is available. The summary keeps the first reason.
    fn degrade(&mut self, reason: String) {
        self.ledger.summary.degraded.get_or_insert_with(|| reason.clone());
        self.step.tell(Progress::Degraded { reason });
    }

    /// Commits the given beginning of the answer once the small node has accepted the question, since only then it is
    /// known where the answer's text begins.
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

    /// Ends the answer if a stop text is committed.
    fn unless_stopped(&self) -> Result<(), Ended> {
        if self.ledger.stopped_by().is_some() { Err(Ended::Complete(End::Stop)) } else { Ok(()) }
    }

    /// Returns whether the small node writes provisionally while the large one is waited for.
    fn is_overlapping(&self) -> bool {
        let overlap = self.sides.small.proposal.as_ref();
        self.awaiting == Awaiting::Finished(Role::Large) && overlap.is_some_and(|p| p.is_overlap())
    }

    /// Returns the outcome, given what crossed each node's link. An answer that is not over ends here, cancelled.
    pub fn conclude(mut self, traffic: &[(NodeId, Traffic)]) -> Outcome {
        if self.awaiting == Awaiting::Verdict {
            self.count_draft();
        }
        for role in [Role::Small, Role::Large] {
            if let Some(mut proposal) = self.sides.of_mut(role).proposal.take() {
                if self.awaiting == Awaiting::Finished(role) {
                    self.ledger.finished(&mut proposal, &self.step);
                }
                // What was shown of it is part of the answer.
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
        time.other_us = time.total_us.saturating_sub(time.waited_us());
        Outcome { ended, transcript, summary }
    }
}
