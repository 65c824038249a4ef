//! Packed matrices: quantised matrices rearranged in panels, weight for weight, so that one instruction takes 8
//! columns.
//!
//! A column is the weights of one output, which GGML keeps together. A panel holds 8 columns block by block: for each
//! block first its scales, then its weights in groups of 32. Within a group, weight k of all columns is in vector k /
//! 4: bytes 4c to 4c + 3 of vector j are weights 4j to 4j + 3 of column c. Bits of a weight beyond the fourth are in
//! vectors of their own after these, at the same byte. Floats of 16 bits are stored weight by weight, each for all
//! columns. Missing columns of the last panel are zeros.

use std::ops::Range;

use candle_core::{Device, Result, Tensor, bail, quantized::GgmlDType};
use half::{bf16, f16};
use rayon::prelude::*;

/// Columns of a panel.
pub(super) const COLUMNS: usize = 8;
/// Weights of a column in a group.
pub(super) const GROUP: usize = 32;
/// Bytes of a 16-bit number, or of two 8-bit numbers, for every column.
const PAIRS: usize = 2 * COLUMNS;

/// A format that has a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q6K,
    F16,
    BF16,
}

impl Format {
    pub(super) fn of(dtype: GgmlDType) -> Option<Format> {
        match dtype {
            GgmlDType::Q4_0 => Some(Format::Q4_0),
            GgmlDType::Q4_1 => Some(Format::Q4_1),
            GgmlDType::Q5_0 => Some(Format::Q5_0),
            GgmlDType::Q5_1 => Some(Format::Q5_1),
            GgmlDType::Q8_0 => Some(Format::Q8_0),
            GgmlDType::Q4K => Some(Format::Q4K),
            GgmlDType::Q6K => Some(Format::Q6K),
            GgmlDType::F16 => Some(Format::F16),
            GgmlDType::BF16 => Some(Format::BF16),
            _ => None,
        }
    }

    /// Returns how many weights share a scale, and how many activations do; for floats, the weights of a group.
    pub(super) const fn block(self) -> usize {
        match self {
            Format::Q4K | Format::Q6K => 256,
            _ => GROUP,
        }
    }

    /// Returns the bytes of a column's block in GGML's order.
    const fn ggml_bytes(self) -> usize {
        match self {
            Format::Q4_0 => 18,
            Format::Q4_1 => 20,
            Format::Q5_0 => 22,
            Format::Q5_1 => 24,
            Format::Q8_0 => 34,
            Format::Q4K => 144,
            Format::Q6K => 210,
            Format::F16 | Format::BF16 => 64,
        }
    }

    /// Returns the bits of a weight.
    pub(super) const fn bits(self) -> usize {
        match self {
            Format::Q4_0 | Format::Q4_1 | Format::Q4K => 4,
            Format::Q5_0 | Format::Q5_1 => 5,
            Format::Q6K => 6,
            Format::Q8_0 => 8,
            Format::F16 | Format::BF16 => 16,
        }
    }

    /// Returns at which byte a panel's block has the scales of its groups. Those of groups 2p and 2p + 1 (Q4_K), or of
    /// the halves of group p (Q6_K), are side by side for every column.
    pub(super) const fn scales_at(self) -> usize {
        match self {
            Format::Q4K => 2 * PAIRS,
            _ => PAIRS,
        }
    }

    /// Returns at which byte it has the minima of its groups, likewise.
    pub(super) const fn minima_at(self) -> usize {
        self.scales_at() + 4 * PAIRS
    }

    /// Returns at which byte it has its weights: after an f16 scale and perhaps an f16 minimum for every column, unless
    /// they are floats.
    pub(super) const fn weights_at(self) -> usize {
        match self {
            Format::F16 | Format::BF16 => 0,
            Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => PAIRS,
            Format::Q4_1 | Format::Q5_1 => 2 * PAIRS,
            Format::Q4K => self.minima_at() + 4 * PAIRS,
            Format::Q6K => self.scales_at() + 8 * PAIRS,
        }
    }

    /// Returns the bytes of a group in a panel.
    pub(super) const fn group_bytes(self) -> usize {
        GROUP * COLUMNS * self.bits() / 8
    }

    /// Returns the bytes of a block in a panel.
    pub(super) const fn panel_block_bytes(self) -> usize {
        self.weights_at() + self.block() / GROUP * self.group_bytes()
    }
}

/// A quantised matrix [outputs, inputs] in panels.
#[derive(Debug)]
pub(crate) struct PackedMatrix {
    pub(super) format: Format,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    bytes: Vec<u8>,
}

impl PackedMatrix {
    /// Rearranges GGML's bytes; `inputs` is a whole number of blocks.
    pub(super) fn new(format: Format, ggml: &[u8], (outputs, inputs): (usize, usize)) -> Self {
        let blocks = inputs / format.block();
        let panel_bytes = blocks * format.panel_block_bytes();
        let mut bytes = vec![0; outputs.div_ceil(COLUMNS) * panel_bytes];
        let column_bytes = blocks * format.ggml_bytes();
        let panels = bytes.par_chunks_exact_mut(panel_bytes);
        panels.zip(ggml.par_chunks(COLUMNS * column_bytes)).for_each(|(panel, columns)| {
            for (column, ggml) in columns.chunks_exact(column_bytes).enumerate() {
                let blocks = ggml.chunks_exact(format.ggml_bytes());
                let panel = panel.chunks_exact_mut(format.panel_block_bytes());
                for (ggml, block) in blocks.zip(panel) {
                    Block::from_ggml(format, ggml).put(format, column, block);
                }
            }
        });
        PackedMatrix { format, outputs, inputs, bytes }
    }

    /// Returns the memory held, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(COLUMNS)
    }

    /// Returns the bytes of some panels.
    pub(super) fn some(&self, panels: Range<usize>) -> &[u8] {
        &self.bytes[panels.start * self.panel_bytes()..panels.end * self.panel_bytes()]
    }

    pub(super) fn panel_bytes(&self) -> usize {
        self.inputs / self.format.block() * self.format.panel_block_bytes()
    }

    /// Returns the weights of these outputs, f32 [ids, inputs].
    pub(crate) fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        let ids: Vec<u32> = ids.to_vec1()?;
        let mut out = Vec::with_capacity(ids.len() * self.inputs);
        for id in &ids {
            if *id as usize >= self.outputs {
                bail!("there is no row {id} among {}", self.outputs);
            }
            self.widen(*id as usize, &mut out);
        }
        Tensor::from_vec(out, (ids.len(), self.inputs), &Device::Cpu)
    }

    /// Appends an output's weights as plain numbers.
    fn widen(&self, output: usize, out: &mut Vec<f32>) {
        let panel = self.some(output / COLUMNS..output / COLUMNS + 1);
        for block in panel.chunks_exact(self.format.panel_block_bytes()) {
            Block::take(self.format, output % COLUMNS, block).widen(self.format, out);
        }
    }
}

/// A block of one column, unpacked.
struct Block {
    /// Of the whole block, f16.
    scale: [u8; 2],
    minimum: [u8; 2],
    /// Of its groups, or of halves of them.
    scales: [u8; 16],
    minima: [u8; 8],
    /// As in the file: without a sign, except for Q8_0. Floats take two bytes each.
    weights: [u8; 256],
}

impl Block {
    fn empty() -> Self {
        Block { scale: [0; 2], minimum: [0; 2], scales: [0; 16], minima: [0; 8], weights: [0; 256] }
    }

    /// Unpacks a block of a file. The layouts are in ggml-quants.h, `block_q4_0` and those that follow.
    fn from_ggml(format: Format, ggml: &[u8]) -> Self {
        let mut block = Block::empty();
        let two = |at: usize| [ggml[at], ggml[at + 1]];
        match format {
            Format::Q4_0 | Format::Q4_1 | Format::Q5_0 | Format::Q5_1 => {
                block.scale = two(0);
                if matches!(format, Format::Q4_1 | Format::Q5_1) {
                    block.minimum = two(2);
                }
                let (rest, fours) = ggml.split_at(ggml.len() - 16);
                for (at, both) in fours.iter().enumerate() {
                    (block.weights[at], block.weights[at + 16]) = (both & 15, both >> 4);
                }
                if format.bits() == 5 {
                    let fifths = &rest[rest.len() - 4..];
                    for (at, weight) in block.weights[..GROUP].iter_mut().enumerate() {
                        *weight |= (fifths[at / 8] >> (at % 8) & 1) << 4;
                    }
                }
            }
            Format::Q8_0 => {
                block.scale = two(0);
                block.weights[..GROUP].copy_from_slice(&ggml[2..]);
            }
            Format::F16 | Format::BF16 => block.weights[..2 * GROUP].copy_from_slice(ggml),
            Format::Q4K => {
                (block.scale, block.minimum) = (two(0), two(2));
                // Scales and minima of 6 bits in 12 bytes: the last four have their high bits above those of the first
                // four.
                for group in 0..4 {
                    let (scale, minimum, low) =
                        (ggml[4 + group], ggml[8 + group], ggml[12 + group]);
                    (block.scales[group], block.minima[group]) = (scale & 63, minimum & 63);
                    block.scales[4 + group] = low & 15 | scale >> 6 << 4;
                    block.minima[4 + group] = low >> 4 | minimum >> 6 << 4;
                }
                let halves = block.weights.chunks_exact_mut(2 * GROUP);
                for (weights, both) in halves.zip(ggml[16..].chunks_exact(GROUP)) {
                    for (at, both) in both.iter().enumerate() {
                        (weights[at], weights[at + GROUP]) = (both & 15, both >> 4);
                    }
                }
            }
            Format::Q6K => {
                block.scale = two(208);
                block.scales.copy_from_slice(&ggml[192..208]);
                for (half, weights) in block.weights.chunks_exact_mut(128).enumerate() {
                    let (low, high) = (&ggml[64 * half..][..64], &ggml[128 + 32 * half..][..32]);
                    for (at, weight) in weights.iter_mut().enumerate() {
                        let four = low[at % 64] >> (at / 64 * 4) & 15;
                        let two = high[at % 32] >> (at / 32 * 2) & 3;
                        *weight = four | two << 4;
                    }
                }
            }
        }
        block
    }

    /// Returns where the scale (or minimum) of a group (or half) is, counted from the first.
    fn pair_at(number: usize, column: usize) -> usize {
        number / 2 * PAIRS + 2 * column + number % 2
    }

    /// Writes a column of a panel's block, which must be all zeros there.
    fn put(&self, format: Format, column: usize, block: &mut [u8]) {
        if format.bits() == 16 {
            for (weight, all) in self.weights.chunks_exact(2).zip(block.chunks_exact_mut(PAIRS)) {
                all[2 * column..][..2].copy_from_slice(weight);
            }
            return;
        }
        block[2 * column..][..2].copy_from_slice(&self.scale);
        if matches!(format, Format::Q4_1 | Format::Q5_1 | Format::Q4K) {
            block[PAIRS + 2 * column..][..2].copy_from_slice(&self.minimum);
        }
        let (scales, minima) = format.small_scales();
        for (number, scale) in self.scales[..scales].iter().enumerate() {
            block[format.scales_at() + Block::pair_at(number, column)] = *scale;
        }
        for (number, minimum) in self.minima[..minima].iter().enumerate() {
            block[format.minima_at() + Block::pair_at(number, column)] = *minimum;
        }
        let groups = block[format.weights_at()..].chunks_exact_mut(format.group_bytes());
        for (weights, group) in self.weights.chunks_exact(GROUP).zip(groups) {
            for (at, weight) in weights.iter().enumerate() {
                let (vector, byte) = (at / 4, 4 * column + at % 4);
                let (side, in_side) = (vector / 4, vector % 4);
                if format.bits() == 8 {
                    group[32 * vector + byte] = *weight;
                    continue;
                }
                group[32 * in_side + byte] |= (weight & 15) << (4 * side);
                match format.bits() {
                    5 => group[128 + byte] |= (weight >> 4) << vector,
                    6 => group[128 + 32 * side + byte] |= (weight >> 4) << (2 * in_side),
                    _ => {}
                }
            }
        }
    }

    /// Reads a column of a panel's block.
    fn take(format: Format, column: usize, bytes: &[u8]) -> Self {
        let mut block = Block::empty();
        if format.bits() == 16 {
            for (weight, all) in block.weights.chunks_exact_mut(2).zip(bytes.chunks_exact(PAIRS)) {
                weight.copy_from_slice(&all[2 * column..][..2]);
            }
            return block;
        }
        block.scale.copy_from_slice(&bytes[2 * column..][..2]);
        if matches!(format, Format::Q4_1 | Format::Q5_1 | Format::Q4K) {
            block.minimum.copy_from_slice(&bytes[PAIRS + 2 * column..][..2]);
        }
        let (scales, minima) = format.small_scales();
        for (number, scale) in block.scales[..scales].iter_mut().enumerate() {
            *scale = bytes[format.scales_at() + Block::pair_at(number, column)];
        }
        for (number, minimum) in block.minima[..minima].iter_mut().enumerate() {
            *minimum = bytes[format.minima_at() + Block::pair_at(number, column)];
        }
        let groups = bytes[format.weights_at()..].chunks_exact(format.group_bytes());
        for (weights, group) in block.weights.chunks_exact_mut(GROUP).zip(groups) {
            for (at, weight) in weights.iter_mut().enumerate() {
                let (vector, byte) = (at / 4, 4 * column + at % 4);
                let (side, in_side) = (vector / 4, vector % 4);
                let four = group[32 * in_side + byte] >> (4 * side) & 15;
                *weight = match format.bits() {
                    8 => group[32 * vector + byte],
                    6 => four | (group[128 + 32 * side + byte] >> (2 * in_side) & 3) << 4,
                    5 => four | (group[128 + byte] >> vector & 1) << 4,
                    _ => four,
                };
            }
        }
        block
    }

    /// Appends the weights as plain numbers.
    fn widen(&self, format: Format, out: &mut Vec<f32>) {
        if format.bits() == 16 {
            let floats = self.weights.as_chunks().0[..GROUP].iter();
            out.extend(floats.map(|bytes| match format {
                Format::F16 => f16::from_le_bytes(*bytes).to_f32(),
                _ => bf16::from_le_bytes(*bytes).to_f32(),
            }));
            return;
        }
        let [scale, minimum] =
            [self.scale, self.minimum].map(|bytes| f16::from_le_bytes(bytes).to_f32());
        out.extend(self.weights[..format.block()].iter().enumerate().map(|(at, weight)| {
            let whole = f32::from(*weight);
            match format {
                Format::Q4_0 => scale * (whole - 8.0),
                Format::Q5_0 => scale * (whole - 16.0),
                Format::Q4_1 | Format::Q5_1 => whole * scale + minimum,
                Format::Q8_0 => scale * f32::from(weight.cast_signed()),
                Format::Q4K => {
                    let group = at / GROUP;
                    let least = minimum * f32::from(self.minima[group]);
                    scale * f32::from(self.scales[group]) * whole - least
                }
                Format::Q6K => {
                    scale * f32::from(self.scales[at / 16].cast_signed()) * (whole - 32.0)
                }
                Format::F16 | Format::BF16 => whole,
            }
        }));
    }
}

impl Format {
    /// Returns how many scales and minima of 6 or 8 bits a block has.
    const fn small_scales(self) -> (usize, usize) {
        match self {
            Format::Q4K => (8, 8),
            Format::Q6K => (16, 0),
            _ => (0, 0),
        }
    }
}
