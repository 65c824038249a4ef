//! The kernels of `quant`, in AVX2 instructions.
//!
//! Unsafe, because intrinsics that read memory take pointers: each such read is of one whole array. The
//! layouts are GGML's (ggml-quants.h, `block_q4_K`, `block_q6_K`, `block_q8_0`). That the results are
//! those of plain arithmetic is tested with `quant`.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Activations, COLUMNS, Eights, Eights256, Format};

/// Rows that a block of weights is unpacked for at a time.
const ROWS: usize = 4;

/// Fills in blocks of 32 from their values.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantise_32(values: &[f32], blocks: &mut [Eights]) {
    for (values, block) in values.as_chunks::<32>().0.iter().zip(blocks) {
        block.scale = in_eight_bits(values, &mut block.values);
        let (ones, values) = (_mm256_set1_epi8(1), load_signed(&block.values));
        let fours = _mm256_madd_epi16(_mm256_maddubs_epi16(ones, values), _mm256_set1_epi16(1));
        block.sum = block.scale * store(fours).into_iter().sum::<i32>() as f32;
    }
}

/// Fills in blocks of 256 from their values.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantise_256(values: &[f32], blocks: &mut [Eights256]) {
    for (values, block) in values.as_chunks::<256>().0.iter().zip(blocks) {
        block.scale = in_eight_bits(values, &mut block.values);
        let ones = _mm256_set1_epi8(1);
        let sixteens = block.values.as_chunks::<32>().0.iter().zip(block.sums.as_chunks_mut().0);
        for (values, sums) in sixteens {
            let pairs = _mm256_maddubs_epi16(ones, load_signed(values));
            let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
            let lanes = store(fours);
            *sums = [lanes[..4].iter().sum::<i32>() as i16, lanes[4..].iter().sum::<i32>() as i16];
        }
    }
}

/// Writes values as whole numbers from -127 to 127 and returns what these are to be multiplied by: NaN
/// where a value is not finite, so that what is no number stays none.
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

/// The products of columns with all rows, into [columns, rows]. `columns` holds whole rows of a
/// matrix in its format's bytes.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply(
    format: Format,
    columns: &[u8],
    row_bytes: usize,
    x: &Activations,
    out: &mut [f32],
) {
    let some = columns.chunks(COLUMNS * row_bytes).zip(out.chunks_mut(COLUMNS * x.rows));
    for (columns, out) in some {
        for first in (0..x.rows).step_by(ROWS) {
            let columns = columns.chunks_exact(row_bytes).zip(out.chunks_exact_mut(x.rows));
            for (column, out) in columns {
                let out = &mut out[first..];
                match out.len() {
                    1 => out[..1].copy_from_slice(&dot::<1>(format, column, x, first)),
                    2 => out[..2].copy_from_slice(&dot::<2>(format, column, x, first)),
                    3 => out[..3].copy_from_slice(&dot::<3>(format, column, x, first)),
                    _ => out[..ROWS].copy_from_slice(&dot::<ROWS>(format, column, x, first)),
                }
            }
        }
    }
}

/// The products of a column with R rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot<const R: usize>(format: Format, column: &[u8], x: &Activations, first: usize) -> [f32; R] {
    match format {
        Format::Q4_0 => dot_32::<R, 18>(column, x, first),
        Format::Q4_1 => dot_32::<R, 20>(column, x, first),
        Format::Q5_0 => dot_32::<R, 22>(column, x, first),
        Format::Q5_1 => dot_32::<R, 24>(column, x, first),
        Format::Q8_0 => dot_q8_0(column, x, first),
        Format::Q4K => dot_q4k(column, x, first),
        Format::Q6K => dot_q6k(column, x, first),
    }
}

/// The blocks of R rows, of as many as a column has.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn rows<B, const R: usize>(blocks: &[B], width: usize, first: usize) -> [&[B]; R] {
    let mut some = [&blocks[..0]; R];
    for (at, row) in some.iter_mut().enumerate() {
        *row = &blocks[(first + at) * width..][..width];
    }
    some
}

/// 256 weights: two f16 (scale of scales, scale of minima), 8 scales and 8 minima of 6 bits in 12 bytes,
/// 128 bytes of 4-bit weights. A weight is scale * w - minimum.
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_q4k<const R: usize>(column: &[u8], x: &Activations, first: usize) -> [f32; R] {
    let column = column.as_chunks::<144>().0;
    let x = rows::<_, R>(&x.by_256, column.len(), first);
    let low = _mm256_set1_epi8(15);
    let mut sums = [_mm256_setzero_ps(); R];
    let mut minima_sums = [_mm_setzero_ps(); R];
    for (number, weights) in column.iter().enumerate() {
        let (scale, minimum) = (half(weights, 0), half(weights, 2));
        let (scales, minima) = six_bits(weights);
        let scales = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(scales));
        let scales = _mm256_broadcastsi128_si256(scales);
        let minima = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(minima));
        let mut products = [_mm256_setzero_si256(); R];
        for pair in 0..4 {
            let packed = load(weights, 16 + 32 * pair);
            let halves = [
                _mm256_and_si256(packed, low),
                _mm256_and_si256(_mm256_srli_epi16::<4>(packed), low),
            ];
            for (side, unpacked) in halves.into_iter().enumerate() {
                let part = 2 * pair + side;
                let lane = 2 * part as i16;
                let scale = _mm256_shuffle_epi8(scales, _mm256_set1_epi16(lane | (lane + 1) << 8));
                for row in 0..R {
                    let values = load_signed(&x[row][number].values.as_chunks().0[part]);
                    let pairs = _mm256_maddubs_epi16(unpacked, values);
                    let product = _mm256_madd_epi16(pairs, scale);
                    products[row] = _mm256_add_epi32(products[row], product);
                }
            }
        }
        for row in 0..R {
            let x = &x[row][number];
            let all = _mm256_set1_ps(scale * x.scale);
            sums[row] = _mm256_fmadd_ps(all, _mm256_cvtepi32_ps(products[row]), sums[row]);
            let by_16 = load_sums(&x.sums);
            let (first, second) =
                (_mm256_castsi256_si128(by_16), _mm256_extracti128_si256::<1>(by_16));
            let taken = _mm_madd_epi16(minima, _mm_hadd_epi16(first, second));
            let all = _mm_set1_ps(-minimum * x.scale);
            minima_sums[row] = _mm_fmadd_ps(all, _mm_cvtepi32_ps(taken), minima_sums[row]);
        }
    }
    totals(sums, minima_sums)
}

/// 256 weights: 128 bytes of their low 4 bits, 64 bytes of their high 2 bits, 16 scales of 8 bits, one f16
/// scale of scales. A weight is scale * (w - 32).
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_q6k<const R: usize>(column: &[u8], x: &Activations, first: usize) -> [f32; R] {
    let column = column.as_chunks::<210>().0;
    let x = rows::<_, R>(&x.by_256, column.len(), first);
    let (low, high) = (_mm256_set1_epi8(15), _mm256_set1_epi8(48));
    let mut sums = [_mm256_setzero_ps(); R];
    for (number, weights) in column.iter().enumerate() {
        let scale = half(weights, 208);
        let scales = _mm256_cvtepi8_epi16(load_half(weights, 192));
        let by_part = [
            _mm256_permute4x64_epi64::<0b0100_0100>(scales),
            _mm256_permute4x64_epi64::<0b1110_1110>(scales),
        ];
        let mut products = [_mm256_setzero_si256(); R];
        for (side, scales) in by_part.into_iter().enumerate() {
            let a = load(weights, 64 * side);
            let b = load(weights, 64 * side + 32);
            let top = load(weights, 128 + 32 * side);
            let (a_high, b_high) = (_mm256_srli_epi16::<4>(a), _mm256_srli_epi16::<4>(b));
            let tops = [
                _mm256_slli_epi16::<4>(top),
                _mm256_slli_epi16::<2>(top),
                top,
                _mm256_srli_epi16::<2>(top),
            ];
            let lows = [a, b, a_high, b_high];
            for quarter in 0..4 {
                let unpacked = _mm256_or_si256(
                    _mm256_and_si256(lows[quarter], low),
                    _mm256_and_si256(tops[quarter], high),
                );
                let lane = 4 * quarter as i16;
                let first = _mm_set1_epi16(lane | (lane + 1) << 8);
                let second = _mm_set1_epi16((lane + 2) | (lane + 3) << 8);
                let chosen = _mm256_set_m128i(second, first);
                let scale = _mm256_shuffle_epi8(scales, chosen);
                for row in 0..R {
                    let part = 4 * side + quarter;
                    let values = load_signed(&x[row][number].values.as_chunks().0[part]);
                    let pairs = _mm256_maddubs_epi16(unpacked, values);
                    let product = _mm256_madd_epi16(pairs, scale);
                    products[row] = _mm256_add_epi32(products[row], product);
                }
            }
        }
        for row in 0..R {
            let x = &x[row][number];
            let taken = _mm256_slli_epi32::<5>(_mm256_madd_epi16(scales, load_sums(&x.sums)));
            let product = _mm256_cvtepi32_ps(_mm256_sub_epi32(products[row], taken));
            sums[row] = _mm256_fmadd_ps(_mm256_set1_ps(scale * x.scale), product, sums[row]);
        }
    }
    totals(sums, [_mm_setzero_ps(); R])
}

/// 32 weights of 4 or 5 bits in a block whose size tells the format: Q4_0 18, Q4_1 20, Q5_0 22, Q5_1 24. A weight
/// is scale * w + minimum.
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_32<const R: usize, const BYTES: usize>(
    column: &[u8],
    x: &Activations,
    first: usize,
) -> [f32; R] {
    let column = column.as_chunks::<BYTES>().0;
    let x = rows::<_, R>(&x.by_32, column.len(), first);
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); R];
    let mut minima_sums = [0f32; R];
    for (number, weights) in column.iter().enumerate() {
        let (weights, scale, minimum) = unpack_32(weights);
        let scale = _mm256_set1_ps(scale);
        for row in 0..R {
            let x = &x[row][number];
            let pairs = _mm256_maddubs_epi16(weights, load_signed(&x.values));
            let product = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, ones));
            let all = _mm256_mul_ps(scale, _mm256_set1_ps(x.scale));
            sums[row] = _mm256_fmadd_ps(all, product, sums[row]);
            minima_sums[row] = minimum.mul_add(x.sum, minima_sums[row]);
        }
    }
    totals(sums, minima_sums.map(|sum| _mm_set_ss(sum)))
}

/// The weights of a block as bytes, their scale and their minimum.
///
/// An f16 scale; an f16 minimum where the format has one; 32 fifth bits where it has them; 16 bytes of
/// 4 bits, the low ones first.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn unpack_32<const BYTES: usize>(block: &[u8; BYTES]) -> (__m256i, f32, f32) {
    let scale = half(block, 0);
    let minimum = match BYTES {
        18 => -8.0 * scale,
        22 => -16.0 * scale,
        _ => half(block, 2),
    };
    let packed = load_half(block, BYTES - 16);
    let both = _mm256_set_m128i(_mm_srli_epi16::<4>(packed), packed);
    let weights = _mm256_and_si256(both, _mm256_set1_epi8(15));
    if BYTES < 22 {
        return (weights, scale, minimum);
    }
    let at = BYTES - 20;
    let bits = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    // Every bit's byte beside it, then the bit itself.
    let bytes = _mm256_shuffle_epi8(
        _mm256_set1_epi32(bits.cast_signed()),
        _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303),
    );
    let each = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
    let set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, each), each);
    let fifth = _mm256_and_si256(set, _mm256_set1_epi8(16));
    (_mm256_or_si256(weights, fifth), scale, minimum)
}

/// 32 weights: an f16 scale, 32 bytes. A weight is scale * w.
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_q8_0<const R: usize>(column: &[u8], x: &Activations, first: usize) -> [f32; R] {
    let column = column.as_chunks::<34>().0;
    let x = rows::<_, R>(&x.by_32, column.len(), first);
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); R];
    for (number, weights) in column.iter().enumerate() {
        let scale = _mm256_set1_ps(half(weights, 0));
        let weights = load(weights, 2);
        // One side of the instruction is unsigned: the weights' signs go to the activations.
        let size = _mm256_sign_epi8(weights, weights);
        for row in 0..R {
            let x = &x[row][number];
            let values = _mm256_sign_epi8(load_signed(&x.values), weights);
            let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(size, values), ones);
            let all = _mm256_mul_ps(scale, _mm256_set1_ps(x.scale));
            sums[row] = _mm256_fmadd_ps(all, _mm256_cvtepi32_ps(pairs), sums[row]);
        }
    }
    totals(sums, [_mm_setzero_ps(); R])
}

/// 8 scales and 8 minima of 6 bits, from bytes 4 to 16, a byte each.
#[inline]
fn six_bits(weights: &[u8; 144]) -> (i64, i64) {
    let word = |at: usize| {
        u32::from_le_bytes([weights[at], weights[at + 1], weights[at + 2], weights[at + 3]])
    };
    let (a, b, c) = (word(4), word(8), word(12));
    let join = |low: u32, high: u32| i64::from(low) | i64::from(high) << 32;
    let high = |low: u32, top: u32| (low & 0x0f0f_0f0f) | ((top >> 6) & 0x0303_0303) << 4;
    (join(a & 0x3f3f_3f3f, high(c, a)), join(b & 0x3f3f_3f3f, high(c >> 4, b)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn half<const N: usize>(bytes: &[u8; N], at: usize) -> f32 {
    let bits = i32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load<const N: usize>(bytes: &[u8; N], at: usize) -> __m256i {
    let bytes = &bytes[at..at + 32];
    // SAFETY: reads 32 bytes, which is the slice.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_half<const N: usize>(bytes: &[u8; N], at: usize) -> __m128i {
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
fn load_sums(sums: &[i16; 16]) -> __m256i {
    // SAFETY: reads 32 bytes, which is the array.
    unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) }
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

/// The sums of all lanes, in a fixed order.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn totals<const R: usize>(eights: [__m256; R], fours: [__m128; R]) -> [f32; R] {
    let mut totals = [0.0; R];
    for row in 0..R {
        let eight = eights[row];
        let sum = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let sum = _mm_add_ps(sum, fours[row]);
        let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
        totals[row] = _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
    }
    totals
}
