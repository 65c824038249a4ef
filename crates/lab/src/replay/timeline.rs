//! When each model was asked in a replayed answer, for how long, and what the nodes read meanwhile.
//!
//! What a shared node would do with it is in [`crate::sizing`].

use answer::{Progress, Stamped};
use thinking::{policy::Role, thinker::Timing};

use super::{recording::Recording, replayed::Divergence};

/// An answer as a sequence of asks. In pairs of token counts, the small node's comes first.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    pub(crate) asks: Vec<TimedAsk>,
    /// From the question to the answer's end.
    pub(crate) total_us: u64,
    /// Tokens of the prompt that each node computed, because they were not cached.
    pub(crate) prompt_tokens: [u32; 2],
    /// Where the answer would have diverged; what follows is not included.
    pub(crate) diverged: Option<Divergence>,
}

/// An ask and its result.
#[derive(Debug, Clone)]
pub(crate) struct TimedAsk {
    pub(crate) role: Role,
    /// Time since the question.
    pub(crate) at_us: u64,
    /// Time until its first text.
    pub(crate) first_text_us: u64,
    /// How much of the time until its end the node spent on it: queued, reading and writing.
    pub(crate) node_us: u64,
    /// How much of that was writing.
    pub(crate) decode_us: u64,
    /// Tokens that it wrote, including discarded ones.
    pub(crate) tokens: u32,
    /// Tokens at its end that were discarded.
    pub(crate) forgotten_tokens: u32,
    /// Tokens that it read between the ask and the first text.
    pub(crate) late_tokens: u32,
    /// Tokens that each node reads of the text from here to the next ask.
    pub(crate) reads: [u32; 2],
}

/// Records when events happen.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    asks: Vec<Noted>,
}

#[derive(Debug, Clone)]
struct Noted {
    role: Role,
    number: u32,
    at_us: u64,
    committed_bytes: u64,
    /// What its node reported to have read since, and when.
    reading: Vec<(u64, u64)>,
    finished: Option<Finish>,
    forgotten_tokens: u32,
}

/// The report of its end.
#[derive(Debug, Clone, Copy)]
struct Finish {
    first_text_us: u64,
    wall_us: u64,
    timing: Timing,
    tokens: u32,
    prefill_tokens: u32,
}

impl Clock {
    pub(super) fn see(&mut self, stamped: &Stamped) {
        let at_us = stamped.at_us;
        match &stamped.progress {
            Progress::Ask(asked) => self.asks.push(Noted {
                role: asked.role,
                number: asked.ask,
                at_us,
                committed_bytes: asked.committed_bytes,
                reading: Vec::new(),
                finished: None,
                forgotten_tokens: 0,
            }),
            Progress::Warmed(warmed) if warmed.prefill_us > 0 => {
                let last = self.asks.last_mut().filter(|noted| noted.finished.is_none());
                if let Some(noted) = last.filter(|noted| noted.role == warmed.role) {
                    noted.reading.push((at_us, warmed.prefill_us));
                }
            }
            Progress::Finished(finished) => {
                if let Some(noted) = self.asked(finished.ask) {
                    noted.finished = Some(Finish {
                        first_text_us: finished.first_text_us.unwrap_or(finished.wall_us),
                        wall_us: finished.wall_us,
                        timing: finished.timing,
                        tokens: finished.tokens,
                        prefill_tokens: finished.prefill_tokens,
                    });
                }
            }
            Progress::Kept(kept) => {
                if let Some(noted) = self.asked(kept.ask) {
                    noted.forgotten_tokens = kept.discarded_tokens;
                }
            }
            _ => {}
        }
    }

    fn asked(&mut self, number: u32) -> Option<&mut Noted> {
        self.asks.iter_mut().rev().find(|noted| noted.number == number)
    }
}

impl Timeline {
    pub(super) fn new(
        recording: &Recording,
        clock: &Clock,
        total_us: u64,
        diverged: Option<Divergence>,
    ) -> Self {
        let ends = clock.asks.iter().skip(1).map(|noted| noted.committed_bytes);
        let asks = clock.asks.iter().zip(ends.chain([u64::MAX]));
        let asks = asks.filter_map(|(noted, end)| noted.timed(recording, end)).collect();
        let prompt_tokens = [Some(&recording.small), recording.large.as_ref()].map(|costs| {
            costs.map_or(0, |costs| costs.prompt_tokens.saturating_sub(costs.cached_tokens))
        });
        Timeline { asks, total_us, prompt_tokens, diverged }
    }
}

impl Noted {
    /// Returns `None` if the ask never ended.
    fn timed(&self, recording: &Recording, text_end: u64) -> Option<TimedAsk> {
        let Finish { first_text_us, wall_us, timing, tokens, prefill_tokens } = self.finished?;
        let first_text_us = first_text_us.min(wall_us);
        let waited = self.reading.iter().filter(|(at_us, _)| *at_us <= self.at_us + first_text_us);
        let late_us: u64 = waited.map(|(_, prefill_us)| prefill_us).sum();
        let place = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (from, to) = (place(self.committed_bytes), place(text_end));
        let reads = [Some(&recording.small), recording.large.as_ref()]
            .map(|costs| costs.map_or(0, |costs| costs.warming.cost(from, to).1));
        Some(TimedAsk {
            role: self.role,
            at_us: self.at_us,
            first_text_us,
            node_us: (timing.queue_us + timing.prefill_us + timing.decode_us + late_us)
                .min(wall_us),
            decode_us: timing.decode_us.min(wall_us),
            tokens,
            forgotten_tokens: self.forgotten_tokens,
            late_tokens: prefill_tokens,
            reads,
        })
    }
}
