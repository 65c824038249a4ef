//! What is done when nothing has come in time, and when that is.

use std::time::Duration;

use thinking::{
    policy::Role,
    thinker::{Code, Failure},
};

use super::{Awaiting, Conductor, OVERSLEPT};
use crate::{
    LONGEST,
    port::{Ended, NodeId},
    proposal::State,
};

/// What is done when nothing has come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alarm {
    /// A node is given up.
    Silent(Role),
    /// The takeover is given up.
    Late,
    /// What was written stands without a verdict.
    VerdictLate,
    /// A large node that was lost is tried again.
    Try(NodeId),
    /// A second large node is asked for the takeover.
    Hedge,
}

impl Conductor {
    /// When [`Input::Wake`](crate::Input::Wake) is wanted, unless another input changes it first. It
    /// is asked for and not an effect, since nearly every input changes it.
    pub fn wake_at(&self) -> Duration {
        self.next_alarm().0.min(self.hard_deadline)
    }

    /// What is to be done when nothing comes, and when.
    fn next_alarm(&self) -> (Duration, Alarm) {
        let after = |heard_at: Duration, role| heard_at + self.timeout(role).min(LONGEST);
        let awaited = self.awaiting.role();
        let mut first = (after(self.heard_at, awaited), Alarm::Silent(awaited));
        // Of those at the same time the first.
        let mut consider = |at, alarm| {
            if at < first.0 {
                first = (at, alarm);
            }
        };
        let large = &self.sides.large;
        // Nobody waits for what a takeover that was given up still owes, nor for a node that is
        // tried again, but one that never says it is gone.
        if let Some(session) = &large.session
            && (!session.cancelled.is_empty() || large.is_trying())
        {
            consider(after(session.heard_at, Role::Large), Alarm::Silent(Role::Large));
        }
        if let (Some(since), Some(session)) = (self.judging_since(), &large.session) {
            consider(after(session.heard_at.max(since), Role::Large), Alarm::Silent(Role::Large));
        }
        if let Some(at) = self.late_at() {
            consider(at, Alarm::Late);
        }
        if let Some(at) = self.verdict_late_at() {
            consider(at, Alarm::VerdictLate);
        }
        if let Some(at) = self.hedge_at() {
            consider(at, Alarm::Hedge);
        }
        if let Some((at, node)) = large.next_try() {
            consider(at, Alarm::Try(node));
        }
        first
    }

    /// When the first text of the takeover that is waited for is late.
    fn late_at(&self) -> Option<Duration> {
        let takeover = self.sides.large.proposal.as_ref();
        takeover.filter(|_| self.awaiting == Awaiting::Finished(Role::Large))?.late_at()
    }

    fn timeout(&self, role: Role) -> Duration {
        match role {
            Role::Small => self.settings.small_timeout,
            Role::Large => self.settings.large_timeout,
        }
    }

    pub(super) fn wake(&mut self) -> Result<(), Ended> {
        let (now, (at, alarm)) = (self.step.now, self.next_alarm());
        if now < at {
            return Ok(());
        }
        // Whoever runs this stood still. What the nodes sent is still on its way here.
        let overslept = now - at > OVERSLEPT;
        match alarm {
            Alarm::Late => {
                self.late(overslept);
                Ok(())
            }
            Alarm::VerdictLate => self.verdict_late(),
            Alarm::Hedge => {
                self.hedge(overslept);
                Ok(())
            }
            Alarm::Try(node) => {
                self.sides.large.try_again(node);
                self.open(node, self.committed.len());
                Ok(())
            }
            Alarm::Silent(_) if overslept => {
                self.heard_at = now;
                if let Some(session) = &mut self.sides.large.session {
                    session.heard_at = now;
                }
                Ok(())
            }
            Alarm::Silent(role) => {
                let message = format!("it gave no sign for {:?}", self.timeout(role));
                self.lost(role, Failure::new(Code::Unavailable, message))
            }
        }
    }

    /// Gives a takeover up that has long been late, before anything else is taken in: what its node says instead of its
    /// text would else be read for ever before the wake-up.
    pub(super) fn give_up_overdue(&mut self) -> Result<(), Ended> {
        if self.late_at().is_none() {
            return Ok(());
        }
        let (at, alarm) = self.next_alarm();
        let since = at.max(self.resumed_at);
        if alarm == Alarm::Late && self.step.now.saturating_sub(since) > OVERSLEPT {
            self.give_up();
            self.tell_policy()?;
        }
        Ok(())
    }

    fn late(&mut self, overslept: bool) {
        let now = self.step.now;
        if let Some(proposal) = self.sides.large.proposal.as_mut().filter(|_| overslept)
            // What nobody was asked for stays late.
            && let State::Asked { late_at } = &mut proposal.state
        {
            *late_at = proposal.ask.first_text_within.map(|within| now + within.min(LONGEST));
            return;
        }
        self.give_up();
    }
}
