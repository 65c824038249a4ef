//! The decoder: one forward pass over any number of sequences. `load` builds it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use candle_core::{DType, Device, Tensor};

use crate::error::ForwardError;

use super::{
    attention::{Masks, attend},
    cache::{Allocator, KvCache, Sequence},
    config::{Heads, LayerSpan, ModelConfig},
    elementwise,
    feed_forward::FeedForward,
    rope::{Angles, Rope},
    seam::{BatchRow, Cache, Decode, DecoderFacts, Ledger, WantedLogits},
    weight::{Linear, Weight},
};

/// A decoder's weights and sizes. Immutable: any number of sequences, each in its own [`KvCache`],
/// run over one.
#[derive(Debug)]
pub struct Decoder {
    pub(crate) config: ModelConfig,
    pub(crate) device: Device,
    /// The dtype of activations and caches.
    pub(crate) dtype: DType,
    pub(crate) rope: Rope,
    /// For layers that attend to a window only, if theirs differs.
    pub(crate) window_rope: Option<Rope>,
    pub(crate) embedding: Weight,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Tensor,
    pub(crate) head: Weight,
    /// Where caches get their blocks.
    pub(crate) kv: Arc<Allocator>,
    /// Goes up with every computed layer: a pass over a long text may take minutes.
    pub(crate) pulse: Arc<AtomicU64>,
}

/// The weights of one layer. The family decides which norms it has.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) span: LayerSpan,
    pub(crate) attention_norm: Option<Tensor>,
    pub(crate) q: Linear,
    pub(crate) k: Linear,
    pub(crate) v: Linear,
    pub(crate) output: Linear,
    pub(crate) q_norm: Option<Tensor>,
    pub(crate) k_norm: Option<Tensor>,
    pub(crate) after_attention_norm: Option<Tensor>,
    pub(crate) mlp_norm: Option<Tensor>,
    pub(crate) feed_forward: FeedForward,
    pub(crate) after_mlp_norm: Option<Tensor>,
}

/// What all layers of one pass share.
struct Pass {
    angles: Angles,
    window_angles: Option<Angles>,
    masks: Masks,
}

/// A row over a cache of this decoder's kind.
type Row<'a> = BatchRow<'a, KvCache>;

impl Decode for Decoder {
    fn facts(&self) -> DecoderFacts {
        let ModelConfig { architecture, vocab, context, .. } = self.config;
        let family = architecture.name;
        DecoderFacts { family, vocab, context, is_batched: true, gives_all_logits: true }
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn ledger(&self) -> &Arc<Ledger> {
        self.kv.ledger()
    }

    fn pulse(&self) -> &Arc<AtomicU64> {
        &self.pulse
    }

    fn new_cache(&self) -> Box<dyn Cache> {
        Box::new(KvCache::new(Arc::clone(&self.kv)))
    }

    fn forward(&self, rows: &mut [BatchRow<'_>]) -> Result<Tensor, ForwardError> {
        let rows = rows.iter_mut().map(BatchRow::of_kind);
        self.compute(&mut rows.collect::<Result<Vec<_>, _>>()?)
    }
}

impl Decoder {
    /// Returns the sizes and settings.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns the memory that the weights take, in bytes.
    pub(super) fn weight_bytes(&self) -> u64 {
        let matrices = |layer: &Layer| {
            let attention = [&layer.q, &layer.k, &layer.v, &layer.output];
            let attention = attention.iter().map(|linear| linear.weight.bytes()).sum::<u64>();
            attention + layer.feed_forward.bytes()
        };
        let head = if self.config.tied { 0 } else { self.head.bytes() };
        self.embedding.bytes() + head + self.layers.iter().map(matrices).sum::<u64>()
    }

    fn compute(&self, rows: &mut [Row<'_>]) -> Result<Tensor, ForwardError> {
        let (ids, positions) = self.check(rows)?;
        for row in rows.iter_mut() {
            row.cache.reserve(row.tokens.len())?;
        }
        let count = ids.len();
        let ids = Tensor::from_vec(ids, count, &self.device)?;
        let pass = self.pass(&positions)?;
        let mut x = self.embedding.rows(&ids)?.to_dtype(self.dtype)?;
        if self.config.architecture.scales_embedding {
            x = (&x * (self.config.hidden as f64).sqrt())?;
        }
        for (index, layer) in self.layers.iter().enumerate() {
            x = self.layer(index, layer, &x, rows, &pass)?;
            self.pulse.fetch_add(1, Ordering::Relaxed);
        }
        let logits = self.logits(&x, &wanted(rows))?;
        for row in rows.iter_mut() {
            row.cache.advance(row.tokens.len());
        }
        Ok(logits)
    }

    /// Checks the rows. Returns all their tokens and positions.
    fn check(&self, rows: &[Row<'_>]) -> Result<(Vec<u32>, Vec<usize>), ForwardError> {
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        for row in rows {
            row.check(self.config.vocab, self.config.context)?;
            let start = row.cache.len();
            ids.extend_from_slice(row.tokens);
            positions.extend(start..start + row.tokens.len());
        }
        if ids.is_empty() {
            return Err(ForwardError::EmptyRow);
        }
        Ok((ids, positions))
    }

    fn pass(&self, positions: &[usize]) -> candle_core::Result<Pass> {
        let angles = |rope: &Rope| rope.angles(positions, &self.device);
        Ok(Pass {
            angles: angles(&self.rope)?,
            window_angles: self.window_rope.as_ref().map(angles).transpose()?,
            masks: Masks::default(),
        })
    }

    /// Computes one layer over the tokens of all rows, [tokens, hidden].
    fn layer(
        &self,
        index: usize,
        layer: &Layer,
        x: &Tensor,
        rows: &[Row<'_>],
        pass: &Pass,
    ) -> candle_core::Result<Tensor> {
        let normed = self.norm_where(x, layer.attention_norm.as_ref())?;
        let mixed = self.attention(index, layer, &normed, rows, pass)?;
        let mixed = layer.output.forward(&mixed)?;
        let mixed = self.norm_where(&mixed, layer.after_attention_norm.as_ref())?;
        let x = elementwise::add(x, &mixed)?;
        let normed = self.norm_where(&x, layer.mlp_norm.as_ref())?;
        let fed = layer.feed_forward.forward(self.config.architecture.activation, &normed)?;
        elementwise::add(&x, &self.norm_where(&fed, layer.after_mlp_norm.as_ref())?)
    }

    /// Projects the tokens of all rows together, and attends each row to its own cache.
    fn attention(
        &self,
        index: usize,
        layer: &Layer,
        x: &Tensor,
        rows: &[Row<'_>],
        pass: &Pass,
    ) -> candle_core::Result<Tensor> {
        let sizes @ Heads { heads, kv_heads, head_dim, .. } = self.config.heads();
        let tokens = x.dim(0)?;
        let [q, k, v] = Linear::forward_all([&layer.q, &layer.k, &layer.v], x)?;
        let v = v.reshape((tokens, kv_heads, head_dim))?;
        let mut q = self.heads(q, heads, layer.q_norm.as_ref())?;
        let mut k = self.heads(k, kv_heads, layer.k_norm.as_ref())?;
        if layer.span.turns {
            let of_window = pass.window_angles.as_ref().filter(|_| layer.span.window.is_some());
            let angles = of_window.unwrap_or(&pass.angles);
            (q, k) = (angles.apply(&q)?, angles.apply(&k)?);
        }
        let mut start = 0;
        let mut sequences = Vec::with_capacity(rows.len());
        for BatchRow { tokens, cache, .. } in rows {
            let tokens = tokens.len();
            cache.write(index, &k.narrow(0, start, tokens)?, &v.narrow(0, start, tokens)?)?;
            sequences.push(Sequence { cache, tokens });
            start += tokens;
        }
        attend(sizes, index, layer.span.window, &q, &sequences, &pass.masks)
    }

    /// Reshapes x [tokens, heads * head_dim] to [tokens, heads, head_dim]. Normalises it if the family does: each head,
    /// or all together, depending on the norm's width.
    fn heads(&self, x: Tensor, heads: usize, norm: Option<&Tensor>) -> candle_core::Result<Tensor> {
        let (tokens, width) = x.dims2()?;
        let shape = (tokens, heads, self.config.head_dim);
        match norm {
            Some(norm) if norm.elem_count() == width => self.norm(&x, norm)?.reshape(shape),
            Some(norm) => self.norm(&x.reshape(shape)?, norm),
            None => x.reshape(shape),
        }
    }

    /// Returns the logits of the wanted tokens of x [tokens, hidden].
    fn logits(&self, x: &Tensor, wanted: &[u32]) -> candle_core::Result<Tensor> {
        if wanted.is_empty() {
            // On the host: some devices cannot allocate zero bytes.
            return Tensor::zeros((0, self.config.vocab), DType::F32, &Device::Cpu);
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

    fn norm_where(&self, x: &Tensor, weight: Option<&Tensor>) -> candle_core::Result<Tensor> {
        match weight {
            Some(weight) => self.norm(x, weight),
            None => Ok(x.clone()),
        }
    }
}

/// Returns the indices, over the tokens of all rows, of those whose logits are wanted.
fn wanted(rows: &[Row<'_>]) -> Vec<u32> {
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
