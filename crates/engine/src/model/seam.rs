//! What sessions and their scheduler need from whatever computes a model: the seam between them and the kinds of
//! decoders. Those are `decoder` (ours, over any number of sequences at once) and `single` (candle-transformers'
//! models, one sequence at a time). Neither knows the other; `load` chooses.

use std::{
    any::Any,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use candle_core::{Device, Tensor};

use crate::error::ForwardError;

/// Positions in a block, the unit in which cache memory is counted.
pub(crate) const BLOCK: usize = 32;

/// A model's weights. Immutable: any number of sequences run over one, each in a [`Cache`] that it made.
pub trait Decode: Any + Debug + Send {
    /// Returns what it is.
    fn facts(&self) -> DecoderFacts;

    /// Returns where the weights are.
    fn device(&self) -> &Device;

    /// Returns the ledger of the memory that its caches hold.
    fn ledger(&self) -> &Arc<Ledger>;

    /// Returns a counter that goes up with every computed part of a pass: a pass over a long text may take minutes.
    fn pulse(&self) -> &Arc<AtomicU64>;

    /// Returns a cache for a new sequence.
    fn new_cache(&self) -> Box<dyn Cache>;

    /// Runs one forward pass over several sequences of unequal lengths.
    ///
    /// Returns the wanted logits, f32 of shape [wanted tokens, vocab], in the order of the rows.
    ///
    /// # Errors
    /// If a row cannot be computed or the device fails. No sequence has grown then.
    fn forward(&self, rows: &mut [BatchRow<'_>]) -> Result<Tensor, ForwardError>;

    /// Returns whether the device has failed for good. Some errors of a GPU (an illegal address, a fault of its memory,
    /// a GPU that fell off the bus) fail every later call too.
    fn is_lost(&self) -> bool {
        // The first call may report an earlier error, which is then forgotten.
        let device = self.device();
        device.synchronize().is_err() && device.synchronize().is_err()
    }

    /// Returns the memory that a token takes in a cache, in bytes.
    fn kv_bytes_per_token(&self) -> u64 {
        self.ledger().block_bytes() / BLOCK as u64
    }
}

/// What a decoder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecoderFacts {
    /// The family's name.
    pub family: &'static str,
    /// Number of logits for a token.
    pub vocab: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Whether the sequences of a pass are computed together.
    pub is_batched: bool,
    /// Whether it gives logits for any token of a row, as a review needs them, or only for the last one.
    pub gives_all_logits: bool,
}

/// What is kept of a sequence that a decoder computes.
pub trait Cache: Any + Debug + Send {
    /// Returns the length of the sequence in tokens.
    fn len(&self) -> usize;

    /// Returns whether the sequence has no tokens.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything after the first `len` tokens; does nothing if there are fewer. It may have to forget more:
    /// what is missing then is computed again.
    fn truncate(&mut self, len: usize);

    /// Returns the memory held, in bytes, including what others hold too.
    fn bytes(&self) -> u64;

    /// Returns how many blocks `reserve` would take.
    fn missing_blocks(&self, more: usize) -> usize;

    /// Makes room for `more` tokens.
    ///
    /// # Errors
    /// If the device has no memory for them.
    fn reserve(&mut self, more: usize) -> candle_core::Result<()>;
}

/// One sequence's part of a forward pass.
#[derive(Debug)]
pub struct BatchRow<'a, C: ?Sized = dyn Cache> {
    /// Tokens that follow what the cache holds; at least one.
    pub tokens: &'a [u32],
    /// The sequence; grows by the tokens.
    pub cache: &'a mut C,
    /// Which tokens' logits are wanted.
    pub logits: WantedLogits,
}

/// Which of a row's tokens logits are computed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedLogits {
    /// For none: the tokens are only prefilled.
    None,
    /// For the last one.
    Last,
    /// For all, in order.
    All,
    /// For this token of the row and all after it, in order.
    From(usize),
}

impl<C: Cache + ?Sized> BatchRow<'_, C> {
    /// Refuses a row that a decoder of these sizes cannot compute.
    pub(crate) fn check(&self, vocab: usize, context: usize) -> Result<(), ForwardError> {
        let tokens = self.cache.len() + self.tokens.len();
        if self.tokens.is_empty() {
            return Err(ForwardError::EmptyRow);
        }
        if tokens > context {
            return Err(ForwardError::ContextFull { tokens, context });
        }
        match self.tokens.iter().find(|id| **id as usize >= vocab) {
            Some(id) => Err(ForwardError::UnknownToken { id: *id, vocab }),
            None => Ok(()),
        }
    }
}

impl<'a> BatchRow<'a> {
    /// Returns the row with its cache as the concrete kind.
    ///
    /// # Errors
    /// If the cache is of another kind.
    pub(crate) fn of_kind<C: Cache>(&mut self) -> Result<BatchRow<'_, C>, ForwardError> {
        let cache: &mut dyn Any = self.cache;
        let cache = cache.downcast_mut().ok_or(ForwardError::ForeignCache)?;
        Ok(BatchRow { tokens: self.tokens, cache, logits: self.logits })
    }
}

/// Counts the memory that the caches of one decoder hold, in blocks.
#[derive(Debug)]
pub struct Ledger {
    block_bytes: u64,
    live: AtomicUsize,
}

impl Ledger {
    pub(crate) fn new(block_bytes: u64) -> Self {
        Ledger { block_bytes, live: AtomicUsize::new(0) }
    }

    /// Returns the memory that a block takes, in bytes.
    pub(crate) fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    /// Returns how many blocks are in use, shared ones counted once.
    pub(crate) fn live_blocks(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self, blocks: usize) {
        self.live.fetch_add(blocks, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, blocks: usize) {
        self.live.fetch_sub(blocks, Ordering::Relaxed);
    }
}
