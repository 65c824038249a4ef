//! Timeouts: what to do if nothing has come in time, and when that is.

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

/// What to do if nothing has come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alarm {
    /// Give a node up as silent.
    Silent(Role),
    /// Give the takeover up.
    Late,
    /// Accept what was written without a verdict.
    VerdictLate,
    /// Try a lost large node again.
    Try(NodeId),
    /// Ask a second large node for the takeover.
    Hedge,
}

impl Conductor {
    /// Returns when [`Input::Wake`](crate::Input::Wake) is needed, unless another input changes it first. It is a
    /// method and not an effect, since nearly every input changes it.
    pub fn wake_at(&self) -> Duration {
        self.next_alarm().0.min(self.hard_deadline)
    }

    /// Returns what to do next if nothing comes, and when.
    fn next_alarm(&self) -> (Duration, Alarm) {
        let after = |heard_at: Duration, role| heard_at + self.timeout(role).min(LONGEST);
        let awaited = self.awaiting.role();
        let mut first = (after(self.heard_at, awaited), Alarm::Silent(awaited));
        // Of alarms at the same time, the first one wins.
        let mut consider = |at, alarm| {
            if at < first.0 {
                first = (at, alarm);
            }
        };
        let large = &self.sides.large;
        // Nobody waits for the cancelled proposals of an abandoned takeover, nor for a node that is being tried again.
        // The timeout is still needed for one that never reports a failure.
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

    /// Returns when the first text of the awaited takeover is late.
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
        // The process was paused. What the nodes sent may not have been read yet.
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
                let message = format!("it gave no sign of life for {:?}", self.timeout(role));
                self.lost(role, Failure::new(Code::Unavailable, message))
            }
        }
    }

    /// Gives up a takeover that is long overdue, before anything else is taken in. Otherwise a node that keeps sending
    /// events other than text would keep the wake-up from ever coming.
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
            // A takeover that no node was asked for stays late.
            && let State::Asked { late_at } = &mut proposal.state
        {
            *late_at = proposal.ask.first_text_within.map(|within| now + within.min(LONGEST));
            return;
        }
        self.give_up();
    }
}
