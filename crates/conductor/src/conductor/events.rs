//! Takes in what a session reports.

use thinking::{
    policy::Role,
    thinker::{
        Code, Delta, Event, Failure, FinishReason, Finished, Opened, Prompt, ThoughtStart, Warmed,
    },
};

use super::{Awaiting, Conductor, Due};
use crate::{
    micros,
    port::{Ended, NodeId},
    progress::{Abandoned, NodeFinished, NodeOpened, NodeWarmed, Progress, Rejoined},
    proposal::{Proposal, State},
    session::{Report, Sent},
};

impl Conductor {
    pub(super) fn take_event(&mut self, node: NodeId, event: Event) -> Result<(), Ended> {
        if self.is_hedge(node) {
            return self.take_hedge_event(event);
        }
        if !self.hear(node) {
            return Ok(());
        }
        let role = node.role;
        match event {
            Event::Opened(opened) => self.opened(node, *opened),
            Event::Warmed(warmed) => self.warmed(role, &warmed),
            Event::Delta(delta) => self.delta(role, delta),
            Event::Finished(finished) => self.finished(role, finished),
            Event::Objection(objection) => self.objected(role, *objection),
            Event::Failed(failure) => self.lost(role, failure),
        }
    }

    /// Notes a node's sign of life. Returns whether the node has a session.
    pub(super) fn hear(&mut self, node: NodeId) -> bool {
        let (role, now) = (node.role, self.step.now);
        let session = self.sides.of_mut(role).session.as_mut();
        let Some(session) = session.filter(|session| session.node == node) else { return false };
        session.heard_at = now;
        if self.awaiting.role() == role {
            self.heard_at = now;
        }
        true
    }

    fn opened(&mut self, node: NodeId, opened: Opened) -> Result<(), Ended> {
        let (role, now) = (node.role, self.step.now);
        if let Some(unfit) = self.unfit(role, &opened.card)? {
            return self.lost(role, Failure::new(Code::InvalidArgument, unfit));
        }
        let session = self.sides.of_mut(role).session.as_mut();
        let Some(open_time) = session.and_then(|session| session.accept(&opened, now)) else {
            return self.fault(role, "it accepted the question twice");
        };
        let (name, prompt_tokens) =
            (self.sides.of(role).name(node).to_owned(), opened.prompt_tokens);
        let totals = self.ledger.summary.model_mut(role);
        totals.node.clone_from(&name);
        totals.model.clone_from(&opened.card.name);
        totals.parameters = opened.card.parameters;
        totals.prompt_tokens = u64::from(prompt_tokens);
        totals.cached_tokens += u64::from(opened.cached_tokens);
        self.step.tell(Progress::Opened(Box::new(NodeOpened {
            role,
            node: name,
            card: opened.card,
            prompt_tokens,
            cached_tokens: opened.cached_tokens,
            open_us: micros(open_time),
        })));
        if role == Role::Large {
            self.rejoined(node);
        }
        self.agree_on_thought(role);
        if role == Role::Small && self.awaiting == Awaiting::Opened {
            // The large node may still be opening: commands queue, and nobody waits for it before the policy needs it.
            self.begin_text();
            self.due.push_back(Due::Started { prompt_tokens });
        } else {
            self.warm(true);
        }
        Ok(())
    }

    /// Makes both sessions agree on the state of the thought. The two models' templates may leave it in different
    /// states, and the answer begins as the first small node's template leaves it. A session that began otherwise is
    /// reopened, and its node makes its prompt end that way.
    fn agree_on_thought(&mut self, accepted: Role) {
        if matches!(self.question.prompt, Prompt::Raw(_)) {
            // A raw prompt is the same text for both.
            return;
        }
        if accepted == Role::Small && self.thought.is_unknown() {
            let small = self.sides.small.session.as_ref();
            self.thought = small.map(|session| session.thought).unwrap_or_default();
            self.ledger.summary.thought = self.thought;
        }
        let Some(large) = &self.sides.large.session else { return };
        let differs = ![ThoughtStart::Unknown, self.thought].contains(&large.thought);
        if large.is_accepted() && differs && !self.thought.is_unknown() {
            let node = large.node;
            self.close(Role::Large, None);
            self.reopen(node);
        }
    }

    /// Notes that a large node accepted a session. If it was lost, it is back.
    fn rejoined(&mut self, node: NodeId) {
        let side = &mut self.sides.large;
        let Some(absence) = side.accepted(node) else { return };
        let name = side.name(node).to_owned();
        let committed_bytes = side.session.as_ref().map_or(0, |s| s.given.bytes as u64);
        self.ledger.summary.rejoins += 1;
        self.step.tell(Progress::Rejoined(Rejoined {
            node: name,
            away_us: micros(self.step.now.saturating_sub(absence.since)),
            attempts: absence.attempts,
            committed_bytes,
        }));
        if self.settings.resend {
            // Every takeover opens a session of its own.
            self.close(Role::Large, None);
        }
    }

    fn warmed(&mut self, role: Role, warmed: &Warmed) -> Result<(), Ended> {
        let side = self.sides.of_mut(role);
        let Some(session) = &mut side.session else { return Ok(()) };
        let sent = match session.check(warmed) {
            Report::Agrees(sent) => sent,
            Report::Differs(sent) => return self.repair(role, sent),
            Report::Unexpected => return self.fault(role, "it reported text it was not given"),
        };
        self.ledger.warmed(role, warmed, side.proposal.as_mut(), &self.step);
        self.step.tell(Progress::Warmed(NodeWarmed {
            role,
            committed_bytes: warmed.committed_bytes,
            tokens: warmed.tokens,
            prefill_tokens: warmed.prefill_tokens,
            prefill_us: warmed.prefill_us,
        }));
        if sent == Sent::Beginning {
            self.ledger.summary.given_tokens = warmed.tokens.into();
        }
        if let (Sent::Insert, Awaiting::Inserted { why, .. }) = (sent, &self.awaiting) {
            self.ledger.inserted(*why, warmed);
            self.due.push_back(Due::Inserted { tokens: warmed.tokens });
            return Ok(());
        }
        if role == Role::Large && self.policy.review().is_some() {
            return self.judged(sent == Sent::DraftEnd);
        }
        self.warm(false);
        Ok(())
    }

    pub(super) fn delta(&mut self, role: Role, delta: Delta) -> Result<(), Ended> {
        let (side, now) = (self.sides.of_mut(role), self.step.now);
        if let Some(cancelled) = side.session.as_mut().and_then(|s| s.cancelled.front_mut()) {
            let pushed = cancelled.proposal.push(delta, now);
            return pushed.or_else(|what| self.fault(role, what));
        }
        let Some(proposal) = side.proposal.as_mut().filter(|p| p.is_running()) else {
            return self.fault(role, "it wrote without being asked");
        };
        if let Err(what) = proposal.push(delta, now) {
            return self.fault(role, what);
        }
        if proposal.first_text_at.is_some() {
            self.end_overlap(role)?;
        }
        self.show_settled(role)
    }

    pub(super) fn finished(&mut self, role: Role, finished: Finished) -> Result<(), Ended> {
        let (side, now) = (self.sides.of_mut(role), self.step.now);
        let is_full = finished.reason == FinishReason::ContextFull;
        self.ledger.passed(role, finished.passes_milli);
        let totals = self.ledger.summary.model_mut(role);
        totals.cached_tokens = totals.cached_tokens.saturating_add(finished.cached_tokens.into());
        if let Some(mut cancelled) = side.session.as_mut().and_then(|s| s.cancelled.pop_front()) {
            let taken = cancelled.proposal.finish(finished, now);
            self.ledger.cancelled(role, &cancelled);
            self.tell_finished(&cancelled.proposal);
            return taken.or_else(|what| self.fault(role, what));
        }
        let Some(proposal) = side.proposal.as_mut().filter(|p| p.is_running()) else {
            return self.fault(role, "it finished without being asked");
        };
        if finished.reason == FinishReason::Cancelled {
            return self.fault(role, "it was not told to cancel");
        }
        if finished.reason == FinishReason::Deadline && self.question.deadline.is_none() {
            return self.fault(role, "there is no deadline");
        }
        if let Err(what) = proposal.finish(finished, now) {
            return self.fault(role, what);
        }
        if role == Role::Small && self.is_overlapping() {
            self.give_up();
            return Ok(());
        }
        self.end_overlap(role)?;
        self.complete(role);
        if role == Role::Large && is_full {
            // The small node has room, so only the stretch is over, not the answer. The large one cannot be asked
            // again.
            let failure = Failure::new(Code::ContextTooLong, "its context is full");
            return self.lost(role, failure);
        }
        Ok(())
    }

    /// Ends an overlap because the large node came first: what the small one wrote meanwhile is forgotten.
    fn end_overlap(&mut self, first: Role) -> Result<(), Ended> {
        if first == Role::Large && self.is_overlapping() {
            self.keep(Role::Small, 0, false)?;
        }
        Ok(())
    }

    /// Gives a takeover up because its first text is late or will never come: the small model continues. The proposal
    /// ends when the policy keeps nothing of it.
    pub(super) fn give_up(&mut self) {
        let overlapping = self.is_overlapping();
        let Some(proposal) = &mut self.sides.large.proposal else { return };
        let (ask, waited_us) = (proposal.number, proposal.wall_us(self.step.now));
        if !overlapping {
            self.ledger.finished(proposal, &self.step);
        }
        self.ledger.summary.abandoned += 1;
        self.step.tell(Progress::Abandoned(Abandoned { ask, waited_us }));
        self.due.push_back(Due::Late);
        if overlapping {
            self.awaiting = Awaiting::Finished(Role::Small);
            self.heard_at = self.step.now;
            self.due.push_back(Due::OverlapStands);
        }
    }

    /// Turns an overlap into an ordinary ask after the policy was told that the takeover is late, unless the policy
    /// dropped it.
    pub(super) fn overlap_stands(&mut self) -> Result<(), Ended> {
        let side = &mut self.sides.small;
        let Some(proposal) = side.proposal.as_mut().filter(|it| it.is_overlap()) else {
            return Ok(());
        };
        proposal.ask.provisional = false;
        if let (State::Unasked, Some(_)) = (&proposal.state, &side.session) {
            // Its node was far behind while the overlap could still have been dropped.
            proposal.state = State::Asked { late_at: None };
            self.propose(Role::Small);
        } else if proposal.finished().is_some() {
            self.complete(Role::Small);
            return Ok(());
        }
        self.show_settled(Role::Small)
    }

    /// Cuts the proposal that is being written off here because the answer repeats itself in a loop. The policy is told
    /// next.
    pub(super) fn cut_off(&mut self, role: Role) {
        match role {
            Role::Small => self.count_draft(),
            Role::Large => {
                self.sides.large.wrote();
                if let Some(proposal) = &mut self.sides.large.proposal {
                    self.ledger.finished(proposal, &self.step);
                }
            }
        }
        self.due.push_back(Due::Looped(role));
    }

    /// Completes a proposal: tells the observer, and next the policy.
    pub(super) fn complete(&mut self, role: Role) {
        let Some(mut proposal) = self.sides.of_mut(role).proposal.take() else { return };
        if role == Role::Large && !matches!(proposal.state, State::CutShort(_)) {
            self.sides.large.wrote();
        }
        self.tell_finished(&proposal);
        self.ledger.finished(&mut proposal, &self.step);
        self.sides.of_mut(role).proposal = Some(proposal);
        if role == Role::Large || !self.awaits_verdict() {
            self.due.push_back(Due::Finished(role));
        }
    }

    fn tell_finished(&mut self, proposal: &Proposal) {
        // If a proposal was cut short, no node reported that it finished it.
        let (State::Held(_) | State::Loose(_)) = &proposal.state else { return };
        let Some(finished) = proposal.finished() else { return };
        self.step.tell(Progress::Finished(Box::new(NodeFinished {
            ask: proposal.number,
            role: proposal.ask.role,
            reason: <&str>::from(&finished.reason).to_owned(),
            trigger: match &finished.reason {
                FinishReason::Trigger(found) => Some(found.clone()),
                _ => None,
            },
            tokens: finished.tokens,
            bytes: finished.bytes,
            prefill_tokens: proposal.prefill_tokens(),
            timing: finished.timing,
            first_text_us: proposal.first_text_us(),
            wall_us: proposal.wall_us(self.step.now),
            deltas: proposal.text.deltas(),
        })));
    }
}
