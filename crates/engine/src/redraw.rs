//! Draws what a session that reviews would write instead, if it does not take the likeliest token.
//!
//! The draw depends only on the logits, the sampling, a seed and the place. What is objected to is not drawn again.

use text::Tokenizer;
use thinking::session::review::draw_seed;

use crate::{
    sample::{Draws, Sampler},
    verdict::{can_be_written, known},
};

/// What stands at a place that is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    /// The tokens before it.
    pub(crate) before: &'a [u32],
    /// Where it begins, in bytes of the committed text.
    pub(crate) byte: usize,
    /// The token that stands there; for the end of an answer, every token that ends it.
    pub(crate) tokens: &'a [u32],
}

/// Draws what would stand instead.
#[derive(Debug)]
pub(crate) struct Redraw {
    sampler: Sampler,
    seed: u64,
}

impl Redraw {
    /// Makes one from sampling rules and a seed.
    pub(crate) fn new(sampler: Sampler, seed: u64) -> Self {
        Redraw { sampler, seed }
    }

    /// Draws a token that can be written or ends the text, other than those that stand there. Returns `None` if there
    /// is none.
    pub(crate) fn instead(
        &mut self,
        standing: Standing<'_>,
        logits: &[f32],
        tokenizer: &Tokenizer,
    ) -> Option<u32> {
        let may_stand = |id: u32| !standing.tokens.contains(&id) && can_be_written(id, tokenizer);
        let logits = known(logits, tokenizer).iter().zip(0u32..);
        let others: Vec<f32> = logits
            .map(|(logit, id)| if may_stand(id) { *logit } else { f32::NEG_INFINITY })
            .collect();
        let draws = &mut Draws::new(draw_seed(self.seed, standing.byte));
        // Also fails if no other token remains.
        self.sampler.draw(&others, standing.before, draws).ok()
    }
}

#[cfg(test)]
mod tests {
    use thinking::thinker::Sampling;

    use super::*;
    use crate::verdict::testing::tokenizer;

    #[test]
    fn a_draw_follows_from_seed_and_place_and_is_never_what_stands_there() {
        let tokenizer = tokenizer();
        // A control token is likeliest, and there is one row more than there are tokens.
        let logits = [1.0, 3.5, 1.2, 3.0, 9.0, 2.0, 50.0];
        let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, ..Sampling::default() };
        let drawn = |seed, byte| {
            let mut redraw = Redraw::new(Sampler::new(sampling).unwrap(), seed);
            let standing = Standing { before: &[], byte, tokens: &[1] };
            redraw.instead(standing, &logits, &tokenizer).unwrap()
        };
        let of: Vec<u32> = (0..400).map(|byte| drawn(7, byte)).collect();
        assert_eq!(of, (0..400).map(|byte| drawn(7, byte)).collect::<Vec<_>>());
        assert!([0, 2, 3, 5].iter().all(|id| of.contains(id)), "{of:?}");
        assert!(of.iter().all(|id| ![1, 4, 6].contains(id)), "{of:?}");
        assert_ne!(of, (0..400).map(|byte| drawn(8, byte)).collect::<Vec<_>>());
        let greedy = Sampling { temperature: 0.0, ..sampling };
        let mut redraw = Redraw::new(Sampler::new(greedy).unwrap(), 7);
        let standing = Standing { before: &[], byte: 0, tokens: &[1] };
        assert_eq!(redraw.instead(standing, &logits, &tokenizer), Some(3));
        let all = Standing { tokens: &[0, 1, 2, 3, 4, 5], ..standing };
        assert_eq!(redraw.instead(all, &logits, &tokenizer), None);
    }
}
