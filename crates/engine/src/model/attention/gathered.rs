//! Attention over candle's tensors, on any device: a sequence's blocks are gathered into one piece first.

use candle_core::{D, DType, Device, Result, Tensor};

use crate::model::{cache::Sequence, config::Heads};

/// Queries are taken in blocks of this many, so that scores take memory linear in the context and
/// keys after a block are not multiplied only to be masked.
const QUERY_BLOCK: usize = 128;

/// A sequence's keys and values in a layer, new ones included: each [kv_heads, len, head_dim].
pub(super) fn gather(layer: usize, sequence: &Sequence<'_>) -> Result<(Tensor, Tensor)> {
    let len = sequence.cache.len() + sequence.tokens;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for block in sequence.cache.blocks() {
        let (k, v) = block.layer(layer)?;
        keys.push(k);
        values.push(v);
    }
    let whole = |blocks: &[Tensor]| {
        Tensor::cat(blocks, 0)?.narrow(0, 0, len)?.transpose(0, 1)?.contiguous()
    };
    Ok((whole(&keys)?, whole(&values)?))
}

/// Attends `queries` [t, heads, head_dim], the last t positions of a sequence, to `keys` and `values`
/// [kv_heads, len, head_dim]; returns [t, heads * head_dim].
pub(super) fn attend_gathered(
    sizes: Heads,
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
) -> Result<Tensor> {
    let t = queries.dim(0)?;
    let past = keys.dim(1)? - t;
    if t <= QUERY_BLOCK {
        return attend_block(sizes, queries, keys, values);
    }
    let mut blocks = Vec::with_capacity(t.div_ceil(QUERY_BLOCK));
    for start in (0..t).step_by(QUERY_BLOCK) {
        let block = QUERY_BLOCK.min(t - start);
        let seen = past + start + block;
        blocks.push(attend_block(
            sizes,
            &queries.narrow(0, start, block)?,
            &keys.narrow(1, 0, seen)?,
            &values.narrow(1, 0, seen)?,
        )?);
    }
    Tensor::cat(&blocks, 0)
}

fn attend_block(sizes: Heads, queries: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let Heads { heads, kv_heads, head_dim } = sizes;
    let t = queries.dim(0)?;
    let len = keys.dim(1)?;
    // The queries of the heads that share keys are stacked.
    let stacked = (kv_heads, heads / kv_heads * t, head_dim);
    let queries = (queries * (1.0 / (head_dim as f64).sqrt()))?;
    let queries = queries.transpose(0, 1)?.contiguous()?.reshape(stacked)?;
    let mut scores = queries.matmul(&keys.transpose(1, 2)?)?.to_dtype(DType::F32)?;
    if t > 1 {
        let mask = causal_mask(t, len, queries.device())?;
        scores = scores.reshape((heads, t, len))?.broadcast_add(&mask)?;
        scores = scores.reshape((kv_heads, heads / kv_heads * t, len))?;
    }
    let weights = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(values.dtype())?;
    let mixed = weights.matmul(values)?;
    mixed.reshape((heads, t, head_dim))?.transpose(0, 1)?.flatten_from(D::Minus2)?.contiguous()
}

/// Zero where a query may look, minus infinity after it: [t, len] for the last t of len positions.
fn causal_mask(t: usize, len: usize, device: &Device) -> Result<Tensor> {
    let past = len - t;
    let mask: Vec<f32> = (0..t)
        .flat_map(|query| {
            (0..len).map(move |key| if key > past + query { f32::NEG_INFINITY } else { 0.0 })
        })
        .collect();
    Tensor::from_vec(mask, (t, len), device)
}
