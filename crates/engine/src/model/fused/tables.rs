//! Where the tokens of a pass are in the blocks of their caches, as arrays that kernels index. Pure: the addresses of
//! the blocks are inputs.

use crate::model::seam::BLOCK;

/// Positions that one group of threads attends to. Fixed, so that the result of a query that is attended to in place
/// does not depend on the others.
pub(super) const SPLIT: usize = 256;

/// A sequence of a pass.
pub(super) struct Placed {
    /// Tokens before the new ones.
    pub(super) past: usize,
    /// New tokens.
    pub(super) tokens: usize,
    /// Address of each of its blocks, in order.
    pub(super) blocks: Vec<u64>,
}

/// The tokens of a pass, in the order of their sequences.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tables {
    /// [tokens]: where each token's keys in the first layer begin.
    pub(super) slots: Vec<u64>,
    /// [sequences, max_blocks]: where each block begins; zero after a sequence's last one.
    pub(super) blocks: Vec<u64>,
    pub(super) max_blocks: usize,
    /// [tokens]: the number of each token's sequence.
    pub(super) sequence: Vec<u32>,
    /// [tokens]: each token attends to positions below this one.
    pub(super) seen: Vec<u32>,
    /// How many splits the longest sequence has.
    pub(super) max_splits: usize,
}

impl Tables {
    /// Makes the tables. `position_bytes` is the size of one position's keys in one layer.
    pub(super) fn new(sequences: &[Placed], position_bytes: u64) -> Tables {
        let used = |it: &Placed| (it.past + it.tokens).div_ceil(BLOCK);
        let max_blocks = sequences.iter().map(used).max().unwrap_or(0);
        let mut tables = Tables {
            slots: Vec::new(),
            blocks: vec![0; sequences.len() * max_blocks],
            max_blocks,
            sequence: Vec::new(),
            seen: Vec::new(),
            max_splits: 0,
        };
        for (number, it) in sequences.iter().enumerate() {
            let own = &mut tables.blocks[number * max_blocks..][..used(it)];
            own.copy_from_slice(&it.blocks[..used(it)]);
            for position in it.past..it.past + it.tokens {
                let offset = (position % BLOCK) as u64 * position_bytes;
                tables.slots.push(it.blocks[position / BLOCK] + offset);
                tables.sequence.push(number as u32);
                tables.seen.push(position as u32 + 1);
            }
            tables.max_splits = tables.max_splits.max((it.past + it.tokens).div_ceil(SPLIT));
        }
        tables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_their_blocks() {
        let sequences = [
            Placed { past: 30, tokens: 3, blocks: vec![1000, 5000, 9000] },
            Placed { past: 0, tokens: 1, blocks: vec![3000] },
        ];
        let tables = Tables::new(&sequences, 10);
        let expected = Tables {
            slots: vec![1300, 1310, 5000, 3000],
            blocks: vec![1000, 5000, 3000, 0],
            max_blocks: 2,
            sequence: vec![0, 0, 0, 1],
            seen: vec![31, 32, 33, 1],
            max_splits: 1,
        };
        assert_eq!(tables, expected, "a block in reserve is left out");
    }

    #[test]
    fn a_long_sequence_has_a_split_for_each_256_positions() {
        for (past, splits) in [(255, 1), (256, 2), (511, 2), (512, 3)] {
            let blocks = (0..=past as u64 / 32).collect();
            let tables = Tables::new(&[Placed { past, tokens: 1, blocks }], 1);
            assert_eq!((tables.max_splits, tables.seen), (splits, vec![past as u32 + 1]), "{past}");
        }
    }
}
