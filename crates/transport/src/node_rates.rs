//! How fast a node computed recently, measured from its sessions' events.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use thinking::thinker::{Event, Finished, Warmed};

/// How much of its weight an earlier event keeps with each later one.
const REMEMBERED: f64 = 0.95;

/// The recent speed of one session, in tokens a second: prefill and decode.
#[derive(Debug, Default)]
pub(crate) struct NodeRates(Mutex<[Rate; 2]>);

/// Tokens over time, with exponentially decaying weights.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    tokens: f64,
    seconds: f64,
}

impl NodeRates {
    /// Records an event that reports computed tokens.
    pub(crate) fn see(&self, event: &Event) {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [prefill, decode] = &mut *rates;
        match event {
            Event::Warmed(Warmed { prefill_tokens, prefill_us, .. }) => {
                prefill.add(*prefill_tokens, *prefill_us);
            }
            Event::Finished(Finished { tokens, prefill_tokens, timing, .. }) => {
                prefill.add(*prefill_tokens, timing.prefill_us);
                decode.add(*tokens, timing.decode_us);
            }
            Event::Opened(_) | Event::Delta(_) | Event::Objection(_) | Event::Failed(_) => {}
        }
    }

    /// Returns tokens a second of prefill and of decode; 0 where nothing was computed yet.
    pub(crate) fn tokens_per_s(&self) -> [f64; 2] {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(Rate::tokens_per_s)
    }
}

impl Rate {
    fn add(&mut self, tokens: u32, us: u64) {
        if tokens > 0 && us > 0 {
            self.tokens = self.tokens * REMEMBERED + f64::from(tokens);
            self.seconds = self.seconds * REMEMBERED + Duration::from_micros(us).as_secs_f64();
        }
    }

    fn tokens_per_s(self) -> f64 {
        if self.seconds > 0.0 { self.tokens / self.seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use thinking::thinker::TextHash;

    use super::*;

    #[test]
    fn a_rate_is_of_what_was_computed_lately() {
        let rates = NodeRates::default();
        assert_eq!(rates.tokens_per_s(), [0.0, 0.0]);
        let warmed = |prefill_tokens, prefill_us| {
            Event::Warmed(Warmed {
                committed_bytes: 0,
                hash: TextHash::of(""),
                tokens: prefill_tokens,
                prefill_tokens,
                prefill_us,
                reviewed_bytes: 0,
                passes_milli: 0,
            })
        };
        rates.see(&warmed(100, 1_000_000));
        rates.see(&warmed(0, 5_000_000));
        let [prefill, decode] = rates.tokens_per_s();
        assert!((prefill - 100.0).abs() < 1e-6 && decode == 0.0, "{prefill}, {decode}");
        (0..200).for_each(|_| rates.see(&warmed(10, 1_000_000)));
        let [prefill, _] = rates.tokens_per_s();
        assert!((prefill - 10.0).abs() < 0.1, "{prefill}");
    }
}
