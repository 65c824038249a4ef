//! One side of an answer, small or large: the nodes that can play its role, the session of the one that does, and its
//! proposal.
//!
//! At most one candidate is at work, and at most one is being tried, never both. If there is a session, it is that
//! candidate's. A candidate that is being tried is not asked for anything, so nobody ever waits for it.

use std::time::Duration;

use thinking::{policy::Role, thinker::Code};

use crate::{LONGEST, port::NodeId, proposal::Proposal, session::SessionState};

/// The longest time between two tries, unless the first wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// One side. See the module documentation.
#[derive(Debug)]
pub(crate) struct Side {
    role: Role,
    candidates: Vec<Candidate>,
    pub(crate) session: Option<SessionState>,
    /// The session of a second candidate that was asked for the same proposal.
    pub(crate) hedge: Option<SessionState>,
    pub(crate) proposal: Option<Proposal>,
}

/// A node that can play the role.
#[derive(Debug)]
struct Candidate {
    name: String,
    state: CandidateState,
    /// How often it was tried again since it last wrote. A candidate that is accepted and lost again and again is tried
    /// less and less often.
    tries: u32,
}

/// What is known of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CandidateState {
    /// It was not needed so far.
    Spare,
    /// It was not needed so far, and takes no sessions.
    Withdrawn,
    /// It has the session, or gets one for every takeover.
    AtWork,
    /// It has a second session, asked for what the one at work owes.
    Hedging,
    /// It was lost, and is tried again at this time; `None` if that is pointless.
    Away(Absence, Option<Duration>),
    /// It was lost, and has a session that is not accepted yet.
    Tried(Absence),
}

/// How long a candidate has been away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Absence {
    pub(crate) since: Duration,
    /// How often it was tried.
    pub(crate) attempts: u32,
}

impl Side {
    /// A side whose first candidate is at work and whose others are spare.
    pub(crate) fn new(role: Role, names: Vec<String>) -> Self {
        let state = |index| match index {
            0 => CandidateState::AtWork,
            _ => CandidateState::Spare,
        };
        let candidates = names.into_iter().enumerate();
        let candidates =
            candidates.map(|(index, name)| Candidate { name, state: state(index), tries: 0 });
        Side { role, candidates: candidates.collect(), session: None, hedge: None, proposal: None }
    }

    /// Returns whether there is no candidate at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Returns a node's name for people.
    pub(crate) fn name(&self, node: NodeId) -> &str {
        self.candidates.get(node.index).map_or("", |candidate| &candidate.name)
    }

    fn find(&self, is: impl Fn(CandidateState) -> bool) -> Option<NodeId> {
        let index = self.candidates.iter().position(|candidate| is(candidate.state))?;
        Some(NodeId { role: self.role, index })
    }

    /// Returns what it writes, or has written, that the other side may judge.
    pub(crate) fn draft(&self) -> Option<&Proposal> {
        let is_draft = |it: &&Proposal| it.is_attached() || it.finished().is_some();
        self.proposal.as_ref().filter(is_draft).filter(|it| !it.ask.provisional)
    }

    /// Returns the candidate that takes asks.
    pub(crate) fn at_work(&self) -> Option<NodeId> {
        self.find(|state| state == CandidateState::AtWork)
    }

    /// Returns whether a candidate that was lost is being tried.
    pub(crate) fn is_trying(&self) -> bool {
        self.find(|state| matches!(state, CandidateState::Tried(_))).is_some()
    }

    /// Puts the next spare candidate to work and returns it.
    pub(crate) fn next_spare(&mut self) -> Option<NodeId> {
        let next = self.find(|state| state == CandidateState::Spare)?;
        self.candidates[next.index].state = CandidateState::AtWork;
        Some(next)
    }

    /// Returns whether there is a spare candidate.
    pub(crate) fn has_spare(&self) -> bool {
        self.find(|state| state == CandidateState::Spare).is_some()
    }

    /// Returns the next spare candidate, which is now asked in addition to the one at work.
    pub(crate) fn begin_hedge(&mut self) -> Option<NodeId> {
        let next = self.find(|state| state == CandidateState::Spare)?;
        self.candidates[next.index].state = CandidateState::Hedging;
        Some(next)
    }

    /// Makes the candidate that was asked second a spare one again.
    pub(crate) fn end_hedge(&mut self, node: NodeId) {
        if let Some(candidate) = self.candidates.get_mut(node.index) {
            candidate.state = CandidateState::Spare;
        }
    }

    /// Puts the candidate that was asked second to work in place of the first.
    pub(crate) fn take_over(&mut self, node: NodeId) {
        if let Some(first) = self.at_work() {
            self.candidates[first.index].state = CandidateState::Spare;
        }
        if let Some(candidate) = self.candidates.get_mut(node.index) {
            candidate.state = CandidateState::AtWork;
        }
    }

    /// Adds a candidate, or notes that it is well again. If no candidate is at work it is tried at once.
    pub(crate) fn offer(&mut self, node: NodeId, name: String, now: Duration) {
        let is_out = self.at_work().is_none();
        if node.index == self.candidates.len() {
            let state = CandidateState::Withdrawn;
            self.candidates.push(Candidate { name, state, tries: 0 });
        }
        let Some(candidate) = self.candidates.get_mut(node.index) else { return };
        candidate.state = match candidate.state {
            CandidateState::AtWork | CandidateState::Tried(_) | CandidateState::Hedging => return,
            CandidateState::Away(absence, _) if is_out => CandidateState::Away(absence, Some(now)),
            _ if is_out => CandidateState::Away(Absence { since: now, attempts: 0 }, Some(now)),
            _ => CandidateState::Spare,
        };
    }

    /// Notes that a spare candidate takes no sessions.
    pub(crate) fn withdraw(&mut self, node: NodeId) {
        if let Some(candidate) = self.candidates.get_mut(node.index)
            && candidate.state == CandidateState::Spare
        {
            candidate.state = CandidateState::Withdrawn;
        }
    }

    /// Notes that a candidate is lost, or still is. It is tried again after a multiple of `retry_after`, if its failure
    /// may go away.
    pub(crate) fn lose(
        &mut self,
        node: NodeId,
        code: Code,
        retry_after: Option<Duration>,
        now: Duration,
    ) {
        let Some(candidate) = self.candidates.get_mut(node.index) else { return };
        let absence = match candidate.state {
            CandidateState::Away(absence, _) | CandidateState::Tried(absence) => absence,
            _ => Absence { since: now, attempts: 0 },
        };
        let tries = absence.attempts.saturating_add(candidate.tries);
        let next_at = retry_after.filter(|_| may_pass(code)).map(|first| now + wait(first, tries));
        candidate.state = CandidateState::Away(absence, next_at);
    }

    /// Returns the lost candidate to try next, and when; `None` while another one is at work or being tried.
    pub(crate) fn next_try(&self) -> Option<(Duration, NodeId)> {
        if self.at_work().is_some() || self.is_trying() {
            return None;
        }
        let tries = self.candidates.iter().enumerate().filter_map(|(index, candidate)| {
            match candidate.state {
                CandidateState::Away(_, Some(at)) => Some((at, NodeId { role: self.role, index })),
                _ => None,
            }
        });
        tries.min_by_key(|(at, _)| *at)
    }

    /// Notes that a lost candidate is being tried.
    pub(crate) fn try_again(&mut self, node: NodeId) {
        let Some(candidate) = self.candidates.get_mut(node.index) else { return };
        if let CandidateState::Away(absence, _) = candidate.state {
            let attempts = absence.attempts.saturating_add(1);
            candidate.state = CandidateState::Tried(Absence { attempts, ..absence });
        }
    }

    /// Notes that the candidate accepted a session. If it was lost, it is at work again, and its absence is returned.
    pub(crate) fn accepted(&mut self, node: NodeId) -> Option<Absence> {
        let candidate = self.candidates.get_mut(node.index)?;
        let CandidateState::Tried(absence) = candidate.state else { return None };
        candidate.state = CandidateState::AtWork;
        candidate.tries = candidate.tries.saturating_add(absence.attempts);
        Some(absence)
    }

    /// Notes that the candidate wrote what it was asked for.
    pub(crate) fn wrote(&mut self) {
        if let Some(node) = self.at_work() {
            self.candidates[node.index].tries = 0;
        }
    }
}

/// Both sides.
#[derive(Debug)]
pub(crate) struct Sides {
    pub(crate) small: Side,
    pub(crate) large: Side,
}

impl Sides {
    pub(crate) fn of(&self, role: Role) -> &Side {
        match role {
            Role::Small => &self.small,
            Role::Large => &self.large,
        }
    }

    pub(crate) fn of_mut(&mut self, role: Role) -> &mut Side {
        match role {
            Role::Small => &mut self.small,
            Role::Large => &mut self.large,
        }
    }
}

/// Returns whether a failure may go away by the next try.
fn may_pass(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::Overloaded | Code::DeadlineExceeded)
}

/// Returns how long to wait for the next try, after this many tries.
fn wait(first: Duration, tries: u32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(tries));
    doubled.min(LONGEST_WAIT.max(first)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_longest() {
        let waits = |first: u64| {
            [0, 1, 2, 5, 40].map(|tries| wait(Duration::from_secs(first), tries).as_secs())
        };
        assert_eq!(waits(1), [1, 2, 4, 30, 30]);
        assert_eq!(waits(45), [45; 5]);
        assert_eq!(wait(Duration::MAX, 3), LONGEST);
    }

    #[test]
    fn lost_candidates_are_tried_when_none_is_at_work_the_earliest_first() {
        let s = Duration::from_secs;
        let mut side = Side::new(Role::Large, vec!["a".to_owned(), "b".to_owned()]);
        let (a, b) = (NodeId::large(0), NodeId::large(1));
        side.lose(a, Code::Unavailable, Some(s(1)), s(10));
        assert_eq!(side.next_spare(), Some(b));
        assert_eq!(side.next_try(), None, "b is at work");
        side.lose(b, Code::Unavailable, Some(s(1)), s(60));
        assert_eq!((side.next_spare(), side.next_try()), (None, Some((s(11), a))));
        side.try_again(a);
        assert_eq!((side.next_try(), side.at_work()), (None, None), "one at a time");
        side.lose(a, Code::Unavailable, Some(s(1)), s(61));
        assert_eq!(side.next_try(), Some((s(61), b)), "a is tried after 2 s more");
        side.try_again(b);
        let back = Absence { since: s(60), attempts: 1 };
        assert_eq!((side.accepted(b), side.at_work()), (Some(back), Some(b)));
        assert_eq!(side.accepted(b), None, "it was not away");
    }

    #[test]
    fn a_candidate_that_comes_stands_in_and_one_that_goes_does_not() {
        let s = Duration::from_secs;
        let mut side = Side::new(Role::Large, vec!["a".to_owned(), "b".to_owned()]);
        let (a, b, c) = (NodeId::large(0), NodeId::large(1), NodeId::large(2));
        side.withdraw(a);
        assert_eq!(side.at_work(), Some(a), "its session continues");
        side.withdraw(b);
        side.offer(c, "c".to_owned(), s(1));
        side.lose(a, Code::Unavailable, Some(s(5)), s(2));
        assert_eq!((side.next_spare(), side.name(c)), (Some(c), "c"), "b is not asked");
        side.offer(a, "a".to_owned(), s(3));
        side.lose(c, Code::Unauthenticated, Some(s(5)), s(4));
        assert_eq!(side.next_spare(), Some(a), "it is well again");
        side.lose(a, Code::Unavailable, None, s(5));
        assert_eq!((side.next_spare(), side.next_try()), (None, None));
        side.offer(b, "b".to_owned(), s(6));
        assert_eq!(side.next_try(), Some((s(6), b)), "nobody is at work: it is tried at once");
        side.try_again(b);
        side.offer(b, "b".to_owned(), s(7));
        assert!(side.is_trying(), "it is being tried already");
        assert_eq!(side.accepted(b), Some(Absence { since: s(6), attempts: 1 }));
    }

    #[test]
    fn what_will_not_pass_is_not_tried_again() {
        for (code, is_tried) in [(Code::Unavailable, true), (Code::Unauthenticated, false)] {
            let mut side = Side::new(Role::Large, vec!["a".to_owned()]);
            side.lose(NodeId::large(0), code, Some(Duration::ZERO), Duration::ZERO);
            assert_eq!(side.next_try().is_some(), is_tried, "{code:?}");
        }
    }
}
