//! When users ask: questions of many independent users, drawn from a seed.

use thinking::draw::{splitmix64, uniform};

/// A question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// When it is asked, in seconds.
    pub at_s: f64,
    /// Which of the recorded answers it gets.
    pub trace: usize,
    /// Draws, uniform from 0 to 1, that select two small nodes and two large ones. Of each two, the one with fewer
    /// answers is used.
    pub draws: [[f64; 2]; 2],
}

impl Arrival {
    /// Returns the two nodes drawn out of `nodes`; `role` is 0 or 1.
    pub fn drawn(&self, role: usize, nodes: usize) -> [usize; 2] {
        let draws = self.draws.get(role).copied().unwrap_or_default();
        draws.map(|draw| ((draw * nodes as f64) as usize).min(nodes.saturating_sub(1)))
    }
}

/// An endless Poisson process. The same seed gives the same questions, whatever the nodes are.
#[derive(Debug, Clone)]
pub struct Arrivals {
    per_s: f64,
    traces: usize,
    seed: u64,
    drawn: u64,
    at_s: f64,
}

impl Arrivals {
    /// Creates a process with this many questions a second, each answered like one of the traces, all equally likely.
    pub fn new(per_s: f64, traces: usize, seed: u64) -> Self {
        Arrivals { per_s, traces, seed, drawn: 0, at_s: 0.0 }
    }

    fn draw(&mut self) -> f64 {
        self.drawn += 1;
        uniform(splitmix64(self.seed, self.drawn))
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.at_s -= (1.0 - self.draw()).ln() / self.per_s;
        let trace = (self.draw() * self.traces as f64) as usize;
        let draws = [(); 2].map(|()| [(); 2].map(|()| self.draw()));
        Some(Arrival { at_s: self.at_s, trace: trace.min(self.traces.saturating_sub(1)), draws })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_those_of_a_poisson_process() {
        let all: Vec<Arrival> = Arrivals::new(4.0, 3, 7).take(100_000).collect();
        let gaps: Vec<f64> = all.windows(2).map(|two| two[1].at_s - two[0].at_s).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let square = gaps.iter().map(|gap| gap * gap).sum::<f64>() / gaps.len() as f64;
        // The mean of an exponential gap is 1/4 here, and its mean square twice the square of the mean.
        assert!((mean * 4.0 - 1.0).abs() < 0.02, "{mean}");
        assert!((square * 8.0 - 1.0).abs() < 0.04, "{square}");
        let first = all.iter().filter(|arrival| arrival.trace == 0).count();
        assert!((first as f64 / 1e5 - 1.0 / 3.0).abs() < 0.01, "{first}");
        assert_eq!(all[..9], Arrivals::new(4.0, 3, 7).take(9).collect::<Vec<_>>());
    }
}
