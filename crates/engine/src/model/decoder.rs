//! The decoder: one forward pass over any number of sequences. `load` builds it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use candle_core::{DType, Device, Tensor};

use crate::{device::one_line, error::ForwardError};

use super::{
    attention::{Masks, attend},
    cache::{Allocator, KvCache, Sequence},
    config::{Heads, LayerSpan, ModelConfig},
    elementwise,
    feed_forward::{FeedForward, Gate},
    fused::{Fused, FusedAttention, Places},
    rope::{Angles, Rope},
    seam::{BatchRow, Cache, Decode, DecoderFacts, Ledger, WantedLogits},
    weight::{Joined, Linear, Weight},
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
    /// Kernels that do in one step what lies between the matrix products, if there are any for the device.
    pub(crate) fused: Option<Fused>,
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
    /// Queries, keys and values.
    pub(crate) qkv: Joined<3>,
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
    /// Where the fused kernels find the caches.
    places: Option<Places>,
}

/// Tokens of the long sequence on which the fused kernels are tried: more than one split and one block of queries.
const TRIAL_TOKENS: usize = 300;

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
            layer.qkv.bytes() + layer.output.weight.bytes() + layer.feed_forward.bytes()
        };
        let head = if self.config.tied { 0 } else { self.head.bytes() };
        self.embedding.bytes() + head + self.layers.iter().map(matrices).sum::<u64>()
    }

    /// Takes the fused kernels into use, if there are any for the device and these sizes, and if they compute what the
    /// plain path does. Returns a line about kernels that cannot be used.
    pub(super) fn fuse(&mut self) -> Option<String> {
        let without = |why: String| {
            Some(format!("the fused kernels are not used, which costs speed: {why}; report this"))
        };
        let fused = match Fused::load(&self.config, self.dtype, self.kv.dtype(), &self.device) {
            Ok(fused) => fused?,
            Err(why) => return without(one_line(&why)),
        };
        // If the plain path fails, the first pass will say so.
        let plain = self.trial().ok()?;
        self.fused = Some(fused);
        let why = match self.trial().map(|logits| relative_distance(&logits, &plain)) {
            Ok(apart) if apart <= self.most_apart() => return None,
            Ok(apart) => {
                let percent = 100.0 * apart;
                format!("their logits are {percent:.1} % from those of the plain path")
            }
            Err(why) => one_line(&why),
        };
        self.fused = None;
        without(why)
    }

    /// Returns whether the fused kernels compute what lies between the products.
    pub fn is_fused(&self) -> bool {
        self.fused.is_some()
    }

    /// Returns how far apart the logits of the fused kernels and of the plain path may be, as a fraction of their
    /// length. Rounding to half precision in every layer makes one or two hundredths, and more where it sends a token
    /// to other experts; a defect makes much more.
    fn most_apart(&self) -> f64 {
        if self.config.experts.is_some() { 0.5 } else { 0.1 }
    }

    /// Returns logits from passes of several kinds: a long prefill, single tokens after it, two sequences at once.
    fn trial(&self) -> candle_core::Result<Vec<f32>> {
        let vocab = self.config.vocab as u32;
        let long = TRIAL_TOKENS.min(self.config.context.saturating_sub(3));
        let tokens: Vec<u32> =
            (0..TRIAL_TOKENS as u32 + 3).map(|at| (7 * at + 3) % vocab).collect();
        let mut caches = [0, 1].map(|_| KvCache::new(Arc::clone(&self.kv)));
        let mut logits = Vec::new();
        let [first, second] = &mut caches;
        let mut pass = |rows: &mut [(&mut KvCache, &[u32])]| -> candle_core::Result<()> {
            let rows = rows.iter_mut().map(|(cache, tokens)| Row {
                tokens,
                cache,
                logits: WantedLogits::Last,
            });
            let rows = &mut rows.collect::<Vec<_>>();
            let found = self.compute(rows).map_err(candle_core::Error::wrap)?;
            logits.extend(found.flatten_all()?.to_vec1::<f32>()?);
            Ok(())
        };
        pass(&mut [(first, &tokens[..long])])?;
        pass(&mut [(first, &tokens[long..=long])])?;
        pass(&mut [(first, &tokens[long + 1..long + 2]), (second, &tokens[..3])])?;
        pass(&mut [(second, &tokens[3..4]), (first, &tokens[long + 2..long + 3])])?;
        Ok(logits)
    }

    fn compute(&self, rows: &mut [Row<'_>]) -> Result<Tensor, ForwardError> {
        let (ids, positions) = self.check(rows)?;
        for row in rows.iter_mut() {
            row.cache.reserve(row.tokens.len())?;
        }
        let count = ids.len();
        let ids = Tensor::from_vec(ids, count, &self.device)?;
        let pass = self.pass(&positions, rows)?;
        let mut x = self.embedding.rows(&ids)?.to_dtype(self.dtype)?;
        if self.config.architecture.scales_embedding {
            x = (&x * (self.config.hidden as f64).sqrt())?;
        }
        let first = |layers: &[Layer]| layers.first().and_then(|it| it.attention_norm.clone());
        let mut normed = self.norm_where(&x, first(&self.layers).as_ref())?;
        for (index, layer) in self.layers.iter().enumerate() {
            let next = first(&self.layers[index + 1..]);
            (x, normed) = self.layer(index, layer, (&x, &normed), next.as_ref(), rows, &pass)?;
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

    fn pass(&self, positions: &[usize], rows: &[Row<'_>]) -> candle_core::Result<Pass> {
        let angles = |rope: &Rope| rope.angles(positions, &self.device);
        Ok(Pass {
            angles: angles(&self.rope)?,
            window_angles: self.window_rope.as_ref().map(angles).transpose()?,
            masks: Masks::default(),
            places: match &self.fused {
                Some(fused) => Some(fused.places(&sequences(rows))?),
                None => None,
            },
        })
    }

    /// Computes one layer over the tokens of all rows, [tokens, hidden], and the norm that the next one begins with.
    fn layer(
        &self,
        index: usize,
        layer: &Layer,
        (x, normed): (&Tensor, &Tensor),
        next_norm: Option<&Tensor>,
        rows: &[Row<'_>],
        pass: &Pass,
    ) -> candle_core::Result<(Tensor, Tensor)> {
        let mixed = self.attention(index, layer, normed, rows, pass)?;
        let mixed = layer.output.forward(&mixed)?;
        let mixed = self.norm_where(&mixed, layer.after_attention_norm.as_ref())?;
        let (x, normed) = self.add_and_norm(x, &mixed, layer.mlp_norm.as_ref())?;
        let activation = self.config.architecture.activation;
        let gate = Gate { activation, fused: self.fused.as_ref() };
        let fed = layer.feed_forward.forward(gate, &normed)?;
        let fed = self.norm_where(&fed, layer.after_mlp_norm.as_ref())?;
        self.add_and_norm(&x, &fed, next_norm)
    }

    /// Returns x + y, and its norm.
    fn add_and_norm(
        &self,
        x: &Tensor,
        y: &Tensor,
        norm: Option<&Tensor>,
    ) -> candle_core::Result<(Tensor, Tensor)> {
        if let (Some(fused), Some(norm)) = (&self.fused, norm) {
            return fused.add_and_norm(x, y, norm, self.config.rms_eps);
        }
        let sum = elementwise::add(x, y)?;
        let normed = self.norm_where(&sum, norm)?;
        Ok((sum, normed))
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
        let of_window = pass.window_angles.as_ref().filter(|_| layer.span.window.is_some());
        let angles = of_window.unwrap_or(&pass.angles);
        let angles = layer.span.turns.then_some(angles);
        if let (Some(fused), Some(places)) = (&self.fused, &pass.places) {
            let of_layer = FusedAttention {
                index,
                window: layer.span.window,
                qkv: &layer.qkv,
                head_norms: [layer.q_norm.as_ref(), layer.k_norm.as_ref()],
                angles,
                eps: self.config.rms_eps,
            };
            return fused.attention(&of_layer, layer.qkv.products(x)?, &sequences(rows), places);
        }
        let tokens = x.dim(0)?;
        let [q, k, v] = layer.qkv.forward(x)?;
        let v = v.reshape((tokens, kv_heads, head_dim))?;
        let mut q = self.heads(q, heads, layer.q_norm.as_ref())?;
        let mut k = self.heads(k, kv_heads, layer.k_norm.as_ref())?;
        if let Some(angles) = angles {
            (q, k) = (angles.apply(&q)?, angles.apply(&k)?);
        }
        let mut start = 0;
        for BatchRow { tokens, cache, .. } in rows {
            let tokens = tokens.len();
            cache.write(index, &k.narrow(0, start, tokens)?, &v.narrow(0, start, tokens)?)?;
            start += tokens;
        }
        attend(sizes, index, layer.span.window, &q, &sequences(rows), &pass.masks)
    }

    /// Reshapes x [tokens, heads * head_dim] to [tokens, heads, head_dim]. Normalises it if the family does: each head,
    /// or all together, depending on the norm's width.
    fn heads(&self, x: Tensor, heads: usize, norm: Option<&Tensor>) -> candle_core::Result<Tensor> {
        let (tokens, width) = x.dims2()?;
        let shape = (tokens, heads, self.config.head_dim);
        match norm {
            // It may be some columns of a larger product.
            Some(norm) if norm.elem_count() == width => {
                self.norm(&x.contiguous()?, norm)?.reshape(shape)
            }
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
        elementwise::rms_norm(x, weight, self.config.rms_eps)
    }

    fn norm_where(&self, x: &Tensor, weight: Option<&Tensor>) -> candle_core::Result<Tensor> {
        match weight {
            Some(weight) => self.norm(x, weight),
            None => Ok(x.clone()),
        }
    }
}

/// Returns |a - b| / |b|; not a number if anything is not.
fn relative_distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = |numbers: &mut dyn Iterator<Item = f32>| {
        numbers.map(|number| f64::from(number).powi(2)).sum::<f64>()
    };
    let apart = squares(&mut a.iter().zip(b).map(|(a, b)| a - b));
    (apart / squares(&mut b.iter().copied())).sqrt()
}

/// Returns the sequences of a pass, whose caches have room for the new tokens.
fn sequences<'a>(rows: &'a [Row<'_>]) -> Vec<Sequence<'a>> {
    let sequence = |row: &'a Row<'_>| Sequence { cache: &*row.cache, tokens: row.tokens.len() };
    rows.iter().map(sequence).collect()
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::model::{LoadOptions, load_model};

    fn fixture(name: &str) -> Box<Decoder> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/logits");
        let location = PathBuf::from(folder).join(name).as_path().into();
        let decoder = load_model(&location, &LoadOptions::default(), &mut |_| {}).unwrap().decoder;
        let decoder: Box<dyn std::any::Any> = decoder;
        decoder.downcast().unwrap()
    }

    #[test]
    fn layers_in_one_matrix_compute_what_they_compute_apart() {
        for name in ["olmo2", "qwen2-gqa", "qwen3-wide-heads", "phi3-window", "qwen3-moe"] {
            let mut decoder = fixture(name);
            let apart = decoder.trial().unwrap();
            for layer in &mut decoder.layers {
                layer.qkv = Joined::in_one(layer.qkv.layers().clone()).unwrap();
            }
            let joined = decoder.trial().unwrap();
            let distance = relative_distance(&joined, &apart);
            assert!(distance < 1e-4, "{name}: {distance}");
        }
    }

    #[test]
    fn a_trial_gives_back_what_it_takes_and_repeats_itself() {
        let decoder = fixture("gemma3");
        let logits = decoder.trial().unwrap();
        assert!(logits.iter().all(|logit| logit.is_finite()));
        assert_eq!(logits.len(), 6 * decoder.config.vocab);
        assert_eq!(decoder.kv.ledger().live_blocks(), 0);
        assert_eq!(relative_distance(&decoder.trial().unwrap(), &logits), 0.0);
    }

    #[test]
    fn a_distance_is_relative_and_never_small_for_what_is_no_number() {
        assert_eq!(relative_distance(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(relative_distance(&[3.0, 9.0], &[3.0, 4.0]), 1.0);
        assert!(relative_distance(&[f32::NAN, 4.0], &[3.0, 4.0]).is_nan());
    }
}
