//! AVX-512's VNNI: four weights of each of 8 columns are multiplied with four values of a row, and added to sums in 32 bits,
//! by one instruction (`dpbusd`). The values it reads from memory itself, once for all columns. There are 32 registers, so
//! that weights are unpacked once for 8 rows.

use std::arch::x86_64::*;

use super::{
    super::{
        Activations,
        panel::{COLUMNS, Format, GROUP},
    },
    dot_floats, four, halves, load_half, put, rows, two, values_of, vector_of,
};

products!("avx2,fma,f16c,avx512f,avx512vl,avx512vnni", [4, 2, 1]);

/// Adds the products of a group of 8 columns with R rows' values.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
fn add_group<const R: usize, const BITS: usize>(
    weights: &[u8],
    values: [&[i8; GROUP]; R],
    products: &mut [__m256i; R],
) {
    add_half::<R, BITS, 0>(weights, values, products);
    add_half::<R, BITS, 1>(weights, values, products);
}

/// Adds the products of a group of 8 columns with R rows' values, scaled: those of the first and of the last 16 weights.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
fn add_scaled<const R: usize, const BITS: usize>(
    weights: &[u8],
    values: [&[i8; GROUP]; R],
    scales: [__m256i; 2],
    products: &mut [__m256i; R],
) {
    let [mut first, mut last] = [[_mm256_setzero_si256(); R]; 2];
    add_half::<R, BITS, 0>(weights, values, &mut first);
    // Halves that are scaled alike are scaled together.
    let alike = BITS == 4;
    add_half::<R, BITS, 1>(weights, values, if alike { &mut first } else { &mut last });
    for row in 0..R {
        let product = _mm256_mullo_epi32(first[row], scales[0]);
        products[row] = _mm256_add_epi32(products[row], product);
        if !alike {
            let product = _mm256_mullo_epi32(last[row], scales[1]);
            products[row] = _mm256_add_epi32(products[row], product);
        }
    }
}

/// Adds the products of the first or the last 16 weights.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
fn add_half<const R: usize, const BITS: usize, const HALF: usize>(
    weights: &[u8],
    values: [&[i8; GROUP]; R],
    sums: &mut [__m256i; R],
) {
    // Not a loop: shifts want constants.
    if HALF == 0 {
        add_vector::<R, BITS, 0>(weights, values, sums);
        add_vector::<R, BITS, 1>(weights, values, sums);
        add_vector::<R, BITS, 2>(weights, values, sums);
        add_vector::<R, BITS, 3>(weights, values, sums);
    } else {
        add_vector::<R, BITS, 4>(weights, values, sums);
        add_vector::<R, BITS, 5>(weights, values, sums);
        add_vector::<R, BITS, 6>(weights, values, sums);
        add_vector::<R, BITS, 7>(weights, values, sums);
    }
}

/// Adds the products of one vector: four weights of every column.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
fn add_vector<const R: usize, const BITS: usize, const VECTOR: usize>(
    weights: &[u8],
    values: [&[i8; GROUP]; R],
    sums: &mut [__m256i; R],
) {
    let weights = vector_of::<BITS, VECTOR>(weights);
    for row in 0..R {
        let values = four(values[row], 4 * VECTOR);
        sums[row] = match BITS {
            // One side of the instruction is unsigned: the weights' signs go to the values.
            8 => {
                let values = _mm256_sign_epi8(values, weights);
                _mm256_dpbusd_epi32(sums[row], _mm256_abs_epi8(weights), values)
            }
            _ => _mm256_dpbusd_epi32(sums[row], weights, values),
        };
    }
}

/// Pairs of 16 bits (a, b) as a, and as b, in 32 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
fn each_scale(pairs: __m256i) -> [__m256i; 2] {
    let first = _mm256_srai_epi32::<16>(_mm256_slli_epi32::<16>(pairs));
    [first, _mm256_srai_epi32::<16>(pairs)]
}

/// Adds the products of pairs of 16 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
fn add_pairs(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    _mm256_dpwssd_epi32(sums, a, b)
}
