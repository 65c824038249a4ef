//! AVX-512 with VNNI: one instruction (`dpbusd`) multiplies four weights of each of 16 columns, those of two panels,
//! with four values of a row, and adds them to sums in 32 bits. It reads the values from memory itself, once for all
//! columns.

use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _mm_loadu_si128, _mm256_castsi128_si256,
    _mm256_inserti128_si256, _mm256_loadu_si256, _mm512_add_epi32, _mm512_and_si512 as and,
    _mm512_castsi256_si512, _mm512_cvtepi8_epi16 as widen_signed, _mm512_cvtepi32_ps as to_f32,
    _mm512_cvtepu8_epi16 as widen_unsigned, _mm512_cvtph_ps as from_half, _mm512_dpbusd_epi32,
    _mm512_dpwssd_epi32, _mm512_fmadd_ps as fmadd, _mm512_fnmadd_ps as fnmadd, _mm512_inserti64x4,
    _mm512_mul_ps as mul, _mm512_mullo_epi32, _mm512_or_si512 as or, _mm512_set1_epi8 as splat_i8,
    _mm512_set1_epi32 as splat_i32, _mm512_set1_ps as splat_f32, _mm512_setzero_ps as floats_zero,
    _mm512_setzero_si512 as zero, _mm512_slli_epi16 as left, _mm512_slli_epi32 as shift_32,
    _mm512_srai_epi32, _mm512_srli_epi16 as right, _mm512_storeu_ps, _mm512_sub_epi32 as sub_32,
    _mm512_xor_si512,
};

use super::{
    super::{
        activations::Activations,
        packed::{COLUMNS, Format, GROUP},
    },
    four, rows, two, values_of,
};

type Ints = __m512i;
type Floats = __m512;

/// Panels side by side in a vector.
pub(super) const PANELS: usize = 2;

products!("avx2,fma,f16c,avx512f,avx512bw,avx512vnni", [4, 2, 1]);

#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
pub(super) fn load_16([first, second]: Blocks<'_>, at: usize) -> __m256i {
    let load = |block: &[u8]| -> __m128i {
        let bytes = &block[at..at + 16];
        // SAFETY: reads 16 bytes, which is the slice.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    };
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(first)), load(second))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn load_32([first, second]: Blocks<'_>, at: usize) -> Ints {
    let load = |block: &[u8]| -> __m256i {
        let bytes = &block[at..at + 32];
        // SAFETY: reads 32 bytes, which is the slice.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    };
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load(first)), load(second))
}

/// Writes the products of R rows from `first` on to [1 or 2, rows, 8].
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
pub(super) fn put<const R: usize>(
    out: &mut [f32],
    first: usize,
    rows: usize,
    products: [Floats; R],
) {
    for (row, product) in products.into_iter().enumerate() {
        let mut both = [0.0; PANELS * COLUMNS];
        // SAFETY: writes 16 numbers, which is the array.
        unsafe { _mm512_storeu_ps(both.as_mut_ptr(), product) };
        for (out, product) in out.chunks_exact_mut(rows * COLUMNS).zip(both.chunks_exact(COLUMNS)) {
            out[(first + row) * COLUMNS..][..COLUMNS].copy_from_slice(product);
        }
    }
}

/// One operand of `dpbusd` is unsigned, so signed weights are taken 128 too high. The sums begin as much too low, for
/// values that sum to `whole`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn begin<const BITS: usize>(whole: i32) -> Ints {
    if BITS == 8 { splat_i32(-128 * whole) } else { zero() }
}

/// Adds the products of a group of 8 columns with R rows' values.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn add_group<const R: usize, const BITS: usize>(
    block: Blocks<'_>,
    at: usize,
    values: [&[i8; GROUP]; R],
    products: &mut [Ints; R],
) {
    add_half::<R, BITS, 0>(block, at, values, products);
    add_half::<R, BITS, 1>(block, at, values, products);
}

/// Adds the products of a group of 8 columns with R rows' values, scaled: those of the first and of
/// the last 16 weights.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn add_scaled<const R: usize, const BITS: usize>(
    block: Blocks<'_>,
    at: usize,
    values: [&[i8; GROUP]; R],
    scales: [Ints; 2],
    products: &mut [Ints; R],
) {
    // Two sums even if both are scaled alike: a single sum would wait for itself.
    let [mut first, mut last] = [[zero(); R]; 2];
    add_half::<R, BITS, 0>(block, at, values, &mut first);
    add_half::<R, BITS, 1>(block, at, values, &mut last);
    for row in 0..R {
        let product = if BITS == 4 {
            _mm512_mullo_epi32(_mm512_add_epi32(first[row], last[row]), scales[0])
        } else {
            let product = _mm512_mullo_epi32(first[row], scales[0]);
            _mm512_add_epi32(product, _mm512_mullo_epi32(last[row], scales[1]))
        };
        products[row] = _mm512_add_epi32(products[row], product);
    }
}

/// Adds the products of the first or the last 16 weights.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn add_half<const R: usize, const BITS: usize, const HALF: usize>(
    block: Blocks<'_>,
    at: usize,
    values: [&[i8; GROUP]; R],
    sums: &mut [Ints; R],
) {
    // Not a loop: shifts need constants.
    if HALF == 0 {
        add_vector::<R, BITS, 0>(block, at, values, sums);
        add_vector::<R, BITS, 1>(block, at, values, sums);
        add_vector::<R, BITS, 2>(block, at, values, sums);
        add_vector::<R, BITS, 3>(block, at, values, sums);
    } else {
        add_vector::<R, BITS, 4>(block, at, values, sums);
        add_vector::<R, BITS, 5>(block, at, values, sums);
        add_vector::<R, BITS, 6>(block, at, values, sums);
        add_vector::<R, BITS, 7>(block, at, values, sums);
    }
}

/// Adds the products of one vector: four weights of every column.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn add_vector<const R: usize, const BITS: usize, const VECTOR: usize>(
    block: Blocks<'_>,
    at: usize,
    values: [&[i8; GROUP]; R],
    sums: &mut [Ints; R],
) {
    let weights = vector_of::<BITS, VECTOR>(block, at);
    let weights = if BITS == 8 { _mm512_xor_si512(weights, splat_i8(-128)) } else { weights };
    for row in 0..R {
        let values = splat_i32(four(values[row], 4 * VECTOR));
        sums[row] = _mm512_dpbusd_epi32(sums[row], weights, values);
    }
}

/// Splits pairs of 16 bits (a, b) into a and b, in 32 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
pub(super) fn each_scale(pairs: Ints) -> [Ints; 2] {
    let first = _mm512_srai_epi32::<16>(shift_32::<16>(pairs));
    [first, _mm512_srai_epi32::<16>(pairs)]
}

/// Adds the products of pairs of 16 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn add_pairs(sums: Ints, a: Ints, b: Ints) -> Ints {
    _mm512_dpwssd_epi32(sums, a, b)
}
