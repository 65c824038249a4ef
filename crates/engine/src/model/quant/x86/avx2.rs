//! AVX2: four weights of each of 8 columns are multiplied with four values of a row at a time (`maddubs`), and summed in 16
//! bits as long as that holds them: 8 times for weights of 4 bits, 4 times for 5, twice for 6. Only then are they scaled,
//! and only a block's sums become floats.

use std::arch::x86_64::*;

use super::{
    super::{
        Activations,
        panel::{COLUMNS, Format, GROUP},
    },
    dot_floats, four, halves, load_half, put, rows, two, values_of, vector_of,
};

// With more rows the registers do not hold their sums.
products!("avx2,fma,f16c", [4, 3, 2, 1]);

/// Adds the products of a group of 8 columns with R rows' values.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_group<const R: usize, const BITS: usize>(
    weights: &[u8],
    values: [&[i8; GROUP]; R],
    products: &mut [__m256i; R],
) {
    add_scaled::<R, BITS>(weights, values, [_mm256_set1_epi16(1); 2], products);
}

/// Adds the products of a group of 8 columns with R rows' values, scaled: those of the first and of the last 16
/// weights by pairs of 16 bits for every column.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_scaled<const R: usize, const BITS: usize>(
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

/// Pairs of 16 bits (a, b) as pairs (a, a), and as pairs (b, b).
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn each_scale(pairs: __m256i) -> [__m256i; 2] {
    // Of every four lanes, the even ones' or the odd ones' numbers: 0, 0, 2, 2 and 1, 1, 3, 3.
    const EVEN: i32 = 0b10_10_00_00;
    const ODD: i32 = 0b11_11_01_01;
    [
        _mm256_shufflehi_epi16::<EVEN>(_mm256_shufflelo_epi16::<EVEN>(pairs)),
        _mm256_shufflehi_epi16::<ODD>(_mm256_shufflelo_epi16::<ODD>(pairs)),
    ]
}

/// Adds the products of pairs of 16 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_pairs(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(sums, _mm256_madd_epi16(a, b))
}
