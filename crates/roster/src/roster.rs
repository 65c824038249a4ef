//! All members, and the choice among them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use thinking::{
    draw::{splitmix64, uniform},
    thinker::{Condition, Failure, Load, ModelCard},
};

use crate::member::{Member, MemberState, MemberTerms, Speeds};

/// Two expected times count as equal if neither is longer than the other by more than this factor.
const EQUAL: f64 = 1.1;

/// How many times to first text are remembered.
const FIRST_TEXTS: usize = 200;
/// With fewer than this, it is not known what counts as late.
const FEWEST_FIRST_TEXTS: usize = 20;

/// Identifies a member. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(u64);

/// The nodes of a part. See the crate documentation.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    members: BTreeMap<MemberId, Member>,
    /// The latest times to first text, of all members.
    first_texts: VecDeque<Duration>,
    seed: u64,
    joined: u64,
    drawn: u64,
}

impl Roster {
    /// A roster without members, whose draws are seeded with this.
    pub fn new(seed: u64) -> Self {
        Roster { seed, ..Roster::default() }
    }

    /// Adds a node. If others serve already, it is warmed up: it gets fewer sessions at first.
    pub fn join(&mut self, name: impl Into<String>, terms: MemberTerms, now: Duration) -> MemberId {
        let id = MemberId(self.joined);
        self.joined += 1;
        let is_late = self.members.values().any(Member::is_serving);
        let member = Member::new(name.into(), terms, is_late.then_some(now));
        self.members.insert(id, member);
        id
    }

    /// Removes a node.
    pub fn leave(&mut self, id: MemberId) {
        self.members.remove(&id);
        self.compare_models();
    }

    /// Notes what a member reports.
    pub fn heard(&mut self, id: MemberId, condition: Condition, now: Duration) {
        if let Some(member) = self.members.get_mut(&id) {
            member.heard(condition, now);
            self.compare_models();
        }
    }

    /// Notes that a session with a member begins.
    pub fn begun(&mut self, id: MemberId, now: Duration) {
        if let Some(member) = self.members.get_mut(&id) {
            member.begun(now);
        }
    }

    /// Notes that a member has its first text in a session, this long after it was asked.
    pub fn wrote(&mut self, id: MemberId, after: Duration) {
        if let Some(member) = self.members.get_mut(&id) {
            member.wrote();
            if self.first_texts.len() == FIRST_TEXTS {
                self.first_texts.pop_front();
            }
            self.first_texts.push_back(after);
        }
    }

    /// Returns the time to first text that one in twenty exceeded recently; `None` if too few are known.
    pub fn late_after(&self) -> Option<Duration> {
        if self.first_texts.len() < FEWEST_FIRST_TEXTS {
            return None;
        }
        let mut times: Vec<Duration> = self.first_texts.iter().copied().collect();
        let place = times.len() * 19 / 20;
        Some(*times.select_nth_unstable(place).1)
    }

    /// Notes that a session with a member is over; with the failure if the member is to blame.
    pub fn ended(&mut self, id: MemberId, failure: Option<&Failure>, now: Duration) {
        let spread = uniform(self.draw());
        if let Some(member) = self.members.get_mut(&id) {
            member.ended(failure, spread, now);
        }
    }

    /// Returns the candidates for an answer, the one to begin with first. Repeatedly, two of the serving members are
    /// drawn, and the one with the shorter expected time to first text comes next. Then come those that have reported
    /// nothing yet, those that are busy, and last those that seem to be unavailable. A member whose model is known not
    /// to fit is left out, unless that leaves nobody.
    pub fn choose(&mut self, fits: impl Fn(&ModelCard) -> bool, now: Duration) -> Vec<MemberId> {
        let does_fit = |member: &Member| member.card().is_none_or(&fits);
        let has_fitting = self.members.values().any(|it| does_fit(it) && it.is_last_resort());
        let fastest = Speeds::fastest(self.members.values().filter_map(Member::load));
        let (mut free, mut unknown, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (id, member) in &self.members {
            if !member.is_last_resort() || (has_fitting && !does_fit(member)) {
                continue;
            }
            let open = if member.is_serving() { &mut free } else { &mut unknown };
            match (member.takes_sessions(now), member.rests(now)) {
                (true, None) => open.push((*id, member.expected_s(fastest, now), member.terms)),
                (true, Some(until)) => others.push((0, until, *id)),
                (false, _) => others.push((1, Duration::ZERO, *id)),
            }
        }
        let mut chosen = Vec::with_capacity(self.members.len());
        for mut open in [free, unknown] {
            while !open.is_empty() {
                let best = self.better_of_two(&open);
                chosen.push(open.swap_remove(best).0);
            }
        }
        others.sort_unstable();
        chosen.extend(others.into_iter().map(|(_, _, id)| id));
        if chosen.is_empty() {
            // A draining member is better than none.
            chosen.extend(self.ids().filter(|id| self.members[id].unfit.is_none()));
        }
        chosen
    }

    /// Returns the index of the better of two members drawn at random from a list that is not empty.
    fn better_of_two(&mut self, members: &[(MemberId, f64, MemberTerms)]) -> usize {
        let count = members.len() as u64;
        let one = (self.draw() % count) as usize;
        if count == 1 {
            return one;
        }
        let other = (one + 1 + (self.draw() % (count - 1)) as usize) % members.len();
        let ((_, one_s, one_terms), (_, other_s, other_terms)) = (members[one], members[other]);
        let is_other = if one_s > other_s * EQUAL || other_s > one_s * EQUAL {
            other_s < one_s
        } else if one_terms.price != other_terms.price {
            other_terms.price < one_terms.price
        } else {
            other_terms.weight > one_terms.weight
        };
        if is_other { other } else { one }
    }

    /// Returns all members, in the order in which they joined.
    pub fn ids(&self) -> impl Iterator<Item = MemberId> {
        self.members.keys().copied()
    }

    /// Returns a member's name for people.
    pub fn name(&self, id: MemberId) -> &str {
        self.members.get(&id).map_or("", |member| &member.name)
    }

    /// Returns a member's state.
    pub fn state(&self, id: MemberId, now: Duration) -> MemberState {
        self.members.get(&id).map_or(MemberState::Unknown, |member| member.state(now))
    }

    /// Returns whether a member takes sessions.
    pub fn takes_sessions(&self, id: MemberId, now: Duration) -> bool {
        self.members.get(&id).is_some_and(|member| member.takes_sessions(now))
    }

    /// Returns the number of sessions with a member that were reported here.
    pub fn sessions(&self, id: MemberId) -> u32 {
        self.members.get(&id).map_or(0, |member| member.sessions)
    }

    /// Returns how busy a member reported to be.
    pub fn load(&self, id: MemberId) -> Option<Load> {
        self.members.get(&id)?.load()
    }

    /// Returns whether every member has reported something.
    pub fn has_heard_all(&self, now: Duration) -> bool {
        self.members.values().all(|member| member.state(now) != MemberState::Unknown)
    }

    /// Returns why a member does not fit, if one does not.
    pub fn misfit(&self) -> Option<&str> {
        self.members.values().find_map(|member| member.unfit.as_deref())
    }

    /// Marks members as unfit that serve another model than the first serving member.
    fn compare_models(&mut self) {
        let first = self.members.values().find(|it| it.is_serving() && it.card().is_some());
        let Some((name, card)) = first.and_then(|it| Some((it.name.clone(), it.card()?.clone())))
        else {
            return;
        };
        for member in self.members.values_mut() {
            let other = member.card().filter(|other| !is_same_model(&card, other));
            let line = other.map(|other| {
                format!(
                    "{} serves the model {:?} and {name} serves {:?}, but nodes named together must serve the same \
                     model; leave one of them out, or start it with the other's model",
                    member.name, other.name, card.name
                )
            });
            member.unfit = line;
        }
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        splitmix64(self.seed, self.drawn)
    }
}

/// Returns whether two nodes serve the same model, according to their cards.
fn is_same_model(one: &ModelCard, other: &ModelCard) -> bool {
    let fingerprints = [&one.tokenizer_fingerprint, &other.tokenizer_fingerprint];
    let is_known = fingerprints.iter().all(|it| !it.is_empty());
    one.name == other.name && (!is_known || fingerprints[0] == fingerprints[1])
}
