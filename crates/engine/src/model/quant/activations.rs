//! Activations in eight bits, as panels are multiplied with them.

#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "there are no instructions to multiply with")
)]

use rayon::prelude::*;

/// Below this many numbers, threads cost more than they save.
pub(super) const PARALLEL_FROM: usize = 1 << 16;

/// Rows of a tile: so many sums, and what is added to them, are held in the registers of AVX-512.
pub(super) const TILE_ROWS: usize = 16;

/// 32 activations in eight bits: scale times values. `whole` is the sum of the values, `sum` that of the activations.
#[derive(Debug, Clone, Copy)]
pub(super) struct Q8Block32 {
    pub(super) scale: f32,
    pub(super) sum: f32,
    pub(super) whole: i32,
    pub(super) values: [i8; 32],
}

/// 256 activations in eight bits, and the sums of every 16 and every 32 of their values. Two sums are side by side in
/// one number, as they are multiplied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Q8Block256 {
    pub(super) scale: f32,
    pub(super) values: [i8; 256],
    pub(super) by_16: [[i16; 2]; 8],
    pub(super) by_32: [[i16; 2]; 4],
}

/// Rows of activations: plain, [rows, inputs], and in eight bits, [rows, blocks], in the blocks that the matrices at
/// hand need.
#[derive(Debug)]
pub(super) struct Activations<'a> {
    pub(super) rows: usize,
    pub(super) plain: &'a [f32],
    pub(super) by_32: Vec<Q8Block32>,
    pub(super) by_256: Vec<Q8Block256>,
    /// The same of as many rows as make whole tiles, [tiles, blocks], where they are multiplied by tiles.
    pub(super) tiles_32: Vec<Tile32>,
    pub(super) tiles_256: Vec<Tile256>,
}

/// A number for each row of a tile.
pub(super) type EachRow<T> = [T; TILE_ROWS];

/// A block of 32 activations of each row of a tile. Four values are side by side in one number, as they are multiplied.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Tile32 {
    pub(super) scale: EachRow<f32>,
    pub(super) sum: EachRow<f32>,
    pub(super) whole: EachRow<i32>,
    pub(super) values: [EachRow<i32>; 8],
}

/// A block of 256 activations of each row of a tile, likewise.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Tile256 {
    pub(super) scale: EachRow<f32>,
    pub(super) by_16: [EachRow<i32>; 8],
    pub(super) by_32: [EachRow<i32>; 4],
    pub(super) values: [[EachRow<i32>; 8]; 8],
}

impl Q8Block32 {
    pub(super) const EMPTY: Self = Q8Block32 { scale: 0.0, sum: 0.0, whole: 0, values: [0; 32] };
}

impl Q8Block256 {
    pub(super) const EMPTY: Self =
        Q8Block256 { scale: 0.0, values: [0; 256], by_16: [[0; 2]; 8], by_32: [[0; 2]; 4] };
}

impl<'a> Activations<'a> {
    /// Rows that are not in eight bits yet.
    pub(super) fn new(rows: usize, plain: &'a [f32]) -> Self {
        Activations {
            rows,
            plain,
            by_32: Vec::new(),
            by_256: Vec::new(),
            tiles_32: Vec::new(),
            tiles_256: Vec::new(),
        }
    }

    /// Arranges the blocks in tiles, as far as there are rows for them.
    pub(super) fn tile(&mut self) {
        let tiled = self.rows / TILE_ROWS * TILE_ROWS;
        if tiled == 0 {
            return;
        }
        if self.tiles_32.is_empty() {
            let width = self.by_32.len() / self.rows;
            self.tiles_32 =
                tiles(&self.by_32[..tiled * width], (width, 32), Tile32::EMPTY, Tile32::put);
        }
        if self.tiles_256.is_empty() {
            let width = self.by_256.len() / self.rows;
            self.tiles_256 =
                tiles(&self.by_256[..tiled * width], (width, 256), Tile256::EMPTY, Tile256::put);
        }
    }
}

/// Arranges rows of `width` blocks of so many numbers in tiles.
fn tiles<B: Sync, T: Copy + Send>(
    blocks: &[B],
    (width, numbers): (usize, usize),
    empty: T,
    put: impl Fn(&mut T, usize, &B) + Sync,
) -> Vec<T> {
    let mut tiles = vec![empty; blocks.len() / TILE_ROWS];
    if width == 0 {
        return tiles;
    }
    let rows = blocks.par_chunks_exact(TILE_ROWS * width);
    let least = PARALLEL_FROM / (TILE_ROWS * width * numbers);
    let rows = rows.zip(tiles.par_chunks_exact_mut(width)).with_min_len(least.max(1));
    rows.for_each(|(rows, tiles)| {
        for (row, blocks) in rows.chunks_exact(width).enumerate() {
            for (tile, block) in tiles.iter_mut().zip(blocks) {
                put(tile, row, block);
            }
        }
    });
    tiles
}

impl Tile32 {
    const EMPTY: Self = Tile32 {
        scale: [0.0; TILE_ROWS],
        sum: [0.0; TILE_ROWS],
        whole: [0; TILE_ROWS],
        values: [[0; TILE_ROWS]; 8],
    };

    fn put(&mut self, row: usize, block: &Q8Block32) {
        self.scale[row] = block.scale;
        self.sum[row] = block.sum;
        self.whole[row] = block.whole;
        put_fours(&mut self.values, row, &block.values);
    }
}

impl Tile256 {
    const EMPTY: Self = Tile256 {
        scale: [0.0; TILE_ROWS],
        by_16: [[0; TILE_ROWS]; 8],
        by_32: [[0; TILE_ROWS]; 4],
        values: [[[0; TILE_ROWS]; 8]; 8],
    };

    fn put(&mut self, row: usize, block: &Q8Block256) {
        self.scale[row] = block.scale;
        put_pairs(&mut self.by_16, row, &block.by_16);
        put_pairs(&mut self.by_32, row, &block.by_32);
        for (fours, values) in self.values.iter_mut().zip(block.values.as_chunks().0) {
            put_fours(fours, row, values);
        }
    }
}

/// Puts values in a tile, four in one number.
fn put_fours(fours: &mut [EachRow<i32>; 8], row: usize, values: &[i8; 32]) {
    for (four, values) in fours.iter_mut().zip(values.as_chunks::<4>().0) {
        four[row] = i32::from_le_bytes(values.map(i8::cast_unsigned));
    }
}

/// Puts sums in a tile, two in one number.
fn put_pairs<const N: usize>(pairs: &mut [EachRow<i32>; N], row: usize, sums: &[[i16; 2]; N]) {
    for (pair, [first, second]) in pairs.iter_mut().zip(sums) {
        pair[row] = i32::from(*second) << 16 | i32::from(first.cast_unsigned());
    }
}
