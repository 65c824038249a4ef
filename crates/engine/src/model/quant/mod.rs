//! Products of quantised matrices with rows of activations on x86 CPUs with AVX2 and no VNNI.
//!
//! Why beside candle's: on these CPUs candle unpacks a matrix once for every row of activations, so that
//! eight sessions in a batch cost eight times what one costs, and a prompt as much per token as decoding. Here a
//! block of weights is unpacked once for four rows. Every product is one of integers within a block and
//! sums its blocks in order, so it is the same to the bit however many rows or threads share the pass. With
//! VNNI candle has kernels that do likewise.

#[cfg(target_arch = "x86_64")]
mod avx2;

use std::ops::Range;

use candle_core::{
    CpuStorage, Device, Result, Storage, Tensor, bail,
    quantized::{GgmlDType, QTensor},
};
use rayon::prelude::*;

/// Columns are handed to threads in multiples of this: their weights stay in the nearest cache while
/// the rows go by.
const COLUMNS: usize = 8;
/// Pieces of work per thread, so that a thread that was held up leaves some to others.
const PIECES: usize = 4;

/// A format that there is a kernel for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q6K,
}

impl Format {
    fn of(dtype: GgmlDType) -> Option<Format> {
        match dtype {
            GgmlDType::Q4_0 => Some(Format::Q4_0),
            GgmlDType::Q4_1 => Some(Format::Q4_1),
            GgmlDType::Q5_0 => Some(Format::Q5_0),
            GgmlDType::Q5_1 => Some(Format::Q5_1),
            GgmlDType::Q8_0 => Some(Format::Q8_0),
            GgmlDType::Q4K => Some(Format::Q4K),
            GgmlDType::Q6K => Some(Format::Q6K),
            _ => None,
        }
    }

    /// Weights that share a scale, and activations too.
    fn block(self) -> usize {
        match self {
            Format::Q4K | Format::Q6K => 256,
            _ => 32,
        }
    }
}

/// 32 activations in eight bits: scale times values, which sum to `sum`.
#[derive(Debug, Clone, Copy)]
struct Eights {
    scale: f32,
    sum: f32,
    values: [i8; 32],
}

/// 256 activations in eight bits, and the sums of every 16 of their values.
#[derive(Debug, Clone, Copy)]
struct Eights256 {
    scale: f32,
    values: [i8; 256],
    sums: [i16; 16],
}

/// Rows of activations in eight bits, [rows, blocks], in the blocks that the matrices at hand need.
#[derive(Debug)]
struct Activations {
    rows: usize,
    by_32: Vec<Eights>,
    by_256: Vec<Eights256>,
}

/// Some columns of one of several matrices, and where their products go.
struct Piece<'a> {
    matrix: usize,
    columns: Range<usize>,
    /// [columns, rows].
    out: &'a mut [f32],
}

/// Whether the products of matrices of this format are computed here.
pub(crate) fn serves(dtype: GgmlDType, device: &Device) -> bool {
    device.is_cpu() && Format::of(dtype).is_some() && available()
}

fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        has!("avx2") && has!("fma") && has!("f16c") && !has!("avx512vnni") && !has!("avxvnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The products of `x` [rows, inputs] with matrices [outputs, inputs] that are all served here:
/// [rows, outputs] each.
pub(crate) fn matmul(matrices: &[&QTensor], x: &Tensor) -> Result<Vec<Tensor>> {
    let (rows, inputs) = x.dims2()?;
    let contiguous = x.contiguous()?;
    let (storage, layout) = contiguous.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
        bail!("quantised matrices on the CPU multiply f32");
    };
    let values = &values[layout.start_offset()..][..rows * inputs];
    let mut x = Activations { rows, by_32: Vec::new(), by_256: Vec::new() };
    let mut sides = Vec::with_capacity(matrices.len());
    for matrix in matrices {
        let Some(format) = Format::of(matrix.dtype()) else {
            bail!("{matrix:?} is not served here")
        };
        let (outputs, width) = matrix.shape().dims2()?;
        if width != inputs || !inputs.is_multiple_of(format.block()) {
            bail!("{matrix:?} does not multiply rows of {inputs}");
        }
        quantise(format, values, &mut x);
        sides.push((format, matrix.data()?, outputs));
    }
    let mut products: Vec<Vec<f32>> =
        sides.iter().map(|(_, _, outputs)| vec![0.0; outputs * rows]).collect();
    let total: usize = sides.iter().map(|(_, _, outputs)| outputs).sum();
    let threads = rayon::current_num_threads();
    let share = total.div_ceil(threads * PIECES).next_multiple_of(COLUMNS);
    let mut pieces = Vec::new();
    for (matrix, product) in products.iter_mut().enumerate() {
        for (number, out) in product.chunks_mut(share * rows).enumerate() {
            let first = number * share;
            pieces.push(Piece { matrix, columns: first..first + out.len() / rows, out });
        }
    }
    let compute = |piece: &mut Piece<'_>| {
        let (format, bytes, outputs) = &sides[piece.matrix];
        let row_bytes = bytes.len() / outputs;
        let columns = &bytes[piece.columns.start * row_bytes..piece.columns.end * row_bytes];
        multiply(*format, columns, row_bytes, &x, piece.out);
    };
    if threads == 1 {
        pieces.iter_mut().for_each(compute);
    } else {
        pieces.par_iter_mut().for_each(compute);
    }
    let device = Device::Cpu;
    products
        .into_iter()
        .zip(&sides)
        .map(|(product, (_, _, outputs))| {
            let by_row = if rows == 1 { product } else { turned(&product, rows) };
            Tensor::from_vec(by_row, (rows, *outputs), &device)
        })
        .collect()
}

/// [columns, rows] to [rows, columns].
fn turned(product: &[f32], rows: usize) -> Vec<f32> {
    let columns = product.len() / rows;
    let mut by_row = vec![0.0; product.len()];
    for (row, of_row) in by_row.chunks_exact_mut(columns).enumerate() {
        for (value, of_column) in of_row.iter_mut().zip(product.chunks_exact(rows)) {
            *value = of_column[row];
        }
    }
    by_row
}

/// Adds the blocks that a format multiplies, once.
fn quantise(format: Format, values: &[f32], x: &mut Activations) {
    let blocks = values.len() / format.block();
    let wide = format.block() == 256;
    if wide && x.by_256.is_empty() {
        x.by_256 = vec![Eights256 { scale: 0.0, values: [0; 256], sums: [0; 16] }; blocks];
    } else if !wide && x.by_32.is_empty() {
        x.by_32 = vec![Eights { scale: 0.0, sum: 0.0, values: [0; 32] }; blocks];
    } else {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if available() {
        // The CPU has what the functions need.
        #[allow(unsafe_code)]
        unsafe {
            if wide {
                avx2::quantise_256(values, &mut x.by_256);
            } else {
                avx2::quantise_32(values, &mut x.by_32);
            }
        }
    }
}

/// The products of some columns with all rows, into [columns, rows].
fn multiply(format: Format, columns: &[u8], row_bytes: usize, x: &Activations, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if available() {
        // The CPU has what the function needs.
        #[allow(unsafe_code)]
        unsafe {
            avx2::multiply(format, columns, row_bytes, x, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::testing::{bits, noise},
        *,
    };

    const FORMATS: [GgmlDType; 7] = [
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q4K,
        GgmlDType::Q6K,
    ];

    /// The greatest difference, against the size of the products.
    fn apart(ours: &Tensor, plain: &Tensor) -> f32 {
        let difference = (ours - plain).unwrap().abs().unwrap().max_all().unwrap();
        let size = plain.sqr().unwrap().mean_all().unwrap().sqrt().unwrap();
        (difference / size).unwrap().to_scalar().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

        #[test]
        fn products_are_the_plain_ones_and_the_same_to_the_bit_in_any_company(
            seed: u32,
            blocks in 1usize..4,
            outputs in 1usize..40,
            rows in 1usize..11,
        ) {
            if !available() {
                return Ok(());
            }
            let inputs = 256 * blocks;
            let x = noise(rows, inputs, seed);
            let matrices: Vec<QTensor> = FORMATS
                .into_iter()
                .enumerate()
                .map(|(at, dtype)| {
                    QTensor::quantize(&noise(outputs + at, inputs, seed ^ at as u32), dtype).unwrap()
                })
                .collect();
            let all: Vec<&QTensor> = matrices.iter().collect();
            let products = matmul(&all, &x).unwrap();
            for (matrix, product) in matrices.iter().zip(&products) {
                let plain = x.matmul(&matrix.dequantize(&Device::Cpu).unwrap().t().unwrap()).unwrap();
                // What rounding activations to eight bits costs.
                prop_assert!(apart(product, &plain) < 0.05, "{matrix:?}: {}", apart(product, &plain));
                for row in 0..rows {
                    let alone = matmul(&[matrix], &x.narrow(0, row, 1).unwrap()).unwrap().remove(0);
                    prop_assert_eq!(bits(&alone), bits(&product.narrow(0, row, 1).unwrap()));
                }
            }
        }

        #[test]
        fn whole_numbers_multiply_exactly(seed: u32, rows in 1usize..6) {
            if !available() {
                return Ok(());
            }
            // Values that eight bits hold, with 127 in every block so that the scale is 1.
            let whole = |tensor: Tensor| (tensor * 100.0).unwrap().round().unwrap();
            let ones = Tensor::full(127f32, (rows, 1), &Device::Cpu).unwrap();
            let x = whole(noise(rows, 32, seed)).slice_assign(&[0..rows, 5..6], &ones).unwrap();
            let ones = Tensor::full(127f32, (3, 1), &Device::Cpu).unwrap();
            let weights = whole(noise(3, 32, seed ^ 9)).slice_assign(&[0..3, 7..8], &ones).unwrap();
            let matrix = QTensor::quantize(&weights, GgmlDType::Q8_0).unwrap();
            let product = matmul(&[&matrix], &x).unwrap().remove(0);
            let exact = x.matmul(&weights.t().unwrap()).unwrap();
            prop_assert_eq!(bits(&product), bits(&exact));
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        if !available() {
            return;
        }
        let broken = Tensor::full(f32::NAN, (1, 1), &Device::Cpu).unwrap();
        let x = noise(2, 256, 1).slice_assign(&[0..1, 3..4], &broken).unwrap();
        for dtype in FORMATS {
            let matrix = QTensor::quantize(&noise(2, 256, 2), dtype).unwrap();
            let product = matmul(&[&matrix], &x).unwrap().remove(0).to_vec2::<f32>().unwrap();
            assert!(product[0].iter().all(|value| value.is_nan()));
            assert!(product[1].iter().all(|value| value.is_finite()));
        }
    }
}
