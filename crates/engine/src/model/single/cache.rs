//! What is kept of a sequence that a model of candle-transformers computes: the model with the sequence in it, as it is
//! now and as it was at places to cut back to.
//!
//! The crate's caches are tensors that are never changed, only replaced by longer ones, so a copy of a model holds a
//! sequence as it was for as long as needed. They cannot be cut, and every copy holds its whole sequence, so only a few
//! are kept: while text is prefilled, but not while tokens are drawn one by one. The last copy is there for when a
//! proposal is forgotten or cut, the one before for when the end of others' text is encoded again. A cut further back
//! computes the sequence from its beginning.

use std::sync::{Arc, atomic::Ordering};

use candle_core::{Result, Tensor};

use super::{SingleDecoder, model::CrateModel};
use crate::model::seam::{BLOCK, Cache, Ledger};

/// How many earlier states of a sequence are kept.
const KEPT: usize = 2;
/// How many copies of a sequence its memory is counted for.
pub(super) const COPIES: usize = 1 + KEPT;
/// How many tokens there are at least between states that are kept.
const APART: usize = 16;
/// Tokens that are computed in one go; in between, a node shows that it is alive.
const SLICE: usize = 32;

/// A model with a sequence in it.
#[derive(Debug, Clone)]
struct State {
    model: CrateModel,
    len: usize,
}

/// A sequence and some of its earlier states.
#[derive(Debug)]
pub(super) struct SingleCache {
    ledger: Arc<Ledger>,
    /// The blocks that it is counted with.
    blocks: usize,
    /// `None` before the first token.
    now: Option<State>,
    /// Earlier states, the shortest first; none is longer than the present one.
    kept: Vec<State>,
}

impl SingleCache {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        SingleCache { ledger, blocks: 0, now: None, kept: Vec::new() }
    }

    /// Computes tokens after the sequence. Returns the logits for the last one, f32 [1, vocab], or `None` if there are
    /// no tokens. On an error nothing of the sequence remains. `draws` says whether the next token is drawn from these
    /// logits: then the state that is kept stops before the last token, so that it can be computed again.
    pub(super) fn grow(
        &mut self,
        decoder: &SingleDecoder,
        tokens: &[u32],
        draws: bool,
    ) -> Result<Option<Tensor>> {
        let mut kept = std::mem::take(&mut self.kept);
        let fresh = || State { model: decoder.model.clone(), len: 0 };
        let mut state = self.now.take().unwrap_or_else(fresh);
        let due = kept.last().map_or(0, |state| state.len) + APART;
        let keeps = tokens.len() > 1 && state.len + tokens.len() > due;
        let (before, last) = tokens.split_at(tokens.len() - usize::from(keeps && draws));
        let mut logits = None;
        for slice in before.chunks(SLICE) {
            logits = Some(state.grow(decoder, slice)?);
        }
        if keeps {
            kept.drain(..(kept.len() + 1).saturating_sub(KEPT));
            kept.push(state.clone());
        }
        if !last.is_empty() {
            logits = Some(state.grow(decoder, last)?);
        }
        (self.now, self.kept) = (Some(state), kept);
        Ok(logits)
    }
}

impl State {
    fn grow(&mut self, decoder: &SingleDecoder, tokens: &[u32]) -> Result<Tensor> {
        let ids = Tensor::new(tokens, &decoder.device)?.unsqueeze(0)?;
        let logits = self.model.forward(&ids, self.len)?.reshape((1, decoder.vocab))?;
        self.len += tokens.len();
        decoder.pulse.fetch_add(1, Ordering::Relaxed);
        Ok(logits)
    }
}

impl Cache for SingleCache {
    fn len(&self) -> usize {
        self.now.as_ref().map_or(0, |state| state.len)
    }

    /// Goes back to the last kept state that is no longer than `len`.
    fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.kept.retain(|state| state.len <= len);
            self.now = self.kept.last().cloned();
        }
        let needed = self.len().div_ceil(BLOCK);
        self.ledger.give_back(self.blocks.saturating_sub(needed));
        self.blocks = self.blocks.min(needed);
    }

    fn bytes(&self) -> u64 {
        self.blocks as u64 * self.ledger.block_bytes()
    }

    fn missing_blocks(&self, more: usize) -> usize {
        (self.len() + more).div_ceil(BLOCK).saturating_sub(self.blocks)
    }

    /// Counts the memory; the crate's models allocate it as they go.
    fn reserve(&mut self, more: usize) -> Result<()> {
        let missing = self.missing_blocks(more);
        self.ledger.take(missing);
        self.blocks += missing;
        Ok(())
    }
}

impl Drop for SingleCache {
    fn drop(&mut self) {
        self.ledger.give_back(self.blocks);
    }
}
