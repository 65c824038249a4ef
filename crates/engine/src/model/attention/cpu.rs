//! Attention on the CPU, over a cache's blocks in place.
//!
//! Why not candle's matrix products: they need keys and values in one piece, which blocks are not, and for the single
//! query of a decode step most of their time goes into making tensors. Here every query is computed on its own, block
//! after block of its sequence, with a running softmax (Milakov and Gimelshein 2018, arXiv 1805.02867). So the result
//! is the same bit for bit, however many tokens, sequences or threads share the pass.
//!
//! Keys lie dimension by dimension in a block, so the scores of all its positions are summed side by side in the lanes
//! of a few vectors. Two queries at a time share what is read.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Result, Storage, Tensor, bail};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::model::{
    cache::Sequence,
    config::Heads,
    exp::exp,
    seam::{BLOCK, Cache as _},
};

/// Tokens in one piece of work: a block's keys stay in the nearest cache for all of them.
const TILE: usize = 8;
/// Below this many multiplications, threads cost more than they save.
const PARALLEL_FROM: usize = 1 << 18;

/// A tile's queries over one group of heads.
struct Piece<'a> {
    sizes: Heads,
    /// How many positions a query attends to, including its own.
    window: usize,
    /// [tokens, heads, head_dim] of the whole sequence's new tokens.
    queries: &'a [f32],
    /// For each block: keys [kv_heads, head_dim, BLOCK], then values [BLOCK, kv_heads, head_dim].
    blocks: &'a [&'a [f32]],
    /// Tokens before the new ones.
    past: usize,
    /// The tile: which of the new tokens.
    first: usize,
    tokens: usize,
    kv_head: usize,
}

/// Like [`super::attend`], for f32 on the CPU.
pub(super) fn attend(
    sizes: Heads,
    layer: usize,
    window: Option<usize>,
    queries: &Tensor,
    sequences: &[Sequence<'_>],
) -> Result<Tensor> {
    let window = window.unwrap_or(usize::MAX);
    let width = sizes.heads * sizes.head_dim;
    let (all_queries, offset) = cpu_f32(queries)?;
    let all_queries = &values(&all_queries)?[offset..];
    let mut guards = Vec::new();
    for sequence in sequences {
        let count = (sequence.cache.len() + sequence.tokens).div_ceil(BLOCK);
        for block in &sequence.cache.blocks()[..count] {
            guards.push(cpu_f32(block.data())?);
        }
    }
    let per_layer = 2 * BLOCK * sizes.kv_heads * sizes.head_dim;
    let mut blocks = Vec::with_capacity(guards.len());
    for (guard, offset) in &guards {
        blocks.push(&values(guard)?[offset + layer * per_layer..][..per_layer]);
    }
    let (mut pieces, mut work) = (Vec::new(), 0);
    let (mut start, mut block) = (0, 0);
    for sequence in sequences {
        let past = sequence.cache.len();
        let count = (past + sequence.tokens).div_ceil(BLOCK);
        for first in (0..sequence.tokens).step_by(TILE) {
            for kv_head in 0..sizes.kv_heads {
                let queries = &all_queries[start * width..];
                let blocks = &blocks[block..block + count];
                let tokens = TILE.min(sequence.tokens - first);
                pieces.push(Piece { sizes, window, queries, blocks, past, first, tokens, kv_head });
            }
        }
        work += sequence.tokens * (past + sequence.tokens).min(window) * width;
        start += sequence.tokens;
        block += count;
    }
    let arch = Arch::new();
    let mixed: Vec<Vec<f32>> = if work < PARALLEL_FROM {
        pieces.iter().map(|piece| arch.dispatch(piece)).collect()
    } else {
        pieces.par_iter().map(|piece| arch.dispatch(piece)).collect()
    };
    let mut out = vec![0.0; start * width];
    let (mut tile, group) = (0, width / sizes.kv_heads);
    for of_tile in mixed.chunks(sizes.kv_heads) {
        let tokens = of_tile[0].len() / group;
        for (kv_head, mixed) in of_tile.iter().enumerate() {
            for (token, mixed) in mixed.chunks_exact(group).enumerate() {
                out[(tile + token) * width + kv_head * group..][..group].copy_from_slice(mixed);
            }
        }
        tile += tokens;
    }
    Tensor::from_vec(out, (start, width), queries.device())
}

/// Returns a contiguous tensor's storage, and where the tensor begins in it.
fn cpu_f32(tensor: &Tensor) -> Result<(impl Deref<Target = Storage>, usize)> {
    let (storage, layout) = tensor.storage_and_layout();
    match layout.contiguous_offsets() {
        Some((start, _)) => Ok((storage, start)),
        None => bail!("attention needs contiguous tensors"),
    }
}

fn values(storage: &Storage) -> Result<&[f32]> {
    match storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(values),
        _ => bail!("attention on the CPU is computed in f32"),
    }
}

impl WithSimd for &Piece<'_> {
    /// [tokens, heads of the group, head_dim].
    type Output = Vec<f32>;

    // No closures from here on: one would be compiled without the CPU's vector instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Heads { heads, kv_heads, head_dim, scale } = self.sizes;
        let group = heads / kv_heads;
        let row = kv_heads * head_dim;
        let mut mixed = vec![0.0; self.tokens * group * head_dim];
        let mut running = vec![Running::default(); self.tokens * group];
        for (index, block) in self.blocks.iter().enumerate() {
            let (keys, values) = block.split_at(BLOCK * row);
            let keys = &keys[self.kv_head * head_dim * BLOCK..][..head_dim * BLOCK];
            let values = &values[self.kv_head * head_dim..];
            let pairs = mixed.chunks_mut(2 * head_dim).zip(running.chunks_mut(2));
            for (pair, (mixed, running)) in pairs.enumerate() {
                let last = 2 * pair + running.len() - 1;
                if self.visible(2 * pair, index).is_empty() && self.visible(last, index).is_empty()
                {
                    continue;
                }
                let mut scores = [[0.0; BLOCK]; 2];
                let first = self.query(2 * pair);
                match running.len() {
                    2 => score(simd, [first, self.query(2 * pair + 1)], keys, &mut scores),
                    _ => {
                        let [scores, _] = &mut scores;
                        score(simd, [first], keys, std::array::from_mut(scores));
                    }
                }
                let each = mixed.chunks_exact_mut(head_dim).zip(running).zip(&mut scores);
                for (at, ((mixed, running), scores)) in each.enumerate() {
                    let visible = self.visible(2 * pair + at, index);
                    if visible.is_empty() {
                        continue;
                    }
                    for (position, score) in scores.iter_mut().enumerate() {
                        let is_visible = position >= visible.start && position < visible.end;
                        *score = if is_visible { *score * scale } else { f32::NEG_INFINITY };
                    }
                    let before = running.weigh(scores);
                    if before != 1.0 {
                        for mixed in mixed.iter_mut() {
                            *mixed *= before;
                        }
                    }
                    for eight in visible.start / 8..visible.end.div_ceil(8) {
                        // The weights of positions that are not visible are zero.
                        let values = rows(values, 8 * eight, row, head_dim);
                        add_8(simd, mixed, &scores[8 * eight..][..8], values);
                    }
                }
            }
        }
        for (mixed, running) in mixed.chunks_exact_mut(head_dim).zip(&running) {
            let share = 1.0 / running.sum;
            for mixed in mixed {
                *mixed *= share;
            }
        }
        mixed
    }
}

impl Piece<'_> {
    /// Returns a query of the tile: of its tokens, the heads of the group one after the other.
    #[inline(always)]
    fn query(&self, at: usize) -> &[f32] {
        let Heads { heads, kv_heads, head_dim, .. } = self.sizes;
        let group = heads / kv_heads;
        let (token, head) = (self.first + at / group, self.kv_head * group + at % group);
        &self.queries[(token * heads + head) * head_dim..][..head_dim]
    }

    /// Returns which positions of a block a query of the tile attends to.
    #[inline(always)]
    fn visible(&self, at: usize, block: usize) -> Range<usize> {
        let group = self.sizes.heads / self.sizes.kv_heads;
        let (end, start) = (self.past + self.first + at / group + 1, block * BLOCK);
        let from = end.saturating_sub(self.window).saturating_sub(start);
        from..end.saturating_sub(start).min(BLOCK)
    }
}

/// Returns the vectors of eight positions.
#[inline(always)]
fn rows(all: &[f32], first: usize, row: usize, head_dim: usize) -> [&[f32]; 8] {
    let all = &all[first * row..];
    [
        &all[..head_dim],
        &all[row..][..head_dim],
        &all[2 * row..][..head_dim],
        &all[3 * row..][..head_dim],
        &all[4 * row..][..head_dim],
        &all[5 * row..][..head_dim],
        &all[6 * row..][..head_dim],
        &all[7 * row..][..head_dim],
    ]
}

/// A running softmax.
#[derive(Debug, Clone, Copy)]
struct Running {
    max: f32,
    sum: f32,
}

impl Default for Running {
    fn default() -> Self {
        Running { max: f32::NEG_INFINITY, sum: 0.0 }
    }
}

impl Running {
    /// Turns the next block's scores into weights. Returns the factor for what was summed so far.
    #[inline(always)]
    fn weigh(&mut self, scores: &mut [f32; BLOCK]) -> f32 {
        let mut max = self.max;
        for score in scores.iter() {
            max = if *score > max { *score } else { max };
        }
        let before = if max == self.max { 1.0 } else { exp(self.max - max) };
        for score in scores.iter_mut() {
            *score = exp(*score - max);
        }
        // In a fixed order, over eight lanes.
        let mut lanes = [0.0; 8];
        for weights in scores.chunks_exact(8) {
            for (lane, weight) in lanes.iter_mut().zip(weights) {
                *lane += weight;
            }
        }
        let mut sum = self.sum * before;
        for lane in lanes {
            sum += lane;
        }
        *self = Running { max, sum };
        before
    }
}

/// Computes the products of queries with the keys of a block, [head_dim, BLOCK]. Each is summed from the first
/// dimension to the last.
#[inline(always)]
fn score<S: Simd, const N: usize>(
    simd: S,
    queries: [&[f32]; N],
    keys: &[f32],
    scores: &mut [[f32; BLOCK]; N],
) {
    // Several sums at once hide that each waits for the one before.
    match BLOCK % (4 * S::F32_LANES) {
        0 => score_by::<S, N, 4>(simd, queries, keys, scores),
        _ => score_by::<S, N, 1>(simd, queries, keys, scores),
    }
}

/// Like [`score`], over this many vectors of positions at a time.
#[inline(always)]
fn score_by<S: Simd, const N: usize, const VECTORS: usize>(
    simd: S,
    queries: [&[f32]; N],
    keys: &[f32],
    scores: &mut [[f32; BLOCK]; N],
) {
    let positions = VECTORS * S::F32_LANES;
    for first in (0..BLOCK).step_by(positions) {
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; N];
        for (dimension, keys) in keys.chunks_exact(BLOCK).enumerate() {
            let (keys, _) = S::as_simd_f32s(&keys[first..][..positions]);
            for (query, sums) in queries.iter().zip(&mut sums) {
                let query = simd.splat_f32s(query[dimension]);
                for (sum, key) in sums.iter_mut().zip(keys) {
                    *sum = simd.mul_add_f32s(query, *key, *sum);
                }
            }
        }
        for (sums, scores) in sums.iter().zip(scores.iter_mut()) {
            let (scores, _) = S::as_mut_simd_f32s(&mut scores[first..][..positions]);
            scores.copy_from_slice(sums);
        }
    }
}

/// Adds eight vectors, each multiplied by its weight, in order.
#[inline(always)]
fn add_8<S: Simd>(simd: S, mixed: &mut [f32], weights: &[f32], values: [&[f32]; 8]) {
    let (mixed, mixed_tail) = S::as_mut_simd_f32s(mixed);
    let mut vectors = [&[] as &[S::f32s]; 8];
    let mut tails = [&[] as &[f32]; 8];
    let mut splats = [simd.splat_f32s(0.0); 8];
    for at in 0..8 {
        (vectors[at], tails[at]) = S::as_simd_f32s(values[at]);
        vectors[at] = &vectors[at][..mixed.len()];
        splats[at] = simd.splat_f32s(weights[at]);
    }
    for (at, mixed) in mixed.iter_mut().enumerate() {
        let mut sum = *mixed;
        for (weight, values) in splats.iter().zip(&vectors) {
            sum = simd.mul_add_f32s(*weight, values[at], sum);
        }
        *mixed = sum;
    }
    for (weight, values) in weights.iter().zip(tails) {
        for (mixed, value) in mixed_tail.iter_mut().zip(values) {
            *mixed += weight * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{DType, Device};
    use proptest::prelude::*;

    use super::{
        super::gathered::{Masks, attend_gathered, gather},
        *,
    };
    use crate::model::{
        cache::{Allocator, KvCache},
        testing::{self, bits},
    };

    /// [positions, heads, head_dim], between -2 and 2.
    fn noise(seed: u32, (positions, heads, head_dim): (usize, usize, usize)) -> Tensor {
        let flat = testing::noise(positions, heads * head_dim, seed);
        (flat * 2.0).unwrap().reshape((positions, heads, head_dim)).unwrap()
    }

    /// Makes new tokens' queries, and a cache with all keys and values in which the new tokens are not counted yet.
    fn drawn(seed: u32, sizes: Heads, past: usize, tokens: usize) -> (Tensor, KvCache) {
        let allocator = Arc::new(Allocator::new(2, sizes, DType::F32, Device::Cpu));
        let mut cache = KvCache::new(allocator);
        let kv = (past + tokens, sizes.kv_heads, sizes.head_dim);
        let (keys, values) = (noise(seed ^ 1, kv), noise(seed ^ 2, kv));
        cache.reserve(past + tokens).unwrap();
        cache.write(1, &keys, &values).unwrap();
        cache.advance(past);
        (noise(seed ^ 3, (tokens, sizes.heads, sizes.head_dim)), cache)
    }

    /// Scores a block in two ways.
    struct BothWays<'a> {
        queries: [&'a [f32]; 2],
        keys: &'a [f32],
    }

    impl WithSimd for BothWays<'_> {
        type Output = [[[f32; BLOCK]; 2]; 2];

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let mut scores = [[[0.0; BLOCK]; 2]; 2];
            score_by::<S, 2, 1>(simd, self.queries, self.keys, &mut scores[0]);
            score(simd, self.queries, self.keys, &mut scores[1]);
            scores
        }
    }

    #[test]
    fn scores_do_not_depend_on_how_many_are_summed_at_once() {
        let keys: Vec<f32> = testing::noise(20, BLOCK, 1).flatten_all().unwrap().to_vec1().unwrap();
        let queries: Vec<Vec<f32>> = testing::noise(2, 20, 2).to_vec2().unwrap();
        let queries = [&queries[0][..], &queries[1]];
        let [one, several] = Arch::new().dispatch(BothWays { queries, keys: &keys });
        assert_eq!(one, several);
        let dot: f32 = (0..20).map(|at| queries[1][at] * keys[at * BLOCK + 7]).sum();
        assert!((one[1][7] - dot).abs() < 1e-5);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        #[test]
        fn it_is_the_plain_attention_and_the_same_to_the_bit_in_any_company(
            seed: u32,
            kv_heads in 1usize..4,
            group in 1usize..4,
            half_dim in 1usize..40,
            past in 0usize..100,
            tokens in 1usize..70,
            window in proptest::option::of(1usize..120),
            scale in 0.1f32..0.5,
        ) {
            let sizes = Heads { heads: kv_heads * group, kv_heads, head_dim: 2 * half_dim, scale };
            let (queries, mut cache) = drawn(seed, sizes, past, tokens);
            let sequence = Sequence { cache: &cache, tokens };
            let mixed = attend(sizes, 1, window, &queries, &[sequence]).unwrap();
            let (keys, values) = gather(1, &sequence, DType::F32).unwrap();
            let plain = attend_gathered(sizes, window, &queries, &keys, &values, &Masks::default()).unwrap();
            let apart = (&mixed - plain).unwrap().abs().unwrap().max_all().unwrap();
            // A score of 150 is rounded to 1e-5, and a weight is its exponential.
            prop_assert!(apart.to_scalar::<f32>().unwrap() < 1e-4, "{apart}");

            // Beside another sequence.
            let (other_queries, other) = drawn(seed ^ 1, sizes, 40, 3);
            let both = Tensor::cat(&[&other_queries, &queries], 0).unwrap();
            let sequences = [Sequence { cache: &other, tokens: 3 }, sequence];
            let both = attend(sizes, 1, window, &both, &sequences).unwrap();
            prop_assert_eq!(bits(&both.narrow(0, 3, tokens).unwrap()), bits(&mixed));

            // Token by token.
            for token in 0..tokens {
                let one = queries.narrow(0, token, 1).unwrap();
                let alone = attend(sizes, 1, window, &one, &[Sequence { cache: &cache, tokens: 1 }]).unwrap();
                prop_assert_eq!(bits(&alone), bits(&mixed.narrow(0, token, 1).unwrap()));
                cache.advance(1);
            }
        }
    }
}
