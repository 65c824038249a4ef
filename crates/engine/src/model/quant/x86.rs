//! The kernels of `quant` for x86 CPUs.
//!
//! This module has what they share: converting activations to eight bits, unpacking weights, reading memory. `products`
//! multiplies panels; it is written once for all instruction sets, which have a module each. `tiles` multiplies them
//! with many rows.
//!
//! Unsafe, because intrinsics that read memory take pointers: each such read is of one whole array. Tests of `quant`
//! check that results are those of plain arithmetic, and the same bit for bit with every instruction set.

#![expect(unsafe_code, reason = "intrinsics that read memory take pointers")]

#[macro_use]
mod products;
pub(super) mod avx2;
pub(super) mod tiles;
pub(super) mod vnni;

use std::arch::x86_64::*;

use super::{
    activations::{Activations, Q8Block32, Q8Block256},
    packed::{COLUMNS, GROUP},
};

/// Fills blocks of 32 from their values.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantise_32(values: &[f32], blocks: &mut [Q8Block32]) {
    for (values, block) in values.as_chunks::<32>().0.iter().zip(blocks) {
        block.scale = in_eight_bits(values, &mut block.values);
        let (ones, values) = (_mm256_set1_epi8(1), load_signed(&block.values));
        let fours = _mm256_madd_epi16(_mm256_maddubs_epi16(ones, values), _mm256_set1_epi16(1));
        block.whole = store(fours).into_iter().sum();
        block.sum = block.scale * block.whole as f32;
    }
}

/// Fills blocks of 256 from their values.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantise_256(values: &[f32], blocks: &mut [Q8Block256]) {
    for (values, block) in values.as_chunks::<256>().0.iter().zip(blocks) {
        block.scale = in_eight_bits(values, &mut block.values);
        let ones = _mm256_set1_epi8(1);
        for (group, values) in block.values.as_chunks::<GROUP>().0.iter().enumerate() {
            let pairs = _mm256_maddubs_epi16(ones, load_signed(values));
            let lanes = store(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            let halves = [lanes[..4].iter().sum::<i32>(), lanes[4..].iter().sum::<i32>()];
            block.by_16[group] = halves.map(|half| half as i16);
            block.by_32[group / 2][group % 2] = (halves[0] + halves[1]) as i16;
        }
    }
}

/// Writes values as whole numbers from -127 to 127. Returns their scale: NaN if a value is not finite, so that NaN is
/// not lost.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn in_eight_bits<const N: usize>(values: &[f32; N], out: &mut [i8; N]) -> f32 {
    let sign = _mm256_set1_ps(-0.0);
    let (mut most, mut odd) = (_mm256_setzero_ps(), _mm256_setzero_ps());
    for values in values.as_chunks().0 {
        let values = load_f32(values);
        most = _mm256_max_ps(most, _mm256_andnot_ps(sign, values));
        // 0, or NaN.
        odd = _mm256_add_ps(odd, _mm256_sub_ps(values, values));
    }
    let most = store_f32(most).into_iter().fold(0f32, f32::max);
    let odd: f32 = store_f32(odd).into_iter().sum();
    let inverse = _mm256_set1_ps(if most > 0.0 { 127.0 / most } else { 0.0 });
    for (values, out) in values.as_chunks().0.iter().zip(out.as_chunks_mut::<8>().0) {
        let whole = _mm256_cvtps_epi32(_mm256_mul_ps(load_f32(values), inverse));
        *out = store(whole).map(|lane| lane as i8);
    }
    most / 127.0 + odd
}

/// Computes the products of panels of floats with all rows, into [panels, rows, 8].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply_floats(
    bf16: bool,
    panels: &[u8],
    panel_bytes: usize,
    x: &Activations<'_>,
    out: &mut [f32],
) {
    let some = panels.chunks_exact(panel_bytes).zip(out.chunks_exact_mut(x.rows * COLUMNS));
    for (panel, out) in some {
        let out = out.as_chunks_mut::<COLUMNS>().0;
        let mut first = 0;
        while first < x.rows {
            let out = &mut out[first..];
            first += match (out.len(), bf16) {
                (4.., false) => put(out, dot_floats::<4, false>(panel, x, first)),
                (4.., true) => put(out, dot_floats::<4, true>(panel, x, first)),
                (2.., false) => put(out, dot_floats::<2, false>(panel, x, first)),
                (2.., true) => put(out, dot_floats::<2, true>(panel, x, first)),
                (_, false) => put(out, dot_floats::<1, false>(panel, x, first)),
                (_, true) => put(out, dot_floats::<1, true>(panel, x, first)),
            };
        }
    }
}

/// Writes the products of R rows. Returns R.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn put<const R: usize>(out: &mut [[f32; COLUMNS]], products: [__m256; R]) -> usize {
    for (out, product) in out.iter_mut().zip(products) {
        *out = store_f32(product);
    }
    R
}

/// Returns the blocks of R rows from `first` on; a row has `width` blocks.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn rows<B, const R: usize>(blocks: &[B], width: usize, first: usize) -> [&[B]; R] {
    let mut some = [&blocks[..0]; R];
    for (at, row) in some.iter_mut().enumerate() {
        *row = &blocks[(first + at) * width..][..width];
    }
    some
}

/// A weight is a float of 16 bits. Even and odd weights have sums of their own: a single sum would wait for itself.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_floats<const R: usize, const BF16: bool>(
    panel: &[u8],
    x: &Activations<'_>,
    first: usize,
) -> [__m256; R] {
    let panel = panel.as_chunks::<16>().0;
    let x = rows::<_, R>(x.plain, panel.len(), first);
    let [mut even, mut odd] = [[_mm256_setzero_ps(); R]; 2];
    for (pair, weights) in panel.as_chunks::<2>().0.iter().enumerate() {
        for (side, sums) in [&mut even, &mut odd].into_iter().enumerate() {
            let weights = &weights[side];
            let weights = load_half(weights, 0);
            let weights = match BF16 {
                true => {
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(weights)))
                }
                false => _mm256_cvtph_ps(weights),
            };
            for row in 0..R {
                let value = _mm256_set1_ps(x[row][2 * pair + side]);
                sums[row] = _mm256_fmadd_ps(weights, value, sums[row]);
            }
        }
    }
    for (even, odd) in even.iter_mut().zip(odd) {
        *even = _mm256_add_ps(*even, odd);
    }
    even
}

/// Returns a group's values for R rows.
#[inline]
pub(super) fn values_of<'a, const R: usize>(
    x: &[&'a [Q8Block256]; R],
    block: usize,
    group: usize,
) -> [&'a [i8; GROUP]; R] {
    x.map(|row| &row[block].values.as_chunks().0[group])
}

/// Returns four values as one number.
#[inline]
pub(super) fn four(values: &[i8; GROUP], at: usize) -> i32 {
    let bytes = [values[at], values[at + 1], values[at + 2], values[at + 3]];
    i32::from_le_bytes(bytes.map(i8::cast_unsigned))
}

/// Returns two sums as one number.
#[inline]
pub(super) fn two(sums: &[i16; 2]) -> i32 {
    // SAFETY: reads 4 bytes, which is the array. Built from bytes, it would not be one instruction.
    unsafe { sums.as_ptr().cast::<i32>().read_unaligned() }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_half(bytes: &[u8], at: usize) -> __m128i {
    let bytes = &bytes[at..at + 16];
    // SAFETY: reads 16 bytes, which is the slice.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_signed(values: &[i8; 32]) -> __m256i {
    // SAFETY: reads 32 bytes, which is the array.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_f32(values: &[f32; 8]) -> __m256 {
    // SAFETY: reads 32 bytes, which is the array.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store(lanes: __m256i) -> [i32; 8] {
    let mut out = [0; 8];
    // SAFETY: writes 32 bytes, which is the array.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), lanes) };
    out
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store_f32(lanes: __m256) -> [f32; 8] {
    let mut out = [0.0; 8];
    // SAFETY: writes 32 bytes, which is the array.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), lanes) };
    out
}
