//! AVX-512 with VNNI for many rows: the weights of two panels are unpacked to bytes once for all rows, and then 16 rows
//! are multiplied at a time, which keeps the multipliers busy. Activations are in tiles, so that one address leads to
//! the values of all rows.
//!
//! The products are those of `products`, bit for bit. Sums in whole numbers are the same in any order, and floats are
//! added in the same order; where floats hold whole numbers here, these stay below 2^24 and are therefore exact.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_add_epi32, _mm512_add_ps, _mm512_cvtepi8_epi16 as widen_signed,
    _mm512_cvtepi32_ps as to_f32, _mm512_cvtepu8_epi16 as widen_unsigned,
    _mm512_cvtph_ps as from_half, _mm512_dpbusd_epi32, _mm512_dpwssd_epi32 as add_pairs,
    _mm512_fmadd_ps as fmadd, _mm512_fnmadd_ps as fnmadd, _mm512_load_si512, _mm512_mul_ps as mul,
    _mm512_mullo_epi32, _mm512_set1_epi8 as splat_i8, _mm512_set1_epi32 as splat_i32,
    _mm512_set1_ps as splat_f32, _mm512_setzero_ps as floats_zero, _mm512_setzero_si512 as zero,
    _mm512_slli_epi32 as shift_32, _mm512_store_si512, _mm512_sub_epi32 as sub_32,
    _mm512_xor_si512,
};

use super::{
    super::{
        activations::{Activations, EachRow, TILE_ROWS as ROWS, Tile32, Tile256},
        packed::{COLUMNS, Format, GROUP},
    },
    vnni::{Blocks, PANELS, each_scale, load_16, put, vector_of},
};

type Ints = __m512i;
type Floats = __m512;

/// Four weights of each of 16 columns, as bytes.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Vector([u8; 64]);

/// The weights of a group.
type Group = [Vector; GROUP / 4];

/// Computes the products of panels with all rows that are in tiles, into [panels, rows, 8]. Returns how many these are.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
pub(in super::super) fn multiply(
    format: Format,
    panels: &[u8],
    panel_bytes: usize,
    x: &Activations<'_>,
    out: &mut [f32],
) -> usize {
    let tiled = x.rows / ROWS * ROWS;
    if tiled == 0 {
        return 0;
    }
    let blocks = panel_bytes / format.panel_block_bytes();
    let mut weights = vec![[Vector([0; 64]); GROUP / 4]; blocks * format.block() / GROUP];
    let some = panels.chunks(panel_bytes * PANELS).zip(out.chunks_mut(PANELS * x.rows * COLUMNS));
    for (bytes, out) in some {
        // If one is missing, the first takes its place, and its products are written once.
        let mut panels = [&bytes[..panel_bytes]; PANELS];
        for (panel, bytes) in panels.iter_mut().zip(bytes.chunks_exact(panel_bytes)) {
            *panel = bytes;
        }
        match format.bits() {
            4 => unpack::<4>(format, panels, &mut weights),
            5 => unpack::<5>(format, panels, &mut weights),
            6 => unpack::<6>(format, panels, &mut weights),
            _ => unpack::<8>(format, panels, &mut weights),
        }
        for tile in 0..tiled / ROWS {
            let products = dot(format, panels, &weights, x, tile * blocks..(tile + 1) * blocks);
            put(out, tile * ROWS, x.rows, products);
        }
    }
    tiled
}

/// Unpacks the weights of two panels.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn unpack<const BITS: usize>(format: Format, panels: [&[u8]; PANELS], weights: &mut [Group]) {
    let bytes = format.panel_block_bytes();
    let groups = format.block() / GROUP;
    for (number, weights) in weights.chunks_exact_mut(groups).enumerate() {
        let block = [&panels[0][number * bytes..][..bytes], &panels[1][number * bytes..][..bytes]];
        for (group, weights) in weights.iter_mut().enumerate() {
            let at = format.weights_at() + group * format.group_bytes();
            // Not a loop: shifts need constants.
            unpack_vector::<BITS, 0>(block, at, weights);
            unpack_vector::<BITS, 1>(block, at, weights);
            unpack_vector::<BITS, 2>(block, at, weights);
            unpack_vector::<BITS, 3>(block, at, weights);
            unpack_vector::<BITS, 4>(block, at, weights);
            unpack_vector::<BITS, 5>(block, at, weights);
            unpack_vector::<BITS, 6>(block, at, weights);
            unpack_vector::<BITS, 7>(block, at, weights);
        }
    }
}

/// Unpacks one vector. Signed weights become 128 higher, since one operand of `dpbusd` is unsigned.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn unpack_vector<const BITS: usize, const VECTOR: usize>(
    block: Blocks<'_>,
    at: usize,
    weights: &mut Group,
) {
    let vector = vector_of::<BITS, VECTOR>(block, at);
    let vector = if BITS == 8 { _mm512_xor_si512(vector, splat_i8(-128)) } else { vector };
    // SAFETY: writes 64 bytes, which is the array, and it is aligned.
    unsafe { _mm512_store_si512(weights[VECTOR].0.as_mut_ptr().cast(), vector) };
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn load(vector: &Vector) -> Ints {
    // SAFETY: reads 64 bytes, which is the array, and it is aligned.
    unsafe { _mm512_load_si512(vector.0.as_ptr().cast()) }
}

/// Returns the products of panels with a tile, whose blocks these are.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn dot(
    format: Format,
    panels: [&[u8]; PANELS],
    weights: &[Group],
    x: &Activations<'_>,
    blocks: std::ops::Range<usize>,
) -> [Floats; ROWS] {
    const Q4_0: usize = Format::Q4_0.panel_block_bytes();
    const Q4_1: usize = Format::Q4_1.panel_block_bytes();
    const Q5_0: usize = Format::Q5_0.panel_block_bytes();
    const Q5_1: usize = Format::Q5_1.panel_block_bytes();
    const Q8_0: usize = Format::Q8_0.panel_block_bytes();
    let tile = |blocks| &x.tiles_32[blocks];
    match format {
        Format::Q4_0 => dot_32::<false, Q4_0>(panels, weights, Some(-8.0), tile(blocks)),
        Format::Q4_1 => dot_32::<false, Q4_1>(panels, weights, None, tile(blocks)),
        Format::Q5_0 => dot_32::<false, Q5_0>(panels, weights, Some(-16.0), tile(blocks)),
        Format::Q5_1 => dot_32::<false, Q5_1>(panels, weights, None, tile(blocks)),
        Format::Q8_0 => dot_32::<true, Q8_0>(panels, weights, Some(0.0), tile(blocks)),
        Format::Q4K => dot_q4k(panels, weights, &x.tiles_256[blocks]),
        Format::Q6K => dot_q6k(panels, weights, &x.tiles_256[blocks]),
        Format::F16 | Format::BF16 => unreachable!("floats have a kernel of their own"),
    }
}

/// Adds the products of some vectors of a group. Always inlined: its sums are to stay in registers.
///
/// # Safety
/// The CPU has the instructions of this module.
#[inline(always)]
unsafe fn add_vectors<const VECTORS: usize>(
    weights: &[Vector; VECTORS],
    values: &[EachRow<i32>; VECTORS],
    sums: &mut [Ints; ROWS],
) {
    let mut add = |vector: usize| {
        // SAFETY: the caller promises the instructions.
        unsafe {
            let weights = load(&weights[vector]);
            for row in 0..ROWS {
                let values = splat_i32(values[vector][row]);
                sums[row] = _mm512_dpbusd_epi32(sums[row], weights, values);
            }
        }
    };
    // Not a loop: compilers do not always unroll it.
    add(0);
    add(1);
    add(2);
    add(3);
    if VECTORS == 8 {
        add(4);
        add(5);
        add(6);
        add(7);
    }
}

/// A weight is scale * (w + shift), or scale * w + minimum if there is no shift. Signed weights are 128 too high, and
/// their sums begin as much too low.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn dot_32<const SIGNED: bool, const BYTES: usize>(
    panels: [&[u8]; PANELS],
    weights: &[Group],
    shift: Option<f32>,
    tile: &[Tile32],
) -> [Floats; ROWS] {
    let mut sums = [floats_zero(); ROWS];
    for (number, (weights, x)) in weights.iter().zip(tile).enumerate() {
        let block = [&panels[0][number * BYTES..][..BYTES], &panels[1][number * BYTES..][..BYTES]];
        let scale = from_half(load_16(block, 0));
        let minimum = match shift {
            None => from_half(load_16(block, 16)),
            Some(shift) => mul(scale, splat_f32(shift)),
        };
        let mut products = [zero(); ROWS];
        if SIGNED {
            for (product, whole) in products.iter_mut().zip(x.whole) {
                *product = splat_i32(-128 * whole);
            }
        }
        // SAFETY: this function has the instructions.
        unsafe { add_vectors(weights, &x.values, &mut products) };
        for row in 0..ROWS {
            let scale = mul(scale, splat_f32(x.scale[row]));
            sums[row] = fmadd(scale, to_f32(products[row]), sums[row]);
            if !SIGNED {
                sums[row] = fmadd(minimum, splat_f32(x.sum[row]), sums[row]);
            }
        }
    }
    sums
}

/// A weight is scale * its group's scale * w - minimum * its group's minimum.
///
/// The groups' products are scaled as floats, in two halves: four groups of at most 32 * 15 * 127 * 63 are below 2^24.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn dot_q4k(panels: [&[u8]; PANELS], weights: &[Group], tile: &[Tile256]) -> [Floats; ROWS] {
    const FORMAT: Format = Format::Q4K;
    const BYTES: usize = FORMAT.panel_block_bytes();
    let mut sums = [floats_zero(); ROWS];
    for (number, (weights, x)) in weights.as_chunks::<8>().0.iter().zip(tile).enumerate() {
        let block = [&panels[0][number * BYTES..][..BYTES], &panels[1][number * BYTES..][..BYTES]];
        let mut halves = [[floats_zero(); ROWS]; 2];
        let mut minima = [zero(); 4];
        for pair in 0..4 {
            minima[pair] = widen_unsigned(load_16(block, FORMAT.minima_at() + 16 * pair));
            let scales = widen_unsigned(load_16(block, FORMAT.scales_at() + 16 * pair));
            for (side, scale) in each_scale(scales).into_iter().enumerate() {
                let group = 2 * pair + side;
                let mut products = [zero(); ROWS];
                // SAFETY: this function has the instructions.
                unsafe { add_vectors(&weights[group], &x.values[group], &mut products) };
                let scale = to_f32(scale);
                for row in 0..ROWS {
                    let half = &mut halves[pair / 2][row];
                    *half = fmadd(to_f32(products[row]), scale, *half);
                }
            }
        }
        let (scale, minimum) = (from_half(load_16(block, 0)), from_half(load_16(block, 16)));
        for row in 0..ROWS {
            let mut taken = zero();
            for (minima, values) in minima.iter().zip(&x.by_32) {
                taken = add_pairs(taken, *minima, splat_i32(values[row]));
            }
            let product = mul(scale, _mm512_add_ps(halves[0][row], halves[1][row]));
            let product = fnmadd(minimum, to_f32(taken), product);
            sums[row] = fmadd(splat_f32(x.scale[row]), product, sums[row]);
        }
    }
    sums
}

/// A weight is scale * its half group's scale * (w - 32).
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn dot_q6k(panels: [&[u8]; PANELS], weights: &[Group], tile: &[Tile256]) -> [Floats; ROWS] {
    const FORMAT: Format = Format::Q6K;
    const BYTES: usize = FORMAT.panel_block_bytes();
    let mut sums = [floats_zero(); ROWS];
    for (number, (weights, x)) in weights.as_chunks::<8>().0.iter().zip(tile).enumerate() {
        let block = [&panels[0][number * BYTES..][..BYTES], &panels[1][number * BYTES..][..BYTES]];
        let mut products = [zero(); ROWS];
        let mut pairs = [zero(); 8];
        for group in 0..8 {
            pairs[group] = widen_signed(load_16(block, FORMAT.scales_at() + 16 * group));
            let halves = weights[group].as_chunks::<4>().0.iter();
            let halves = halves.zip(x.values[group].as_chunks::<4>().0);
            for (scale, (weights, values)) in each_scale(pairs[group]).into_iter().zip(halves) {
                let mut half = [zero(); ROWS];
                // SAFETY: this function has the instructions.
                unsafe { add_vectors(weights, values, &mut half) };
                for row in 0..ROWS {
                    let product = _mm512_mullo_epi32(half[row], scale);
                    products[row] = _mm512_add_epi32(products[row], product);
                }
            }
        }
        let scale = from_half(load_16(block, 0));
        for row in 0..ROWS {
            let mut taken = zero();
            for (scales, values) in pairs.iter().zip(&x.by_16) {
                taken = add_pairs(taken, *scales, splat_i32(values[row]));
            }
            let product = to_f32(sub_32(products[row], shift_32::<5>(taken)));
            let scale = mul(scale, splat_f32(x.scale[row]));
            sums[row] = fmadd(scale, product, sums[row]);
        }
    }
    sums
}
