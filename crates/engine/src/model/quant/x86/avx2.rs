//! AVX2: four weights of each of 8 columns are multiplied with four values of a row at a time (`maddubs`), and summed
//! in 16 bits as long as the sums fit: 8 times for weights of 4 bits, 4 times for 5, twice for 6. Only then are they
//! scaled, and only a block's sums become floats.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_loadu_si128, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_and_si256 as and, _mm256_cvtepi8_epi16 as widen_signed, _mm256_cvtepi32_ps as to_f32,
    _mm256_cvtepu8_epi16 as widen_unsigned, _mm256_cvtph_ps as from_half, _mm256_fmadd_ps as fmadd,
    _mm256_fnmadd_ps as fnmadd, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_mul_ps as mul, _mm256_or_si256 as or, _mm256_set1_epi8 as splat_i8, _mm256_set1_epi16,
    _mm256_set1_epi32 as splat_i32, _mm256_set1_ps as splat_f32, _mm256_setzero_ps as floats_zero,
    _mm256_setzero_si256 as zero, _mm256_shufflehi_epi16, _mm256_shufflelo_epi16, _mm256_sign_epi8,
    _mm256_slli_epi16 as left, _mm256_slli_epi32 as shift_32, _mm256_srli_epi16 as right,
    _mm256_storeu_ps, _mm256_sub_epi32 as sub_32,
};

use super::{
    super::{
        activations::Activations,
        packed::{COLUMNS, Format, GROUP},
    },
    four, rows, two, values_of,
};

type Ints = __m256i;
type Floats = __m256;

/// Panels side by side in a vector.
const PANELS: usize = 1;

// With more rows the registers would not hold their sums.
products!("avx2,fma,f16c", [4, 3, 2, 1]);

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_16([block]: Blocks<'_>, at: usize) -> __m128i {
    let bytes = &block[at..at + 16];
    // SAFETY: reads 16 bytes, which is the slice.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_32([block]: Blocks<'_>, at: usize) -> Ints {
    let bytes = &block[at..at + 32];
    // SAFETY: reads 32 bytes, which is the slice.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Writes the products of R rows from `first` on to [1, rows, 8].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn put<const R: usize>(out: &mut [f32], first: usize, _rows: usize, products: [Floats; R]) {
    for (product, out) in products.into_iter().zip(out[first * COLUMNS..].chunks_exact_mut(COLUMNS))
    {
        // SAFETY: writes 8 numbers, which is the slice.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), product) };
    }
}

/// Sums of products begin with zero.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn begin<const BITS: usize>(_whole: i32) -> Ints {
    zero()
}

/// Adds the products of a group of 8 columns with R rows' values.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_group<const R: usize, const BITS: usize>(
    block: Blocks<'_>,
    at: usize,
    values: [&[i8; GROUP]; R],
    products: &mut [Ints; R],
) {
    add_scaled::<R, BITS>(block, at, values, [_mm256_set1_epi16(1); 2], products);
}

/// Adds the products of a group of 8 columns with R rows' values, scaled: those of the first and of the last 16
/// weights by pairs of 16 bits for every column.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_scaled<const R: usize, const BITS: usize>(
    block: Blocks<'_>,
    at: usize,
    values: [&[i8; GROUP]; R],
    scales: [Ints; 2],
    products: &mut [Ints; R],
) {
    let mut sums = [zero(); R];
    // Not a loop: compilers do not always unroll it, and shifts need constants.
    add_vector::<R, BITS, 0>(block, at, values, scales, &mut sums, products);
    add_vector::<R, BITS, 1>(block, at, values, scales, &mut sums, products);
    add_vector::<R, BITS, 2>(block, at, values, scales, &mut sums, products);
    add_vector::<R, BITS, 3>(block, at, values, scales, &mut sums, products);
    add_vector::<R, BITS, 4>(block, at, values, scales, &mut sums, products);
    add_vector::<R, BITS, 5>(block, at, values, scales, &mut sums, products);
    add_vector::<R, BITS, 6>(block, at, values, scales, &mut sums, products);
    add_vector::<R, BITS, 7>(block, at, values, scales, &mut sums, products);
}

/// Adds the part of one vector: four weights of every column. `sums` holds what is not scaled yet.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_vector<const R: usize, const BITS: usize, const VECTOR: usize>(
    block: Blocks<'_>,
    at: usize,
    values: [&[i8; GROUP]; R],
    scales: [Ints; 2],
    sums: &mut [Ints; R],
    products: &mut [Ints; R],
) {
    // How many vectors can be summed in 16 bits.
    let hold = match BITS {
        4 => 8,
        5 => 4,
        6 => 2,
        _ => 1,
    };
    let weights = vector_of::<BITS, VECTOR>(block, at);
    for row in 0..R {
        let values = splat_i32(four(values[row], 4 * VECTOR));
        let pairs = match BITS {
            // One operand of the instruction is unsigned, so the weights' signs move to the values.
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

/// Splits pairs of 16 bits (a, b) into pairs (a, a) and pairs (b, b).
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn each_scale(pairs: Ints) -> [Ints; 2] {
    // The numbers of the even or of the odd lanes of every four: 0, 0, 2, 2 and 1, 1, 3, 3.
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
fn add_pairs(sums: Ints, a: Ints, b: Ints) -> Ints {
    _mm256_add_epi32(sums, _mm256_madd_epi16(a, b))
}
