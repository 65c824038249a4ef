//! The keys and values of one sequence: allocated ahead in blocks, written in place, cut back by
//! changing a length.

use candle_core::{DType, Device, Result, Tensor};

use super::config::ModelConfig;

/// Positions are allocated in multiples of this.
const BLOCK: usize = 256;

/// The keys and values of one sequence, for every layer.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    len: usize,
    capacity: usize,
    context: usize,
    bytes_per_token: u64,
}

/// The keys and values of one layer, each of shape [kv_heads, capacity, head_dim].
#[derive(Debug)]
struct LayerCache {
    keys: Tensor,
    values: Tensor,
}

impl KvCache {
    pub(crate) fn new(config: &ModelConfig, dtype: DType, device: &Device) -> Result<Self> {
        let block = || Tensor::zeros((config.kv_heads, BLOCK, config.head_dim), dtype, device);
        let layers = (0..config.layers)
            .map(|_| Ok(LayerCache { keys: block()?, values: block()? }))
            .collect::<Result<Vec<_>>>()?;
        let per_layer = 2 * config.kv_width() * dtype.size_in_bytes();
        Ok(KvCache {
            layers,
            len: 0,
            capacity: BLOCK,
            context: config.context,
            bytes_per_token: (config.layers * per_layer) as u64,
        })
    }

    /// Length of the sequence in tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the sequence has no tokens.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything after the first `len` tokens; does nothing when there are fewer. Costs
    /// nothing: the memory stays for what comes next.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> u64 {
        self.capacity as u64 * self.bytes_per_token
    }

    /// Memory one more token takes, in bytes.
    pub fn bytes_per_token(&self) -> u64 {
        self.bytes_per_token
    }

    /// Makes room for `more` tokens. Doubles, so that a growing sequence is copied few times.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<()> {
        let needed = self.len + more;
        if needed <= self.capacity {
            return Ok(());
        }
        let context = self.context.next_multiple_of(BLOCK);
        let capacity = needed.next_multiple_of(BLOCK).max((self.capacity * 2).min(context));
        for layer in &mut self.layers {
            layer.keys = grown(&layer.keys, self.len, capacity)?;
            layer.values = grown(&layer.values, self.len, capacity)?;
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Writes keys and values [kv_heads, t, head_dim] of a layer behind the sequence and returns all
    /// of that layer's, as views [kv_heads, len + t, head_dim]. The length stays until `advance`, so
    /// that a pass that fails half way leaves the sequence as it was.
    pub(crate) fn write(
        &self,
        layer: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let cache = &self.layers[layer];
        cache.keys.slice_set(keys, 1, self.len)?;
        cache.values.slice_set(values, 1, self.len)?;
        let len = self.len + keys.dim(1)?;
        Ok((cache.keys.narrow(1, 0, len)?, cache.values.narrow(1, 0, len)?))
    }

    /// Counts tokens that all layers have written.
    pub(crate) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

/// A larger tensor with the same first `len` positions.
fn grown(old: &Tensor, len: usize, capacity: usize) -> Result<Tensor> {
    let (heads, _, width) = old.dims3()?;
    let new = Tensor::zeros((heads, capacity, width), old.dtype(), old.device())?;
    if len > 0 {
        new.slice_set(&old.narrow(1, 0, len)?.contiguous()?, 1, 0)?;
    }
    Ok(new)
}
