//! A large node that was lost is tried again while the answer goes on without it.
//!
//! A try is a session with the text so far. Until it is accepted it is asked for nothing
//! (`Driver::reach_large`), so that nobody ever waits for it: a takeover is late at once. From then
//! on it is the large node's session like any other.

use std::time::Duration;

use thinking::thinker::Code;
use tokio::time::Instant;

use super::{Driver, LONGEST, link::Link, micros};
use crate::{
    LOG_TARGET,
    progress::{Progress, Rejoined},
    question::Node,
};

/// The longest time between two tries, unless the first is further off.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A large node that is out.
#[derive(Debug)]
pub(super) struct Away {
    node: Node,
    since: Instant,
    attempts: u32,
    /// When it is tried next; none while it is being tried, or when that is of no use.
    pub(super) next_at: Option<Instant>,
}

impl Driver<'_> {
    /// The large node is out, or is so still: says when it is tried again.
    pub(super) fn stay_away(&mut self, node: Node, code: Code) {
        let now = Instant::now();
        let new = || Away { node, since: now, attempts: 0, next_at: None };
        let away = self.away.get_or_insert_with(new);
        let first = self.settings.rejoin_after.filter(|_| may_pass(code));
        let tries = away.attempts.saturating_add(self.tries);
        away.next_at = first.map(|first| now + wait(first, tries));
    }

    /// Tries the large node again.
    pub(super) fn rejoin(&mut self) {
        let Some(away) = &mut self.away else { return };
        away.next_at = None;
        away.attempts = away.attempts.saturating_add(1);
        let node = away.node.clone();
        self.large = Some(Link::open(node, self.open(self.written.text())));
    }

    /// The large node accepted a session: it is back, if it was away.
    pub(super) fn rejoined(&mut self) {
        let Some(away) = self.away.take() else { return };
        self.tries = self.tries.saturating_add(away.attempts);
        tracing::info!(target: LOG_TARGET, node = away.node.name, attempts = away.attempts, "the large node is back");
        self.summary.rejoins += 1;
        self.tell(Progress::Rejoined(Rejoined {
            node: away.node.name,
            away_us: micros(away.since.elapsed()),
            attempts: away.attempts,
            committed_bytes: self.large.as_ref().map_or(0, |link| link.given.bytes as u64),
        }));
        if self.resend_to.is_some() {
            // Every takeover opens its own.
            self.large = None;
        }
    }
}

/// Whether what became of a node may be over the next time it is asked.
fn may_pass(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::Overloaded | Code::DeadlineExceeded)
}

/// The time until the next try, after so many.
fn wait(first: Duration, attempts: u32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(attempts));
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
}
