//! The kernels of `quant`, in AVX2 instructions.
//!
//! Four weights of each of 8 columns are multiplied with four values of a row at a time (`maddubs`), and summed in 16
//! bits as long as that holds them: 8 times for weights of 4 bits, 4 times for 5, twice for 6. Only then
//! are they scaled, and only a block's sums become floats.
//!
//! Unsafe, because intrinsics that read memory take pointers: each such read is of one whole array. That the results
//! are those of plain arithmetic is tested with `quant`.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{
    Activations, Eights, Eights256,
    panel::{COLUMNS, Format, GROUP},
};

/// Rows that weights are unpacked for at a time: with more, the registers do not hold their sums.
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
        for (group, values) in block.values.as_chunks::<GROUP>().0.iter().enumerate() {
            let pairs = _mm256_maddubs_epi16(ones, load_signed(values));
            let lanes = store(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            let halves = [lanes[..4].iter().sum::<i32>(), lanes[4..].iter().sum::<i32>()];
            block.by_16[2 * group..][..2].copy_from_slice(&halves.map(|half| half as i16));
            block.by_32[group] = (halves[0] + halves[1]) as i16;
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

/// The products of panels with all rows, into [panels, rows, 8].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply(
    format: Format,
    panels: &[u8],
    panel_bytes: usize,
    x: &Activations<'_>,
    out: &mut [f32],
) {
    let some = panels.chunks_exact(panel_bytes).zip(out.chunks_exact_mut(x.rows * COLUMNS));
    for (panel, out) in some {
        let out = out.as_chunks_mut().0;
        for first in (0..x.rows).step_by(ROWS) {
            let out = &mut out[first..];
            match out.len() {
                1 => put(out, dot::<1>(format, panel, x, first)),
                2 => put(out, dot::<2>(format, panel, x, first)),
                3 => put(out, dot::<3>(format, panel, x, first)),
                _ => put(out, dot::<ROWS>(format, panel, x, first)),
            }
        }
    }
}

/// The products of a panel with R rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot<const R: usize>(
    format: Format,
    panel: &[u8],
    x: &Activations<'_>,
    first: usize,
) -> [__m256; R] {
    match format {
        Format::Q4_0 => dot_32::<R, 4, { Format::Q4_0.panel_block_bytes() }>(panel, -8.0, x, first),
        Format::Q4_1 => dot_32::<R, 4, { Format::Q4_1.panel_block_bytes() }>(panel, 0.0, x, first),
        Format::Q5_0 => {
            dot_32::<R, 5, { Format::Q5_0.panel_block_bytes() }>(panel, -16.0, x, first)
        }
        Format::Q5_1 => dot_32::<R, 5, { Format::Q5_1.panel_block_bytes() }>(panel, 0.0, x, first),
        Format::Q8_0 => dot_32::<R, 8, { Format::Q8_0.panel_block_bytes() }>(panel, 0.0, x, first),
        Format::Q4K => dot_q4k(panel, x, first),
        Format::Q6K => dot_q6k(panel, x, first),
        Format::F16 => dot_floats::<R, false>(panel, x, first),
        Format::BF16 => dot_floats::<R, true>(panel, x, first),
    }
}

/// The blocks of R rows, of as many as a panel has.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn rows<B, const R: usize>(blocks: &[B], width: usize, first: usize) -> [&[B]; R] {
    let mut some = [&blocks[..0]; R];
    for (at, row) in some.iter_mut().enumerate() {
        *row = &blocks[(first + at) * width..][..width];
    }
    some
}

/// A weight is scale * (w + shift), or scale * w + minimum where the format has one.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_32<const R: usize, const BITS: usize, const BYTES: usize>(
    panel: &[u8],
    shift: f32,
    x: &Activations<'_>,
    first: usize,
) -> [__m256; R] {
    let panel = panel.as_chunks::<BYTES>().0;
    let x = rows::<_, R>(&x.by_32, panel.len(), first);
    let ones = [_mm256_set1_epi16(1); 2];
    let weights_at = BYTES - GROUP * BITS;
    let mut sums = [_mm256_setzero_ps(); R];
    for (number, block) in panel.iter().enumerate() {
        let scale = halves(block, 0);
        let minimum = match weights_at {
            32 => halves(block, 16),
            _ => _mm256_mul_ps(scale, _mm256_set1_ps(shift)),
        };
        let mut values = [&x[0][number].values; R];
        for row in 1..R {
            values[row] = &x[row][number].values;
        }
        let mut products = [_mm256_setzero_si256(); R];
        group::<R, BITS>(&block[weights_at..], values, ones, &mut products);
        for row in 0..R {
            let x = &x[row][number];
            let scale = _mm256_mul_ps(scale, _mm256_set1_ps(x.scale));
            sums[row] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(products[row]), sums[row]);
            // Weights with a sign of their own are shifted by nothing.
            if BITS < 8 {
                sums[row] = _mm256_fmadd_ps(minimum, _mm256_set1_ps(x.sum), sums[row]);
            }
        }
    }
    sums
}

/// A weight is scale * its group's scale * w - minimum * its group's minimum.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_q4k<const R: usize>(panel: &[u8], x: &Activations<'_>, first: usize) -> [__m256; R] {
    const FORMAT: Format = Format::Q4K;
    let panel = panel.as_chunks::<{ FORMAT.panel_block_bytes() }>().0;
    let x = rows::<_, R>(&x.by_256, panel.len(), first);
    let mut sums = [_mm256_setzero_ps(); R];
    for (number, block) in panel.iter().enumerate() {
        let mut products = [_mm256_setzero_si256(); R];
        let mut taken = [_mm256_setzero_si256(); R];
        for pair in 0..4 {
            let scales = _mm256_cvtepu8_epi16(load_half(block, FORMAT.scales_at() + 16 * pair));
            let minima = _mm256_cvtepu8_epi16(load_half(block, FORMAT.minima_at() + 16 * pair));
            for (side, scale) in each_twice(scales).into_iter().enumerate() {
                let number_of = 2 * pair + side;
                let at = FORMAT.weights_at() + number_of * FORMAT.group_bytes();
                let values = values_of(&x, number, number_of);
                group::<R, 4>(&block[at..], values, [scale; 2], &mut products);
            }
            for row in 0..R {
                let sums = two(&x[row][number].by_32, 2 * pair);
                taken[row] = _mm256_add_epi32(taken[row], _mm256_madd_epi16(minima, sums));
            }
        }
        let (scale, minimum) = (halves(block, 0), halves(block, 16));
        for row in 0..R {
            let product = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(products[row]));
            let product = _mm256_fnmadd_ps(minimum, _mm256_cvtepi32_ps(taken[row]), product);
            let scale = _mm256_set1_ps(x[row][number].scale);
            sums[row] = _mm256_fmadd_ps(scale, product, sums[row]);
        }
    }
    sums
}

/// A weight is scale * its half group's scale * (w - 32).
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_q6k<const R: usize>(panel: &[u8], x: &Activations<'_>, first: usize) -> [__m256; R] {
    const FORMAT: Format = Format::Q6K;
    let panel = panel.as_chunks::<{ FORMAT.panel_block_bytes() }>().0;
    let x = rows::<_, R>(&x.by_256, panel.len(), first);
    let mut sums = [_mm256_setzero_ps(); R];
    for (number, block) in panel.iter().enumerate() {
        let mut products = [_mm256_setzero_si256(); R];
        let mut taken = [_mm256_setzero_si256(); R];
        for number_of in 0..8 {
            let at = FORMAT.scales_at() + 16 * number_of;
            let scales = _mm256_cvtepi8_epi16(load_half(block, at));
            let at = FORMAT.weights_at() + number_of * FORMAT.group_bytes();
            let values = values_of(&x, number, number_of);
            group::<R, 6>(&block[at..], values, each_twice(scales), &mut products);
            for row in 0..R {
                let sums = two(&x[row][number].by_16, 2 * number_of);
                taken[row] = _mm256_add_epi32(taken[row], _mm256_madd_epi16(scales, sums));
            }
        }
        let scale = halves(block, 0);
        for row in 0..R {
            let taken = _mm256_slli_epi32::<5>(taken[row]);
            let product = _mm256_cvtepi32_ps(_mm256_sub_epi32(products[row], taken));
            let scale = _mm256_mul_ps(scale, _mm256_set1_ps(x[row][number].scale));
            sums[row] = _mm256_fmadd_ps(scale, product, sums[row]);
        }
    }
    sums
}

/// A weight is a float of 16 bits. Even and odd weights have sums of their own: one alone would wait for itself.
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

/// Adds the products of a group of 8 columns with R rows' values, scaled: those of the first and of the last 16
/// weights by pairs of 16 bits for every column.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn group<const R: usize, const BITS: usize>(
    weights: &[u8],
    values: [&[i8; GROUP]; R],
    scales: [__m256i; 2],
    products: &mut [__m256i; R],
) {
    let mut sums = [_mm256_setzero_si256(); R];
    // Not a loop: compilers do not always unroll it, and shifts want constants.
    add_vector::<R, BITS, 0>(weights, values, scales, &mut sums, products);
    add_vector::<R, BITS, 1>(weights, values, scales, &mut sums, products);
    add_vector::<R, BITS, 2>(weights, values, scales, &mut sums, products);
    add_vector::<R, BITS, 3>(weights, values, scales, &mut sums, products);
    add_vector::<R, BITS, 4>(weights, values, scales, &mut sums, products);
    add_vector::<R, BITS, 5>(weights, values, scales, &mut sums, products);
    add_vector::<R, BITS, 6>(weights, values, scales, &mut sums, products);
    add_vector::<R, BITS, 7>(weights, values, scales, &mut sums, products);
}

/// The part of one vector: four weights of every column. `sums` are what is not scaled yet.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_vector<const R: usize, const BITS: usize, const VECTOR: usize>(
    weights: &[u8],
    values: [&[i8; GROUP]; R],
    scales: [__m256i; 2],
    sums: &mut [__m256i; R],
    products: &mut [__m256i; R],
) {
    // Of how many vectors 16 bits hold the sum.
    let hold = match BITS {
        4 => 8,
        5 => 4,
        6 => 2,
        _ => 1,
    };
    let weights = vector_of::<BITS, VECTOR>(weights);
    for row in 0..R {
        let values = four(values[row], 4 * VECTOR);
        let pairs = match BITS {
            // One side of the instruction is unsigned: the weights' signs go to the values.
            8 => {
                let values = _mm256_sign_epi8(values, weights);
                _mm256_maddubs_epi16(_mm256_abs_epi8(weights), values)
            }
            _ => _mm256_maddubs_epi16(weights, values),
        };
        sums[row] = match VECTOR % hold {
            0 => pairs,
            _ => _mm256_add_epi16(sums[row], pairs),
        };
        if (VECTOR + 1).is_multiple_of(hold) {
            let product = _mm256_madd_epi16(sums[row], scales[VECTOR / 4]);
            products[row] = _mm256_add_epi32(products[row], product);
        }
    }
}

/// Four weights of every column, as bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn vector_of<const BITS: usize, const VECTOR: usize>(weights: &[u8]) -> __m256i {
    if BITS == 8 {
        return load(weights, 32 * VECTOR);
    }
    let packed = load(weights, 32 * (VECTOR % 4));
    let packed = if VECTOR < 4 { packed } else { _mm256_srli_epi16::<4>(packed) };
    let low = _mm256_and_si256(packed, _mm256_set1_epi8(15));
    // The bits above the fourth go there from where this vector has them.
    let (high, mask) = match (BITS, VECTOR) {
        (5, 0) => (_mm256_slli_epi16::<4>(load(weights, 128)), 16),
        (5, 1) => (_mm256_slli_epi16::<3>(load(weights, 128)), 16),
        (5, 2) => (_mm256_slli_epi16::<2>(load(weights, 128)), 16),
        (5, 3) => (_mm256_slli_epi16::<1>(load(weights, 128)), 16),
        (5, 4) => (load(weights, 128), 16),
        (5, 5) => (_mm256_srli_epi16::<1>(load(weights, 128)), 16),
        (5, 6) => (_mm256_srli_epi16::<2>(load(weights, 128)), 16),
        (5, 7) => (_mm256_srli_epi16::<3>(load(weights, 128)), 16),
        (6, 0 | 4) => (_mm256_slli_epi16::<4>(load(weights, 128 + 32 * (VECTOR / 4))), 48),
        (6, 1 | 5) => (_mm256_slli_epi16::<2>(load(weights, 128 + 32 * (VECTOR / 4))), 48),
        (6, 2 | 6) => (load(weights, 128 + 32 * (VECTOR / 4)), 48),
        (6, 3 | 7) => (_mm256_srli_epi16::<2>(load(weights, 128 + 32 * (VECTOR / 4))), 48),
        _ => return low,
    };
    _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(mask)))
}

/// A group's values of R rows.
#[inline]
fn values_of<'a, const R: usize>(
    x: &[&'a [Eights256]; R],
    block: usize,
    group: usize,
) -> [&'a [i8; GROUP]; R] {
    x.map(|row| &row[block].values.as_chunks().0[group])
}

/// Pairs of 16 bits (a, b) as pairs (a, a), and as pairs (b, b).
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn each_twice(pairs: __m256i) -> [__m256i; 2] {
    // Of every four lanes, the even ones' or the odd ones' numbers: 0, 0, 2, 2 and 1, 1, 3, 3.
    const EVEN: i32 = 0b10_10_00_00;
    const ODD: i32 = 0b11_11_01_01;
    [
        _mm256_shufflehi_epi16::<EVEN>(_mm256_shufflelo_epi16::<EVEN>(pairs)),
        _mm256_shufflehi_epi16::<ODD>(_mm256_shufflelo_epi16::<ODD>(pairs)),
    ]
}

/// Four values, for every column.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn four(values: &[i8; GROUP], at: usize) -> __m256i {
    let bytes = [values[at], values[at + 1], values[at + 2], values[at + 3]];
    _mm256_set1_epi32(i32::from_le_bytes(bytes.map(i8::cast_unsigned)))
}

/// Two sums, for every column.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn two<const N: usize>(sums: &[i16; N], at: usize) -> __m256i {
    let ([a, b], [c, d]) = (sums[at].to_le_bytes(), sums[at + 1].to_le_bytes());
    _mm256_set1_epi32(i32::from_le_bytes([a, b, c, d]))
}

/// An f16 of every column as f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn halves(bytes: &[u8], at: usize) -> __m256 {
    _mm256_cvtph_ps(load_half(bytes, at))
}

/// Writes the products of R rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn put<const R: usize>(out: &mut [[f32; COLUMNS]], products: [__m256; R]) {
    for (out, product) in out.iter_mut().zip(products) {
        *out = store_f32(product);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load(bytes: &[u8], at: usize) -> __m256i {
    let bytes = &bytes[at..at + 32];
    // SAFETY: reads 32 bytes, which is the slice.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
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
