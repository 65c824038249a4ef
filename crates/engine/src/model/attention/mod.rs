//! Grouped-query attention over caches, computed by one of two implementations.
//!
//! Keys and values are never repeated for the heads that share them. On the CPU a kernel of our own reads the blocks in
//! place (`cpu`); elsewhere they are gathered first (`gathered`).

mod cpu;
mod gathered;

use candle_core::{DType, Result, Tensor};

use self::gathered::{attend_gathered, gather};
use super::{cache::Sequence, config::Heads};

pub(crate) use self::gathered::Masks;

/// Attends `queries` [tokens of all sequences, heads, head_dim], each to its own sequence in a layer, or to a window of
/// it that ends at the query's own position. Returns [tokens, heads * head_dim].
pub(crate) fn attend(
    sizes: Heads,
    layer: usize,
    window: Option<usize>,
    queries: &Tensor,
    sequences: &[Sequence<'_>],
    masks: &Masks,
) -> Result<Tensor> {
    if queries.device().is_cpu() && queries.dtype() == DType::F32 {
        return cpu::attend(sizes, layer, window, queries, sequences);
    }
    let mut mixed = Vec::with_capacity(sequences.len());
    let mut start = 0;
    for sequence in sequences {
        let (keys, values) = gather(layer, sequence, queries.dtype())?;
        let own = queries.narrow(0, start, sequence.tokens)?;
        mixed.push(attend_gathered(sizes, window, &own, &keys, &values, masks)?);
        start += sequence.tokens;
    }
    Tensor::cat(&mixed, 0)
}
