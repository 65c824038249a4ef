//! How tokens are drawn, and which values are valid.

use serde::{Deserialize, Serialize};

/// How the next token is drawn. The defaults are the paper's (section 4.1: T = 0.6, top-k 50,
/// top-p 0.95).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Keeps only the k most likely tokens; 0 is off.
    pub top_k: u32,
    /// Keeps only the most likely tokens that together reach this probability; 0 or 1 is off.
    pub top_p: f32,
    /// Keeps only tokens at least this fraction as likely as the likeliest; 0 is off.
    pub min_p: f32,
    /// Divides the positive logits of tokens already in the session, and multiplies the negative ones; 0 or 1 is off.
    pub repetition_penalty: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 0.6, top_k: 50, top_p: 0.95, min_p: 0.0, repetition_penalty: 1.0 }
    }
}

impl Sampling {
    /// Checks that every value is finite and in its range.
    ///
    /// # Errors
    /// Names the first value that is not.
    pub fn check(&self) -> Result<(), BadSampling> {
        let rules = [
            ("temperature", self.temperature, 0.0..=f32::MAX, "0 or more"),
            ("top_p", self.top_p, 0.0..=1.0, "from 0 to 1"),
            ("min_p", self.min_p, 0.0..=1.0, "from 0 to 1"),
            // Beyond these, products with it leave the range of f32.
            ("repetition_penalty", self.repetition_penalty, 0.01..=100.0, "0, or from 0.01 to 100"),
        ];
        let is_off = |name, value| name == "repetition_penalty" && value == 0.0;
        let bad = rules
            .into_iter()
            .find(|(name, value, range, _)| !range.contains(value) && !is_off(*name, *value));
        match bad {
            Some((name, value, _, must_be)) => Err(BadSampling { name, value, must_be }),
            None => Ok(()),
        }
    }
}

/// A sampling value outside its range. Displays as one line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} is {value}: it must be {must_be}")]
pub struct BadSampling {
    /// The field of [`Sampling`].
    pub name: &'static str,
    /// Its value.
    pub value: f32,
    /// What it must be.
    pub must_be: &'static str,
}
