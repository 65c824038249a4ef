//! Detects an answer that arrives all at once after a long wait, because a proxy in front of the server buffers it.
//! Pure.

use std::time::Duration;

/// A shorter wait for the first text proves nothing.
const LONG: Duration = Duration::from_secs(2);
/// An answer with fewer events proves nothing.
const MANY: u32 = 16;
/// "All at once" means within this fraction of the wait: 1/`AT_ONCE`.
const AT_ONCE: u32 = 100;

/// When the events of an answer arrived, measured from its start.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    first: Option<Duration>,
    last: Duration,
    events: u32,
}

impl Pace {
    /// Records an event with text.
    pub(crate) fn push(&mut self, at: Duration) {
        self.first.get_or_insert(at);
        self.last = at;
        self.events = self.events.saturating_add(1);
    }

    /// Returns whether a finished answer arrived all at once after a long wait. No model that takes this long to start
    /// writes this fast.
    pub(crate) fn is_held_back(&self) -> bool {
        let Some(first) = self.first else { return false };
        first >= LONG && self.events >= MANY && self.last - first <= first / AT_ONCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_comes_at_once_after_a_long_wait_is_held_back() {
        let held_back = |first: u64, step: u64, events: u32| {
            let mut pace = Pace::default();
            let at = |event| Duration::from_millis(first + step * u64::from(event));
            (0..events).for_each(|event| pace.push(at(event)));
            pace.is_held_back()
        };
        for (first, step, events, expected) in [
            (2_000, 0, 16, true),
            (5_000, 1, 51, true),
            (5_000, 1, 52, false),
            (1_999, 0, 99, false),
            (9_000, 0, 15, false),
            (9_000, 30, 99, false),
            (0, 0, 0, false),
        ] {
            assert_eq!(held_back(first, step, events), expected, "{first} {step} {events}");
        }
    }
}
