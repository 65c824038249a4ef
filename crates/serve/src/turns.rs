//! Whose turn it is: how many answers run, which requests wait, and which of them runs next. Pure.
//!
//! Every client (an API key, or all clients together if no keys are used) has a queue of its own. Of the clients that
//! wait, the one that has been given the fewest tokens runs next, counted by the maximum length of the answers that it
//! asked for (start-time fair queuing, Goyal et al., 1996). So a client that asks for a lot waits only for itself, and
//! no other client waits for it. When the waiting room is full, the newest request of the client with the most waiting
//! requests gives way to one of a client that has fewer.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// How much may run and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TurnLimits {
    /// How many answers may run at a time.
    pub(crate) answers: u32,
    /// How many of them may be one client's.
    pub(crate) answers_of_client: u32,
    /// The maximum lengths of all of them together, in tokens; a single answer may be longer.
    pub(crate) tokens: u64,
    /// How many requests may wait.
    pub(crate) waiting: u32,
}

/// The name of a client.
pub(crate) type Client = Arc<str>;

/// The number of a request that waits.
pub(crate) type Ticket = u64;

/// Answers that are requested together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    /// How many answers.
    pub(crate) answers: u32,
    /// The maximum length of each, in tokens.
    pub(crate) tokens_each: u32,
}

impl Demand {
    fn tokens(self) -> u64 {
        u64::from(self.answers) * u64::from(self.tokens_each)
    }
}

/// What happens to a new request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It runs at once.
    Goes,
    /// It waits.
    Waits(Ticket),
    /// It waits, and the second request gives way to it.
    Displaces(Ticket, Ticket),
    /// There is no room to wait.
    Full,
}

/// Decides whose turn it is. See the module.
#[derive(Debug)]
pub(crate) struct Turns {
    limits: TurnLimits,
    running: Demanded,
    waiting: u32,
    clients: HashMap<Client, ClientTurns>,
    next_ticket: Ticket,
    /// How many tokens the client that ran last had been given before.
    given_last: u64,
}

#[derive(Debug, Default)]
struct ClientTurns {
    running: u32,
    /// How many tokens it has been given. An idle client is raised to what others have been given.
    given: u64,
    waiting: VecDeque<(Ticket, Demand)>,
}

#[derive(Debug, Default)]
struct Demanded {
    answers: u32,
    tokens: u64,
}

impl Turns {
    pub(crate) fn new(limits: TurnLimits) -> Self {
        Turns {
            limits,
            running: Demanded::default(),
            waiting: 0,
            clients: HashMap::new(),
            next_ticket: 0,
            given_last: 0,
        }
    }

    /// Returns how many requests wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Decides what happens to a client's new request.
    pub(crate) fn ask(&mut self, client: &Client, demand: Demand) -> Admission {
        let given_last = self.given_last;
        let turns = self.clients.entry(Arc::clone(client)).or_default();
        if turns.running == 0 && turns.waiting.is_empty() {
            // A client does not save up turns while it is idle.
            turns.given = turns.given.max(given_last);
        }
        let has_turn = turns.waiting.is_empty() && self.fits(client, demand);
        if has_turn && !self.others_wait_for_room(client) {
            self.begin(client, demand);
            return Admission::Goes;
        }
        let displaced = if self.waiting < self.limits.waiting {
            None
        } else if let Some(ticket) = self.displaced_by(client) {
            Some(ticket)
        } else {
            self.forget_idle(client);
            return Admission::Full;
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        if let Some(turns) = self.clients.get_mut(client) {
            turns.waiting.push_back((ticket, demand));
        }
        match displaced {
            Some(other) => {
                self.give_up(other);
                Admission::Displaces(ticket, other)
            }
            None => Admission::Waits(ticket),
        }
    }

    /// Removes a request that no longer waits.
    pub(crate) fn give_up(&mut self, ticket: Ticket) {
        for turns in self.clients.values_mut() {
            let before = turns.waiting.len();
            turns.waiting.retain(|(it, _)| *it != ticket);
            self.waiting -= (before - turns.waiting.len()) as u32;
        }
        self.clients.retain(|_, turns| turns.running > 0 || !turns.waiting.is_empty());
    }

    /// Records that answers of a client have ended.
    pub(crate) fn end(&mut self, client: &Client, demand: Demand) {
        self.running.answers = self.running.answers.saturating_sub(demand.answers);
        self.running.tokens = self.running.tokens.saturating_sub(demand.tokens());
        if let Some(turns) = self.clients.get_mut(client) {
            turns.running = turns.running.saturating_sub(demand.answers);
        }
        self.forget_idle(client);
    }

    /// Returns the next request that may run, if any.
    pub(crate) fn next(&mut self) -> Option<Ticket> {
        let (client, ticket, demand) = self.first()?;
        if !self.fits(&client, demand) {
            // It is its turn, so free room is kept for it until there is enough.
            return None;
        }
        if let Some(turns) = self.clients.get_mut(&client) {
            turns.waiting.pop_front();
            self.waiting -= 1;
        }
        self.begin(&client, demand);
        Some(ticket)
    }

    /// Returns the request whose turn it is, among those that wait for room and not for their own client's limit.
    fn first(&self) -> Option<(Client, Ticket, Demand)> {
        let waits = |(client, turns): (&Client, &ClientTurns)| {
            let (ticket, demand) = *turns.waiting.front()?;
            let may_run = turns.running + demand.answers <= self.limits.answers_of_client;
            may_run.then(|| (turns.given, ticket, Arc::clone(client), demand))
        };
        let first = self
            .clients
            .iter()
            .filter_map(waits)
            .min_by_key(|(given, ticket, ..)| (*given, *ticket));
        first.map(|(_, ticket, client, demand)| (client, ticket, demand))
    }

    fn others_wait_for_room(&self, client: &Client) -> bool {
        self.first().is_some_and(|(other, ..)| other != *client)
    }

    fn fits(&self, client: &Client, demand: Demand) -> bool {
        let TurnLimits { answers, answers_of_client, tokens, .. } = self.limits;
        let own = self.clients.get(client).map_or(0, |turns| turns.running);
        let is_short = self.running.tokens + demand.tokens() <= tokens;
        self.running.answers + demand.answers <= answers
            && own + demand.answers <= answers_of_client
            && (is_short || self.running.answers == 0)
    }

    fn begin(&mut self, client: &Client, demand: Demand) {
        self.running.answers += demand.answers;
        self.running.tokens += demand.tokens();
        if let Some(turns) = self.clients.get_mut(client) {
            turns.running += demand.answers;
            self.given_last = turns.given;
            turns.given += demand.tokens();
        }
    }

    /// Returns the request that gives way to one of this client, if any.
    fn displaced_by(&self, client: &Client) -> Option<Ticket> {
        let own = self.clients.get(client).map_or(0, |turns| turns.waiting.len());
        let most = self.clients.values().max_by_key(|turns| turns.waiting.len())?;
        (most.waiting.len() > own + 1).then(|| most.waiting.back().map(|(ticket, _)| *ticket))?
    }

    fn forget_idle(&mut self, client: &Client) {
        let is_idle = |turns: &ClientTurns| turns.running == 0 && turns.waiting.is_empty();
        if self.clients.get(client).is_some_and(is_idle) {
            self.clients.remove(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: TurnLimits =
        TurnLimits { answers: 2, answers_of_client: 2, tokens: u64::MAX, waiting: 4 };
    const ONE: Demand = Demand { answers: 1, tokens_each: 100 };

    fn clients<const N: usize>() -> [Client; N] {
        std::array::from_fn(|index| format!("client {index}").into())
    }

    fn ticket(admission: &Admission) -> Ticket {
        match admission {
            Admission::Waits(ticket) | Admission::Displaces(ticket, _) => *ticket,
            other => panic!("it waits: {other:?}"),
        }
    }

    #[test]
    fn a_client_that_asks_for_much_waits_for_itself() {
        let [greedy, modest] = clients();
        let mut turns = Turns::new(LIMITS);
        assert_eq!(turns.ask(&greedy, ONE), Admission::Goes);
        assert_eq!(turns.ask(&greedy, ONE), Admission::Goes);
        let more: Vec<_> = (0..3).map(|_| ticket(&turns.ask(&greedy, ONE))).collect();
        let other = ticket(&turns.ask(&modest, ONE));
        assert_eq!((turns.next(), turns.waiting()), (None, 4), "there is no room");
        turns.end(&greedy, ONE);
        assert_eq!((turns.next(), turns.next()), (Some(other), None), "it has been given nothing");
        turns.end(&modest, ONE);
        turns.end(&greedy, ONE);
        assert_eq!((turns.next(), turns.next()), (Some(more[0]), Some(more[1])));
    }

    #[test]
    fn turns_are_by_tokens_and_not_by_requests() {
        let [long, short] = clients();
        let mut turns = Turns::new(TurnLimits { answers: 1, waiting: 100, ..LIMITS });
        let thousand = Demand { answers: 1, tokens_each: 1000 };
        assert_eq!(turns.ask(&long, thousand), Admission::Goes);
        let long_ones: Vec<_> = (0..2).map(|_| ticket(&turns.ask(&long, thousand))).collect();
        let short_ones: Vec<_> = (0..20).map(|_| ticket(&turns.ask(&short, ONE))).collect();
        turns.end(&long, thousand);
        for ticket in &short_ones[..10] {
            assert_eq!(turns.next(), Some(*ticket));
            turns.end(&short, ONE);
        }
        assert_eq!(turns.next(), Some(long_ones[0]), "both were given a thousand tokens");
    }

    #[test]
    fn a_full_queue_makes_room_for_a_client_that_waits_less() {
        let [greedy, modest] = clients();
        let mut turns = Turns::new(LIMITS);
        (0..2).for_each(|_| assert_eq!(turns.ask(&greedy, ONE), Admission::Goes));
        let more: Vec<_> = (0..4).map(|_| ticket(&turns.ask(&greedy, ONE))).collect();
        assert_eq!(turns.ask(&greedy, ONE), Admission::Full);
        let Admission::Displaces(_, displaced) = turns.ask(&modest, ONE) else {
            panic!("it waits")
        };
        assert_eq!((displaced, turns.waiting()), (more[3], 4), "the newest one");
        turns.ask(&modest, ONE);
        assert_eq!(turns.ask(&modest, ONE), Admission::Full, "both wait alike");
    }

    #[test]
    fn each_limit_holds() {
        let [one, other] = clients();
        let limits = TurnLimits { answers: 4, answers_of_client: 2, tokens: 350, waiting: 9 };
        let mut turns = Turns::new(limits);
        assert_eq!(turns.ask(&one, Demand { answers: 2, ..ONE }), Admission::Goes);
        let own = ticket(&turns.ask(&one, ONE));
        assert_eq!(turns.next(), None, "it has two");
        assert_eq!(turns.ask(&other, ONE), Admission::Goes, "which is not the other one's fault");
        let long = ticket(&turns.ask(&other, ONE));
        assert_eq!(turns.next(), None, "there is no room for 400 tokens");
        turns.end(&one, Demand { answers: 2, ..ONE });
        assert_eq!((turns.next(), turns.next()), (Some(long), Some(own)));
        let mut turns = Turns::new(limits);
        let huge = Demand { answers: 1, tokens_each: 10_000 };
        assert_eq!(turns.ask(&one, huge), Admission::Goes, "alone it may be as long as it likes");
        let waits = ticket(&turns.ask(&other, ONE));
        assert_eq!(turns.next(), None);
        turns.give_up(waits);
        assert_eq!(turns.waiting(), 0);
    }

    #[test]
    fn who_comes_late_is_not_owed_what_was_given_before() {
        let [early, late] = clients();
        let mut turns = Turns::new(TurnLimits { answers: 1, waiting: 100, ..LIMITS });
        for _ in 0..50 {
            assert_eq!(turns.ask(&early, ONE), Admission::Goes);
            turns.end(&early, ONE);
        }
        assert_eq!(turns.ask(&early, ONE), Admission::Goes);
        let tickets: Vec<_> =
            (0..6).map(|n| ticket(&turns.ask([&late, &early][n % 2], ONE))).collect();
        turns.end(&early, ONE);
        let mut order = Vec::new();
        for _ in 0..6 {
            let next = turns.next().unwrap();
            let place = tickets.iter().position(|ticket| *ticket == next).unwrap();
            order.push(place % 2);
            turns.end([&late, &early][place % 2], ONE);
        }
        assert!(order[..4].contains(&1), "they take turns: {order:?}");
    }

    proptest! {
        #[test]
        fn limits_hold_and_everybody_who_waits_goes_on(
            asks in prop::collection::vec((0_usize..4, 1_u32..4, 1_u32..500, any::<bool>()), 1..100)
        ) {
            let all: [Client; 4] = clients();
            let limits = TurnLimits { answers: 4, answers_of_client: 3, tokens: 1000, waiting: 8 };
            let mut turns = Turns::new(limits);
            let mut running: Vec<(usize, Demand)> = Vec::new();
            let mut waiting: HashMap<Ticket, (usize, Demand)> = HashMap::new();
            for (client, answers, tokens_each, ends) in asks {
                let demand = Demand { answers: answers.min(3), tokens_each };
                match turns.ask(&all[client], demand) {
                    Admission::Goes => running.push((client, demand)),
                    Admission::Waits(ticket) => {
                        waiting.insert(ticket, (client, demand));
                    }
                    Admission::Displaces(ticket, other) => {
                        waiting.insert(ticket, (client, demand));
                        prop_assert!(waiting.remove(&other).is_some());
                    }
                    Admission::Full => prop_assert_eq!(waiting.len(), 8),
                }
                if ends && !running.is_empty() {
                    let (client, demand) = running.remove(0);
                    turns.end(&all[client], demand);
                    while let Some(ticket) = turns.next() {
                        running.push(waiting.remove(&ticket).unwrap());
                    }
                }
                let answers: u32 = running.iter().map(|(_, demand)| demand.answers).sum();
                let tokens: u64 = running.iter().map(|(_, demand)| demand.tokens()).sum();
                prop_assert!(answers <= 4 && (tokens <= 1000 || running.len() == 1));
                prop_assert_eq!(turns.waiting() as usize, waiting.len());
            }
            while !waiting.is_empty() {
                prop_assert!(!running.is_empty(), "somebody waits and nobody runs");
                let (client, demand) = running.remove(0);
                turns.end(&all[client], demand);
                while let Some(ticket) = turns.next() {
                    running.push(waiting.remove(&ticket).unwrap());
                }
            }
        }
    }
}
