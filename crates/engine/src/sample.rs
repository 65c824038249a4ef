//! Draws the next token from logits: repetition penalty, temperature, top-k, top-p, min-p, greedy.
//!
//! Every draw depends on the logits, the rules and a seed alone. The generator is PCG, whose values are the same on
//! every platform and in every version. The rules are in [`thinking::thinker::Sampling`]; the scheduler decides when to
//! draw.

use std::cmp::Ordering;

use rand_pcg::{
    Pcg64,
    rand_core::{Rng, SeedableRng},
};
use thinking::thinker::{BadSampling, Sampling};

/// Why no token can be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SampleError {
    /// The model gave no usable logits.
    #[error(
        "the model gave no usable logits (NaN, infinite or none): its weights or its quantisation \
         are broken; load another file"
    )]
    BadLogits,
    /// A sampling rule has an invalid value.
    #[error(transparent)]
    BadRule(#[from] BadSampling),
}

/// Draws tokens by one set of rules.
#[derive(Debug, Clone)]
pub struct Sampler {
    rules: Sampling,
    /// Logits after the repetition penalty; reused to save allocations.
    penalised: Vec<f32>,
    /// Candidates; reused to save allocations.
    candidates: Vec<Candidate>,
}

/// A token that may be drawn.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    /// First a logit, then a weight relative to the likeliest token.
    value: f64,
}

/// The random numbers of one proposal.
#[derive(Debug, Clone)]
pub struct Draws(Pcg64);

impl Draws {
    /// Makes the numbers that follow from a seed.
    pub fn new(seed: u64) -> Self {
        Draws(Pcg64::seed_from_u64(seed))
    }

    /// Returns the next number, uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        thinking::draw::uniform(self.0.next_u64())
    }
}

impl Sampler {
    /// Makes a sampler with these rules.
    ///
    /// # Errors
    /// [`SampleError::BadRule`] for a value that is not finite or is out of range.
    pub fn new(rules: Sampling) -> Result<Self, SampleError> {
        rules.check()?;
        Ok(Sampler { rules, penalised: Vec::new(), candidates: Vec::new() })
    }

    /// Draws a token. `logits` is one row over the vocabulary; `session` is every token before it.
    ///
    /// # Errors
    /// [`SampleError::BadLogits`] when a logit is NaN or +infinity, or none is finite.
    pub fn draw(
        &mut self,
        logits: &[f32],
        session: &[u32],
        draws: &mut Draws,
    ) -> Result<u32, SampleError> {
        let penalty = self.rules.repetition_penalty;
        let mut penalised = std::mem::take(&mut self.penalised);
        let penalised_logits = if penalty == 0.0 || penalty == 1.0 {
            logits
        } else {
            penalise(logits, session, penalty, &mut penalised);
            &penalised
        };
        let best = likeliest(penalised_logits);
        let drawn = best.map(|best| {
            if self.rules.temperature == 0.0 {
                best
            } else {
                self.draw_weighted(penalised_logits, best, draws)
            }
        });
        self.penalised = penalised;
        drawn
    }

    fn draw_weighted(&mut self, logits: &[f32], best: u32, draws: &mut Draws) -> u32 {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.rules;
        let kept = &mut self.candidates;
        collect_likeliest(logits, top_k as usize, kept);
        let most = f64::from(logits[best as usize]);
        for candidate in kept.iter_mut() {
            candidate.value = ((candidate.value - most) / f64::from(temperature)).exp();
        }
        if 0.0 < top_p && top_p < 1.0 {
            keep_nucleus(kept, f64::from(top_p));
        } else {
            // The order must not depend on how the selection above moved candidates about.
            kept.sort_unstable_by_key(|candidate| candidate.id);
        }
        if min_p > 0.0 {
            kept.retain(|candidate| candidate.value >= f64::from(min_p));
        }
        let total: f64 = kept.iter().map(|candidate| candidate.value).sum();
        let mut left = draws.uniform() * total;
        for candidate in kept.iter() {
            left -= candidate.value;
            if left < 0.0 {
                return candidate.id;
            }
        }
        // Rounding can leave a tiny remainder after the last one.
        best
    }
}

/// Divides positive and multiplies negative logits of the session's tokens by the penalty, once for each token.
fn penalise(logits: &[f32], session: &[u32], penalty: f32, into: &mut Vec<f32>) {
    into.clear();
    into.extend_from_slice(logits);
    for &token in session {
        let token = token as usize;
        if let (Some(&logit), Some(slot)) = (logits.get(token), into.get_mut(token)) {
            *slot = if logit > 0.0 { logit / penalty } else { logit * penalty };
        }
    }
}

/// Returns the likeliest token; of equals the one with the smallest id.
fn likeliest(logits: &[f32]) -> Result<u32, SampleError> {
    let mut best: Option<(u32, f32)> = None;
    for (&logit, id) in logits.iter().zip(0u32..) {
        if logit.is_nan() || logit == f32::INFINITY {
            return Err(SampleError::BadLogits);
        }
        if logit > best.map_or(f32::NEG_INFINITY, |(_, most)| most) {
            best = Some((id, logit));
        }
    }
    best.map(|(id, _)| id).ok_or(SampleError::BadLogits)
}

fn likelier_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.value.total_cmp(&a.value).then(a.id.cmp(&b.id))
}

/// Collects the `count` likeliest tokens in any order, or all if `count` is 0. Nearly all tokens of a vocabulary are
/// less likely than the best so far, and are passed over at first sight.
fn collect_likeliest(logits: &[f32], count: usize, into: &mut Vec<Candidate>) {
    into.clear();
    let candidate = |(&logit, id)| Candidate { id, value: f64::from(logit) };
    let candidates = logits.iter().zip(0u32..);
    if count == 0 || count >= logits.len() {
        into.extend(candidates.map(candidate));
        return;
    }
    let enough = count.saturating_mul(2).max(count + 64);
    // The least likely of those that are kept. A later token with the same logit counts as less likely.
    let mut least = None;
    for (logit, id) in candidates {
        if least.is_some_and(|least| logit.total_cmp(&least).is_le()) {
            continue;
        }
        into.push(candidate((logit, id)));
        if into.len() == enough {
            let (_, last, _) = into.select_nth_unstable_by(count - 1, likelier_first);
            least = Some(last.value as f32);
            into.truncate(count);
        }
    }
    if into.len() > count {
        into.select_nth_unstable_by(count - 1, likelier_first);
        into.truncate(count);
    }
}

/// Keeps the fewest candidates that together reach the share `top_p`, likeliest first.
fn keep_nucleus(candidates: &mut Vec<Candidate>, top_p: f64) {
    let total: f64 = candidates.iter().map(|candidate| candidate.value).sum();
    // Candidates below this weight have less than 1 - top_p together: the nucleus is complete without them, and a whole
    // vocabulary need not be sorted.
    let negligible = (1.0 - top_p) * total / candidates.len() as f64;
    candidates.retain(|candidate| candidate.value >= negligible);
    candidates.sort_unstable_by(likelier_first);
    let mut reached = 0.0;
    let enough = candidates.iter().position(|candidate| {
        reached += candidate.value;
        reached >= top_p * total
    });
    if let Some(last) = enough {
        candidates.truncate(last + 1);
    }
}

/// Returns the entropy in nats of the model's own distribution, before any sampling rule: 0 to ln(vocabulary).
///
/// The rules are left out because they would hide what the number shows: under greedy sampling, for example, the
/// entropy is always 0.
pub(crate) fn entropy_nats(logits: &[f32]) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !most.is_finite() {
        return 0.0;
    }
    let (mut total, mut weighted) = (0.0f64, 0.0f64);
    for &logit in logits {
        let below = f64::from(logit - most);
        let weight = below.exp();
        if weight > 0.0 {
            total += weight;
            weighted += weight * below;
        }
    }
    (total.ln() - weighted / total).max(0.0) as f32
}

#[cfg(test)]
#[path = "sample_tests.rs"]
mod tests;
