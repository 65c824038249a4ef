//! Attention over candle's tensors, on any device: a sequence's blocks are gathered into one piece first.

use std::{cell::RefCell, collections::HashMap};

use candle_core::{D, DType, Device, Result, Tensor};

use crate::model::{cache::Sequence, config::Heads, seam::Cache as _};

/// Queries are processed in blocks of this many. So scores take memory linear in the context, and keys after a block
/// are not multiplied only to be masked.
const QUERY_BLOCK: usize = 128;

/// The masks of one pass. All layers need the same ones, and making one on the host and uploading it takes longer than
/// a layer's attention.
#[derive(Debug, Default)]
pub(crate) struct Masks(RefCell<HashMap<(usize, usize, usize), Tensor>>);

impl Masks {
    /// Returns the mask for the last t of len positions, [t, len]: zero where a query may look, minus infinity
    /// elsewhere.
    fn of(&self, t: usize, len: usize, window: usize, device: &Device) -> Result<Tensor> {
        let key = (t, len, window.min(len));
        if let Some(mask) = self.0.borrow().get(&key) {
            return Ok(mask.clone());
        }
        let mask = if window < len {
            let from = |query: usize| (len - t + query + 1).saturating_sub(window);
            let sees = |query, key| key >= from(query) && key <= len - t + query;
            mask(t, len, sees, device)?
        } else {
            // All queries see the positions before the last t, so only the others are made on the host.
            let past = Tensor::zeros((t, len - t), DType::F32, device)?;
            Tensor::cat(&[past, mask(t, t, |query, key| key <= query, device)?], 1)?
        };
        self.0.borrow_mut().insert(key, mask.clone());
        Ok(mask)
    }
}

/// Returns a sequence's keys and values in a layer, new ones included: each [kv_heads, len, head_dim], in this dtype.
pub(super) fn gather(
    layer: usize,
    sequence: &Sequence<'_>,
    dtype: DType,
) -> Result<(Tensor, Tensor)> {
    let len = sequence.cache.len() + sequence.tokens;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for block in sequence.cache.blocks() {
        let (k, v) = block.layer(layer)?;
        keys.push(k);
        values.push(v);
    }
    let whole = |blocks: &[Tensor]| {
        let whole = Tensor::cat(blocks, 0)?.narrow(0, 0, len)?.to_dtype(dtype)?;
        whole.transpose(0, 1)?.contiguous()
    };
    Ok((whole(&keys)?, whole(&values)?))
}

/// Attends `queries` [t, heads, head_dim], the last t positions of a sequence, to `keys` and `values` [kv_heads, len,
/// head_dim]. Returns [t, heads * head_dim].
pub(super) fn attend_gathered(
    sizes: Heads,
    window: Option<usize>,
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    masks: &Masks,
) -> Result<Tensor> {
    let window = window.unwrap_or(usize::MAX);
    let t = queries.dim(0)?;
    let past = keys.dim(1)? - t;
    let mut blocks = Vec::with_capacity(t.div_ceil(QUERY_BLOCK));
    for start in (0..t).step_by(QUERY_BLOCK) {
        let block = QUERY_BLOCK.min(t - start);
        let from = (past + start + 1).saturating_sub(window);
        let seen = past + start + block - from;
        blocks.push(attend_block(
            sizes,
            window,
            &queries.narrow(0, start, block)?,
            &keys.narrow(1, from, seen)?,
            &values.narrow(1, from, seen)?,
            masks,
        )?);
    }
    Tensor::cat(&blocks, 0)
}

fn attend_block(
    sizes: Heads,
    window: usize,
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    masks: &Masks,
) -> Result<Tensor> {
    let Heads { heads, kv_heads, head_dim, scale } = sizes;
    let t = queries.dim(0)?;
    let len = keys.dim(1)?;
    // The queries of the heads that share keys are stacked.
    let stacked = (kv_heads, heads / kv_heads * t, head_dim);
    let queries = (queries * f64::from(scale))?;
    let queries = queries.transpose(0, 1)?.contiguous()?.reshape(stacked)?;
    let mut scores = queries.matmul(&keys.transpose(1, 2)?)?.to_dtype(DType::F32)?;
    if t > 1 {
        let mask = masks.of(t, len, window, queries.device())?;
        scores = scores.reshape((heads, t, len))?.broadcast_add(&mask)?;
        scores = scores.reshape((kv_heads, heads / kv_heads * t, len))?;
    }
    let weights = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(values.dtype())?;
    let mixed = weights.matmul(values)?;
    mixed.reshape((heads, t, head_dim))?.transpose(0, 1)?.flatten_from(D::Minus2)?.contiguous()
}

/// Returns a mask [queries, keys]: zero where a query sees a key, minus infinity elsewhere.
fn mask(
    queries: usize,
    keys: usize,
    sees: impl Fn(usize, usize) -> bool,
    device: &Device,
) -> Result<Tensor> {
    let mask: Vec<f32> = (0..queries)
        .flat_map(|query| (0..keys).map(move |key| (query, key)))
        .map(|(query, key)| if sees(query, key) { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    Tensor::from_vec(mask, (queries, keys), device)
}
