//! A circuit breaker: a member whose sessions fail one after another gets none for a while, then one as a trial, and
//! all again once that one has text.

use std::time::Duration;

/// This many failures in a row, without a session that has text in between, set a member aside.
const FAILURES: u32 = 3;
/// How long it is set aside the first time; the time doubles each further time.
const FIRST: Duration = Duration::from_secs(1);
/// The longest time for which it is set aside.
const LONGEST: Duration = Duration::from_secs(30);

/// The breaker of one member. See the module documentation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// How often in a row it was set aside.
    trips: u32,
    open_until: Option<Duration>,
    /// Whether a trial session is in progress.
    has_trial: bool,
}

/// Whether a member gets sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Circuit {
    /// It does.
    Closed,
    /// Not before this time.
    Open(Duration),
    /// One, as a trial.
    HalfOpen,
    /// None until the trial session has a result.
    Trying,
}

impl Breaker {
    pub(crate) fn circuit(&self, now: Duration) -> Circuit {
        match self.open_until {
            None => Circuit::Closed,
            Some(until) if now < until => Circuit::Open(until),
            Some(_) if self.has_trial => Circuit::Trying,
            Some(_) => Circuit::HalfOpen,
        }
    }

    /// Notes that a session begins.
    pub(crate) fn begun(&mut self, now: Duration) {
        self.has_trial |= self.circuit(now) == Circuit::HalfOpen;
    }

    /// Notes that a session has text.
    pub(crate) fn wrote(&mut self) {
        *self = Breaker::default();
    }

    /// Notes that a session ended without a result, and the member is not to blame.
    pub(crate) fn given_up(&mut self) {
        self.has_trial = false;
    }

    /// Notes that a session failed.
    pub(crate) fn failed(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        let was_trial = std::mem::take(&mut self.has_trial);
        if was_trial || (self.failures >= FAILURES && self.open_until.is_none()) {
            let time = FIRST.saturating_mul(2_u32.saturating_pow(self.trips)).min(LONGEST);
            self.trips = self.trips.saturating_add(1);
            self.open_until = Some(now + time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_one_session_tries_it_and_text_closes_it() {
        let s = Duration::from_secs;
        let mut breaker = Breaker::default();
        breaker.failed(s(0));
        breaker.wrote();
        breaker.failed(s(1));
        breaker.failed(s(1));
        assert_eq!(breaker.circuit(s(1)), Circuit::Closed, "one had text between them");
        breaker.failed(s(1));
        assert_eq!(breaker.circuit(s(1)), Circuit::Open(s(2)));
        breaker.failed(s(1));
        assert_eq!(breaker.circuit(s(1)), Circuit::Open(s(2)), "sessions of before fail too");
        assert_eq!(breaker.circuit(s(2)), Circuit::HalfOpen);
        breaker.begun(s(2));
        assert_eq!(breaker.circuit(s(2)), Circuit::Trying);
        breaker.failed(s(3));
        assert_eq!(breaker.circuit(s(3)), Circuit::Open(s(5)), "twice as long");
        breaker.begun(s(5));
        breaker.given_up();
        assert_eq!(breaker.circuit(s(5)), Circuit::HalfOpen, "the caller went away");
        breaker.begun(s(5));
        breaker.wrote();
        assert_eq!(breaker.circuit(s(5)), Circuit::Closed);
    }

    #[test]
    fn it_is_never_open_for_longer_than_half_a_minute() {
        let mut breaker = Breaker::default();
        let mut now = Duration::ZERO;
        (0..3).for_each(|_| breaker.failed(now));
        for _ in 0..40 {
            let Circuit::Open(until) = breaker.circuit(now) else { panic!("{breaker:?}") };
            assert!(until - now <= LONGEST);
            now = until;
            breaker.begun(now);
            breaker.failed(now);
        }
    }
}
