//! A seeded sequence of draws.

use std::time::Duration;

use thinking::draw::{splitmix64, uniform};

/// A seeded sequence of draws.
#[derive(Debug, Clone)]
pub(crate) struct Draws {
    seed: u64,
    drawn: u64,
}

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Draws { seed, drawn: 0 }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.drawn += 1;
        splitmix64(self.seed, self.drawn)
    }

    /// Returns a number from 0 to below `end`; 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.bits().checked_rem(end).unwrap_or(0)
    }

    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// Returns `true` in `of` cases out of a hundred.
    pub(crate) fn percent(&mut self, of: u64) -> bool {
        self.below(100) < of
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Returns a time between a thousandth of `most` and `most`, uniform on a logarithmic scale: short times are as
    /// likely as long ones.
    pub(crate) fn time(&mut self, most: Duration) -> Duration {
        most.mul_f64(1000_f64.powf(-uniform(self.bits())))
    }

    /// Returns a uniform time up to `most`.
    pub(crate) fn moment(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.below(most.as_micros() as u64))
    }
}
