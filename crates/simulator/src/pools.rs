//! The pools of an answer's nodes: which nodes it begins with, and what it is told about those that come and go. Like
//! the crate `pool` over real nodes, a simulated pool checks its nodes from time to time, is notified of how the
//! answer's sessions go, and lets a roster decide.

use std::{collections::BTreeMap, time::Duration};

use conductor::{Input, NodeId};
use roster::{MemberId, MemberTerms, Roster};
use thinking::{
    policy::Role,
    thinker::{Code, Condition, Failure, Load, Serving},
};

use crate::scenario::{Place, Scenario, TroubleKind};

/// The nodes of one role.
#[derive(Debug)]
pub(crate) struct SimulatedPool {
    role: Role,
    roster: Roster,
    members: BTreeMap<usize, MemberId>,
    /// The nodes that, to the machine's knowledge, take sessions.
    taking: Vec<usize>,
}

impl SimulatedPool {
    /// A pool of the nodes that are there from the start; nothing is known of them yet.
    pub(crate) fn new(role: Role, scenario: &Scenario) -> Self {
        let mut roster = Roster::new(scenario.seed);
        let there = scenario.places(role).iter().enumerate();
        let there = there.filter(|(_, place)| place.joins_at.is_zero());
        let members: BTreeMap<_, _> = there
            .map(|(index, _)| {
                (index, roster.join(name(role, index), MemberTerms::default(), Duration::ZERO))
            })
            .collect();
        let taking = members.keys().copied().collect();
        SimulatedPool { role, roster, members, taking }
    }

    /// Returns the nodes that the answer begins with, in order.
    pub(crate) fn chosen(&mut self) -> Vec<usize> {
        let chosen = self.roster.choose(|_| true, Duration::ZERO);
        let place = |id| self.members.iter().find(|(_, it)| **it == id).map(|(index, _)| *index);
        chosen.into_iter().filter_map(place).collect()
    }

    /// Adds a node. If its place is given, also checks it.
    pub(crate) fn look(&mut self, index: usize, place: Option<&Place>, now: Duration) {
        if !self.members.contains_key(&index) {
            let id = self.roster.join(name(self.role, index), MemberTerms::default(), now);
            self.members.insert(index, id);
        }
        let Some(place) = place else { return };
        let is = |kind| place.until(kind, now).is_some();
        let is_gone =
            [TroubleKind::Crash, TroubleKind::Hang, TroubleKind::Partition].map(is).contains(&true);
        let condition = if is_gone {
            Condition::Gone(Failure::new(Code::Unavailable, "it does not answer"))
        } else {
            let full = Load { sessions: 1, max_sessions: 1, ..Load::default() };
            let load = if is(TroubleKind::Overload) { full } else { Load::default() };
            let round_trip = 2 * place.one_way;
            Condition::Serving(Box::new(Serving { card: None, load: Some(load), round_trip }))
        };
        self.roster.heard(self.members[&index], condition, now);
    }

    /// Removes a node.
    pub(crate) fn leave(&mut self, index: usize) {
        if let Some(id) = self.members.remove(&index) {
            self.roster.leave(id);
        }
    }

    pub(crate) fn begun(&mut self, index: usize, now: Duration) {
        if let Some(id) = self.members.get(&index) {
            self.roster.begun(*id, now);
        }
    }

    pub(crate) fn wrote(&mut self, index: usize) {
        if let Some(id) = self.members.get(&index) {
            self.roster.wrote(*id, Duration::ZERO);
        }
    }

    pub(crate) fn ended(&mut self, index: usize, failure: Option<&Failure>, now: Duration) {
        if let Some(id) = self.members.get(&index) {
            self.roster.ended(*id, failure, now);
        }
    }

    /// Returns what the machine must be told.
    pub(crate) fn news(&mut self, now: Duration) -> Vec<Input> {
        let takes = |id: &MemberId| self.roster.takes_sessions(*id, now);
        let taking: Vec<usize> =
            self.members.iter().filter(|(_, id)| takes(id)).map(|(index, _)| *index).collect();
        let role = self.role;
        let offers = taking.iter().filter(|index| !self.taking.contains(index));
        let offers = offers
            .map(|&index| Input::Offer(NodeId { role, index }, name(role, index)))
            .collect::<Vec<_>>();
        let gone = self.taking.iter().filter(|index| !taking.contains(index));
        let gone = gone.map(|&index| Input::Withdraw(NodeId { role, index }));
        let news = gone.chain(offers).collect();
        self.taking = taking;
        news
    }
}

/// Returns a node's name for people.
pub(crate) fn name(role: Role, index: usize) -> String {
    format!("{role}-{index}")
}
