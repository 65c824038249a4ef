//! The two kernels that take most of a decoder's time, by themselves and for any sizes: for benches and profiles.
//! Nothing in the engine uses this module.

use std::sync::Arc;

use candle_core::{
    DType, Device, Result, Tensor,
    quantized::{GgmlDType, QTensor},
};

use super::{
    attention::{Masks, attend},
    cache::{Allocator, KvCache, Sequence},
    config::Heads,
    seam::Cache as _,
    weight::Weight,
};

/// A quantised matrix on the CPU, as a decoder holds it.
#[derive(Debug)]
pub struct Matrix(Weight);

impl Matrix {
    /// Quantises `matrix`, f32 [outputs, inputs].
    ///
    /// # Errors
    /// If the format's blocks do not divide `inputs`.
    pub fn quantised(matrix: &Tensor, format: GgmlDType) -> Result<Self> {
        let blocks = QTensor::quantize(matrix, format)?;
        Weight::from_ggml(format, &blocks.data()?, matrix.dims2()?, &Device::Cpu).map(Matrix)
    }

    /// Returns the product with `x` f32 [rows, inputs], as [rows, outputs], by whichever kernel serves it here.
    ///
    /// # Errors
    /// If the sizes do not fit.
    pub fn multiply(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x)
    }
}

/// One layer's attention, for sessions of the same length.
#[derive(Debug)]
pub struct Attention {
    sizes: Heads,
    caches: Vec<KvCache>,
    tokens: usize,
}

impl Attention {
    /// Makes `sessions` caches of `context` tokens, all zeros; the last `tokens` of each are new.
    ///
    /// # Errors
    /// If there is not enough memory for them.
    pub fn new(
        (heads, kv_heads, head_dim): (usize, usize, usize),
        sessions: usize,
        context: usize,
        tokens: usize,
    ) -> Result<Self> {
        let scale = 1.0 / (head_dim as f32).sqrt();
        let sizes = Heads { heads, kv_heads, head_dim, scale };
        let allocator = Arc::new(Allocator::new(1, sizes, DType::F32, Device::Cpu));
        let caches = (0..sessions).map(|_| {
            let mut cache = KvCache::new(Arc::clone(&allocator));
            cache.reserve(context)?;
            cache.advance(context - tokens);
            Ok(cache)
        });
        Ok(Attention { sizes, caches: caches.collect::<Result<_>>()?, tokens })
    }

    /// Attends `queries` f32 [sessions * tokens, heads, head_dim]. Returns [sessions * tokens, heads * head_dim].
    ///
    /// # Errors
    /// If the sizes do not fit.
    pub fn attend(&self, queries: &Tensor) -> Result<Tensor> {
        let sequence = |cache| Sequence { cache, tokens: self.tokens };
        let sequences: Vec<Sequence<'_>> = self.caches.iter().map(sequence).collect();
        attend(self.sizes, 0, None, queries, &sequences, &Masks::default())
    }
}
