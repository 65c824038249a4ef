//! The decoder: one forward pass over any number of sequences. Loading it is `load`'s work.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use candle_core::{DType, Device, Tensor};

use crate::error::ForwardError;

use super::{
    attention::attend,
    cache::{Allocator, BLOCK, KvCache, Sequence},
    config::{Heads, ModelConfig},
    elementwise,
    rope::{Angles, Rope},
    weight::{Linear, Weight},
};

/// A decoder's weights and sizes. Immutable: any number of sequences, each in its own [`KvCache`],
/// run over one.
#[derive(Debug)]
pub struct Decoder {
    pub(crate) config: ModelConfig,
    pub(crate) device: Device,
    /// What activations and caches are held in.
    pub(crate) dtype: DType,
    pub(crate) rope: Rope,
    pub(crate) embedding: Weight,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Tensor,
    pub(crate) head: Weight,
    /// Where caches get their blocks.
    pub(crate) kv: Arc<Allocator>,
    /// Goes up with every layer that is computed: a pass over a long text may take minutes.
    pub(crate) pulse: Arc<AtomicU64>,
}

/// The weights of one layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Tensor,
    pub(crate) q: Linear,
    pub(crate) k: Linear,
    pub(crate) v: Linear,
    pub(crate) output: Linear,
    pub(crate) q_norm: Option<Tensor>,
    pub(crate) k_norm: Option<Tensor>,
    pub(crate) mlp_norm: Tensor,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

/// One sequence's part of a forward pass.
#[derive(Debug)]
pub struct BatchRow<'a> {
    /// Tokens that follow what the cache holds; at least one.
    pub tokens: &'a [u32],
    /// The sequence; grows by the tokens.
    pub cache: &'a mut KvCache,
    /// Which tokens' logits are wanted.
    pub logits: WantedLogits,
}

/// For which of a row's tokens logits are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedLogits {
    /// For none: the tokens are only prefilled.
    None,
    /// For the last one.
    Last,
    /// For all, in order.
    All,
    /// For this one of the row and all behind it, in order.
    From(usize),
}

impl Decoder {
    /// The sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A cache for a new sequence.
    pub fn new_cache(&self) -> KvCache {
        KvCache::new(Arc::clone(&self.kv))
    }

    /// Memory that a token's keys and values take, in bytes.
    pub fn kv_bytes_per_token(&self) -> u64 {
        self.kv.block_bytes() / BLOCK as u64
    }

    /// Memory the weights take, in bytes.
    pub(super) fn weight_bytes(&self) -> u64 {
        let matrices = |layer: &Layer| {
            [&layer.q, &layer.k, &layer.v, &layer.output, &layer.gate, &layer.up, &layer.down]
                .iter()
                .map(|linear| linear.weight.bytes())
                .sum::<u64>()
        };
        let head = if self.config.tied { 0 } else { self.head.bytes() };
        self.embedding.bytes() + head + self.layers.iter().map(matrices).sum::<u64>()
    }

    /// One forward pass over several sequences of unequal lengths.
    ///
    /// Returns the wanted logits, f32 of shape [wanted tokens, vocab], in the order of the rows. On
    /// error no sequence has grown.
    pub fn forward(&self, rows: &mut [BatchRow<'_>]) -> Result<Tensor, ForwardError> {
        let (ids, positions) = self.check(rows)?;
        for row in rows.iter_mut() {
            row.cache.reserve(row.tokens.len())?;
        }
        let count = ids.len();
        let ids = Tensor::from_vec(ids, count, &self.device)?;
        let angles = self.rope.angles(&positions, &self.device)?;
        let mut x = self.embedding.rows(&ids)?.to_dtype(self.dtype)?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = self.layer(index, layer, &x, rows, &angles)?;
            self.pulse.fetch_add(1, Ordering::Relaxed);
        }
        let logits = self.logits(&x, &wanted(rows))?;
        for row in rows.iter_mut() {
            row.cache.advance(row.tokens.len());
        }
        Ok(logits)
    }

    /// All tokens and their positions, checked.
    fn check(&self, rows: &[BatchRow<'_>]) -> Result<(Vec<u32>, Vec<usize>), ForwardError> {
        let (vocab, context) = (self.config.vocab, self.config.context);
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        for row in rows {
            let start = row.cache.len();
            let tokens = start + row.tokens.len();
            if row.tokens.is_empty() {
                return Err(ForwardError::EmptyRow);
            }
            if tokens > context {
                return Err(ForwardError::ContextFull { tokens, context });
            }
            if let Some(id) = row.tokens.iter().find(|id| **id as usize >= vocab) {
                return Err(ForwardError::UnknownToken { id: *id, vocab });
            }
            ids.extend_from_slice(row.tokens);
            positions.extend(start..tokens);
        }
        if ids.is_empty() {
            return Err(ForwardError::EmptyRow);
        }
        Ok((ids, positions))
    }

    /// One layer over the tokens of all rows, [tokens, hidden].
    fn layer(
        &self,
        index: usize,
        layer: &Layer,
        x: &Tensor,
        rows: &[BatchRow<'_>],
        angles: &Angles,
    ) -> candle_core::Result<Tensor> {
        let normed = self.norm(x, &layer.attention_norm)?;
        let mixed = self.attention(index, layer, &normed, rows, angles)?;
        let x = elementwise::add(x, &layer.output.forward(&mixed)?)?;
        let normed = self.norm(&x, &layer.mlp_norm)?;
        let [gate, up] = Linear::forward_all([&layer.gate, &layer.up], &normed)?;
        let gated = elementwise::swiglu(&gate, &up)?;
        elementwise::add(&x, &layer.down.forward(&gated)?)
    }

    /// Projections over the tokens of all rows, attention of each row over its own cache.
    fn attention(
        &self,
        index: usize,
        layer: &Layer,
        x: &Tensor,
        rows: &[BatchRow<'_>],
        angles: &Angles,
    ) -> candle_core::Result<Tensor> {
        let sizes @ Heads { heads, kv_heads, head_dim } = self.config.heads();
        let tokens = x.dim(0)?;
        let [q, k, v] = Linear::forward_all([&layer.q, &layer.k, &layer.v], x)?;
        let q = q.reshape((tokens, heads, head_dim))?;
        let k = k.reshape((tokens, kv_heads, head_dim))?;
        let v = v.reshape((tokens, kv_heads, head_dim))?;
        let q = angles.apply(&self.head_norm(q, layer.q_norm.as_ref())?)?;
        let k = angles.apply(&self.head_norm(k, layer.k_norm.as_ref())?)?;
        let mut start = 0;
        let mut sequences = Vec::with_capacity(rows.len());
        for BatchRow { tokens, cache, .. } in rows {
            let tokens = tokens.len();
            cache.write(index, &k.narrow(0, start, tokens)?, &v.narrow(0, start, tokens)?)?;
            sequences.push(Sequence { cache, tokens });
            start += tokens;
        }
        attend(sizes, index, &q, &sequences)
    }

    /// The logits of the wanted tokens of x [tokens, hidden].
    fn logits(&self, x: &Tensor, wanted: &[u32]) -> candle_core::Result<Tensor> {
        if wanted.is_empty() {
            return Tensor::zeros((0, self.config.vocab), DType::F32, &self.device);
        }
        let x = if wanted.len() == x.dim(0)? {
            x.clone()
        } else {
            x.index_select(&Tensor::new(wanted, &self.device)?, 0)?
        };
        self.head.forward(&self.norm(&x, &self.norm)?)?.to_dtype(DType::F32)
    }

    fn norm(&self, x: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
        candle_nn::ops::rms_norm(x, weight, self.config.rms_eps)
    }

    /// Normalises each head of [tokens, heads, head_dim], where the family does.
    fn head_norm(&self, heads: Tensor, weight: Option<&Tensor>) -> candle_core::Result<Tensor> {
        match weight {
            Some(weight) => self.norm(&heads, weight),
            None => Ok(heads),
        }
    }
}

/// Indices, over the tokens of all rows, of those whose logits are wanted.
fn wanted(rows: &[BatchRow<'_>]) -> Vec<u32> {
    let mut wanted = Vec::new();
    let mut start = 0u32;
    for row in rows {
        let end = start + row.tokens.len() as u32;
        match row.logits {
            WantedLogits::None => {}
            WantedLogits::Last => wanted.push(end - 1),
            WantedLogits::All => wanted.extend(start..end),
            WantedLogits::From(first) => wanted.extend(start.saturating_add(first as u32)..end),
        }
        start = end;
    }
    wanted
}
