//! The cost of reading text on a node: the prompt, and each piece of text that the other node wrote.
//!
//! A node reports on every piece, but computes queued pieces together and reports the whole time with the last of them.
//! Over another link, other pieces are computed together. So the time of such a batch is spread over its tokens here,
//! and the cost of any range of bytes can be computed. The proposals' own time is not included.

use std::time::Duration;

/// One report in the journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    /// When it was seen.
    pub(super) at_us: u64,
    /// How long the node's text is then.
    pub(super) committed_bytes: usize,
    /// How many tokens it had to read for it: 0 if the text was its own.
    pub(super) tokens: u32,
    /// How many of these tokens, and of those before, it computed.
    pub(super) prefill_tokens: u32,
    /// How long that took, including all preceding reports without a time.
    pub(super) prefill_us: u64,
}

/// The cost of a node's reading, by position in the answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Warming {
    /// The part of the prompt.
    pub(super) open_us: u64,
    /// When the prompt was reported as read, and the time of the batch that it was in.
    first: Option<(u64, u64)>,
    /// Positions in ascending order, and the cost of all text before each.
    points: Vec<(usize, Cost)>,
}

/// The cost of reading, in microseconds and tokens.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    us: f64,
    tokens: f64,
}

impl Warming {
    /// Computes the costs from the reports in order; the first one is about the prompt.
    pub(super) fn new(reports: &[Report]) -> Self {
        let mut warming = Warming::default();
        let mut all = Cost::default();
        let mut first = true;
        let ends_batch = |report: &Report| report.prefill_us > 0;
        for batch in reports.split_inclusive(ends_batch) {
            let Some(last) = batch.last() else { continue };
            let batch_us = last.prefill_us as f64;
            let tokens: u32 = batch.iter().map(|report| report.tokens).sum();
            for (index, report) in batch.iter().enumerate() {
                let part = match tokens {
                    0 if index + 1 == batch.len() => 1.0,
                    0 => 0.0,
                    tokens => f64::from(report.tokens) / f64::from(tokens),
                };
                if first {
                    first = false;
                    warming.open_us = (batch_us * part) as u64;
                    warming.first = Some((last.at_us, last.prefill_us));
                } else {
                    all.us += batch_us * part;
                    all.tokens += f64::from(report.tokens);
                }
                warming.points.push((report.committed_bytes, all));
            }
        }
        warming
    }

    /// Returns the latest moment at which the node can have started on the prompt.
    pub(super) fn began_by_us(&self) -> Option<u64> {
        self.first.map(|(at_us, batch_us)| at_us.saturating_sub(batch_us))
    }

    /// Returns the cost of reading the text between two positions, in time and tokens.
    pub(super) fn cost(&self, from: usize, to: usize) -> (Duration, u32) {
        let (from, to) = (self.before(from), self.before(to));
        // Rounded here, so that parts add up to the whole.
        let between = |from: f64, to: f64| (to.round() as u64).saturating_sub(from.round() as u64);
        let tokens = u32::try_from(between(from.tokens, to.tokens)).unwrap_or(u32::MAX);
        (Duration::from_micros(between(from.us, to.us)), tokens)
    }

    /// Returns the cost of all text before a position.
    fn before(&self, bytes: usize) -> Cost {
        let next = self.points.partition_point(|(at, _)| *at <= bytes);
        let before = next.checked_sub(1).and_then(|before| self.points.get(before));
        let (begin, cost) = before.copied().unwrap_or_default();
        match self.points.get(next) {
            // Text that nobody had to wait for, without a report.
            None => cost,
            Some((end, all)) => {
                let part = (bytes - begin) as f64 / (end - begin) as f64;
                let between = |from: f64, to: f64| from + (to - from) * part;
                Cost { us: between(cost.us, all.us), tokens: between(cost.tokens, all.tokens) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(committed_bytes: usize, tokens: u32, prefill_us: u64) -> Report {
        Report { at_us: 0, committed_bytes, tokens, prefill_tokens: tokens, prefill_us }
    }

    fn us(warming: &Warming, from: usize, to: usize) -> u128 {
        warming.cost(from, to).0.as_micros()
    }

    #[test]
    fn a_batch_is_spread_over_its_tokens() {
        // The prompt and two pieces were computed together.
        let warming = Warming::new(&[report(0, 60, 0), report(20, 10, 0), report(80, 30, 1000)]);
        assert_eq!(warming.open_us, 600);
        assert_eq!(us(&warming, 0, 20), 100);
        assert_eq!(us(&warming, 20, 80), 300);
        assert_eq!(us(&warming, 20, 50), 150);
        assert_eq!(us(&warming, 80, 200), 0, "nothing is known of it");
        assert_eq!((warming.cost(0, 20).1, warming.cost(50, 90).1), (10, 15));
    }

    #[test]
    fn its_own_text_costs_a_node_nothing_but_what_it_reports() {
        let reports = [report(0, 5, 50), report(40, 0, 0), report(60, 4, 400), report(90, 0, 7)];
        let warming = Warming::new(&reports);
        assert_eq!(us(&warming, 0, 40), 0);
        assert_eq!(us(&warming, 40, 60), 400);
        assert_eq!(us(&warming, 60, 90), 7);
        assert_eq!(us(&warming, 0, 90), 407, "parts add up");
    }

    #[test]
    fn a_node_that_reported_nothing_costs_nothing() {
        assert_eq!(us(&Warming::new(&[]), 0, 10), 0);
    }
}
