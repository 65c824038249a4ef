//! Hedging: if a takeover's first text takes longer than usual, a second large node is asked for the takeover too. The
//! node with the first text wins, and the other one is given up. Both continue the same text with the same seed, so the
//! answer does not depend on which one wins.

use std::time::Duration;

use thinking::{
    policy::Role,
    thinker::{Code, Event, Failure, Opened, Warmed},
};

use super::{Awaiting, Conductor};
use crate::{
    port::{Effect, Ended, NodeId},
    progress::{Hedged, Progress},
    proposal::State,
    session::{Report, SessionState},
};

impl Conductor {
    /// Returns when to ask a second large node for the awaited takeover, if at all.
    pub(super) fn hedge_at(&self) -> Option<Duration> {
        let (after, side) = (self.settings.hedge_after?, &self.sides.large);
        let proposal = side.proposal.as_ref().filter(|it| !it.is_hedged && !it.is_aside())?;
        let can_be = side.session.is_some() && side.has_spare() && self.policy.review().is_none();
        (can_be && self.is_hedged_for()).then(|| proposal.asked_at + after)
    }

    /// Returns whether the first text of a takeover is waited for.
    fn is_hedged_for(&self) -> bool {
        let takeover = self.sides.large.proposal.as_ref();
        self.awaiting == Awaiting::Finished(Role::Large)
            && takeover.is_some_and(|it| matches!(it.state, State::Asked { .. }))
    }

    /// Asks a second node for the awaited takeover. `overslept`: the first one's text may have arrived unread.
    pub(super) fn hedge(&mut self, overslept: bool) {
        let now = self.step.now;
        let Some(proposal) = &mut self.sides.large.proposal else { return };
        proposal.is_hedged = true;
        if overslept || self.is_late() {
            return;
        }
        let Some(node) = self.sides.large.begin_hedge() else { return };
        let open = self.opening(node.role, self.committed.len());
        let mut session = SessionState::open(node, open, &mut self.step);
        let side = &mut self.sides.large;
        let Some(proposal) = &side.proposal else { return };
        session.propose(&self.committed, proposal, &mut self.step);
        let (ask, waited_us) = (proposal.number, proposal.wall_us(now));
        let name = side.name(node).to_owned();
        side.hedge = Some(session);
        self.ledger.summary.hedges += 1;
        self.step.tell(Progress::Hedged(Hedged { ask, node: name, waited_us }));
    }

    /// Returns whether this node was asked second.
    pub(super) fn is_hedge(&self, node: NodeId) -> bool {
        self.sides.large.hedge.as_ref().is_some_and(|session| session.node == node)
    }

    /// Takes in an event of the node that was asked second.
    pub(super) fn take_hedge_event(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Opened(opened) => self.hedge_opened(&opened),
            Event::Warmed(warmed) => self.hedge_warmed(&warmed),
            Event::Delta(delta) => {
                self.promote_hedge();
                self.delta(Role::Large, delta)
            }
            Event::Finished(finished) => {
                self.promote_hedge();
                self.finished(Role::Large, finished)
            }
            Event::Objection(_) => {
                self.lose_hedge(&broke("it objects without being asked"));
                Ok(())
            }
            Event::Failed(failure) => {
                self.lose_hedge(&failure);
                Ok(())
            }
        }
    }

    fn hedge_opened(&mut self, opened: &Opened) -> Result<(), Ended> {
        if let Some(unfit) = self.unfit(Role::Large, &opened.card)? {
            self.lose_hedge(&Failure::new(Code::InvalidArgument, unfit));
            return Ok(());
        }
        let now = self.step.now;
        let session = self.sides.large.hedge.as_mut();
        if session.is_some_and(|session| session.accept(opened, now).is_none()) {
            self.lose_hedge(&broke("it accepted the question twice"));
        }
        let totals = self.ledger.summary.model_mut(Role::Large);
        totals.cached_tokens += u64::from(opened.cached_tokens);
        Ok(())
    }

    fn hedge_warmed(&mut self, warmed: &Warmed) -> Result<(), Ended> {
        let Some(session) = &mut self.sides.large.hedge else { return Ok(()) };
        match session.check(warmed) {
            Report::Agrees(_) => self.ledger.warmed(Role::Large, warmed, None, &self.step),
            Report::Differs(_) | Report::Unexpected => {
                self.lose_hedge(&broke("its text differs from ours"));
            }
        }
        Ok(())
    }

    /// Lets the node that was asked second continue in place of the first.
    pub(super) fn promote_hedge(&mut self) {
        let now = self.step.now;
        let side = &mut self.sides.large;
        let Some(hedge) = side.hedge.take() else { return };
        let node = hedge.node;
        side.take_over(node);
        let first = side.session.replace(hedge);
        let name = side.name(node).to_owned();
        let proposal = side.proposal.as_ref();
        let (ask, waited_us) = proposal.map_or((0, 0), |it| (it.number, it.wall_us(now)));
        if let Some(first) = first {
            self.ledger.gone(&first);
            self.step.effects.push(Effect::Close(first.node, None));
        }
        if self.awaiting.role() == Role::Large {
            self.heard_at = now;
        }
        let summary = &mut self.ledger.summary;
        summary.hedges_won += 1;
        summary.large.node.clone_from(&name);
        self.step.tell(Progress::HedgeWon(Hedged { ask, node: name, waited_us }));
    }

    /// Drops the node that was asked second because it failed.
    fn lose_hedge(&mut self, failure: &Failure) {
        let blame = self.blame(failure);
        let side = &mut self.sides.large;
        let Some(session) = side.hedge.take() else { return };
        side.lose(session.node, failure.code, self.settings.rejoin_after, self.step.now);
        self.step.effects.push(Effect::Close(session.node, blame));
    }

    /// Gives the second node up once the first one has text or the takeover is no longer waited for.
    pub(super) fn settle_hedge(&mut self) {
        let is_same = self.sides.large.proposal.as_ref().is_some_and(|it| it.is_hedged);
        if is_same && self.is_hedged_for() {
            return;
        }
        let side = &mut self.sides.large;
        if let Some(session) = side.hedge.take() {
            side.end_hedge(session.node);
            self.step.effects.push(Effect::Close(session.node, None));
        }
    }
}

fn broke(what: &str) -> Failure {
    Failure::new(Code::Internal, format!("it broke the protocol: {what}"))
}
