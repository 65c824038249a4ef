//! Products of matrices in less than 32 bits with rows of activations, on x86 CPUs with AVX2.
//!
//! Why not only candle's: candle unpacks a quantised matrix once for every row of activations, so eight sessions in a
//! batch cost eight times as much as one, and a prompt costs as much per token as decoding. (With VNNI its kernels
//! share more, but eight sessions still make less than three times the tokens of one.) It widens f16 and bf16 number by
//! number. Here weights are rearranged once, when they are loaded (`packed`), so that an instruction takes 8 or 16
//! columns, and unpacked once for four rows, or with AVX-512 for all rows if there are 16 or more. Every product is
//! summed in one order, so it is the same bit for bit, however many rows or threads share the pass and whichever
//! instructions compute it (`x86`).

mod activations;
mod packed;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use candle_core::{CpuStorage, Device, Result, Storage, Tensor, bail, quantized::GgmlDType};
use rayon::prelude::*;

pub(crate) use self::packed::PackedMatrix;
use self::{
    activations::{Activations, Q8Block32, Q8Block256},
    packed::{COLUMNS, Format},
};

/// Pieces of work per thread, so that other threads can take work from one that is held up.
const PIECES: usize = 4;
/// Below this many multiplications, threads cost more than they save.
const PARALLEL_FROM: usize = 1 << 21;
/// Below this many products, threads cost more than they save when products are put in order.
const COPY_PARALLEL_FROM: usize = 1 << 17;

/// Some panels of one matrix, and where their products go.
struct Piece<'a> {
    matrix: &'a PackedMatrix,
    panels: Range<usize>,
    /// [panels, rows, COLUMNS].
    out: &'a mut [f32],
}

/// An instruction set that has kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// In addition AVX-512 with VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni,
}

/// Returns whether the products of matrices of this format and this many inputs are computed here.
pub(crate) fn serves(dtype: GgmlDType, inputs: usize, device: &Device) -> bool {
    let whole = Format::of(dtype).is_some_and(|format| inputs.is_multiple_of(format.block()));
    whole && device.is_cpu() && !Instructions::available().is_empty()
}

/// Rearranges a matrix [outputs, inputs] of a format that is served here.
pub(crate) fn pack(dtype: GgmlDType, ggml: &[u8], shape: (usize, usize)) -> Result<PackedMatrix> {
    let Some(format) = Format::of(dtype) else { bail!("{dtype:?} is not served here") };
    if !shape.1.is_multiple_of(format.block()) {
        bail!("rows of {} are not a whole number of {dtype:?} blocks", shape.1);
    }
    Ok(PackedMatrix::new(format, ggml, shape))
}

/// Returns the products of `x` [rows, inputs] with matrices [outputs, inputs]: [rows, outputs] each.
pub(crate) fn matmul(matrices: &[&PackedMatrix], x: &Tensor) -> Result<Vec<Tensor>> {
    match Instructions::available().last() {
        Some(best) => best.matmul(matrices, x),
        None => bail!("this CPU has no instructions for the products of panels"),
    }
}

impl Instructions {
    /// Returns the instruction sets that the CPU has, the best last.
    fn available() -> &'static [Instructions] {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma") && has!("f16c");
            let vnni = has!("avx512f") && has!("avx512bw") && has!("avx512vnni");
            match (avx2, vnni) {
                (true, true) => &[Instructions::Avx2, Instructions::Vnni],
                (true, false) => &[Instructions::Avx2],
                (false, _) => &[],
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        &[]
    }

    fn matmul(self, matrices: &[&PackedMatrix], x: &Tensor) -> Result<Vec<Tensor>> {
        let (rows, inputs) = x.dims2()?;
        let contiguous = x.contiguous()?;
        let (storage, layout) = contiguous.storage_and_layout();
        let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
            bail!("quantised matrices on the CPU multiply f32");
        };
        let values = &values[layout.start_offset()..][..rows * inputs];
        let mut x = Activations::new(rows, values);
        for matrix in matrices {
            if matrix.inputs != inputs {
                bail!("a matrix of {} inputs does not multiply rows of {inputs}", matrix.inputs);
            }
            self.quantise(matrix.format, values, &mut x);
        }
        let mut products: Vec<Vec<f32>> =
            matrices.iter().map(|matrix| vec![0.0; matrix.panels() * rows * COLUMNS]).collect();
        let total: usize = matrices.iter().map(|matrix| matrix.panels()).sum();
        let threads = match total * COLUMNS * inputs * rows {
            0..PARALLEL_FROM => 1,
            _ => rayon::current_num_threads(),
        };
        // Kernels may take two panels at a time.
        let share = total.div_ceil(threads * PIECES).next_multiple_of(2);
        let mut pieces = Vec::new();
        for (matrix, product) in matrices.iter().zip(&mut products) {
            for (number, out) in product.chunks_mut(share * rows * COLUMNS).enumerate() {
                let first = number * share;
                let panels = first..first + out.len() / (rows * COLUMNS);
                pieces.push(Piece { matrix, panels, out });
            }
        }
        let compute = |piece: &mut Piece<'_>| {
            let bytes = piece.matrix.some(piece.panels.clone());
            self.multiply(piece.matrix.format, bytes, piece.matrix.panel_bytes(), &x, piece.out);
        };
        if threads == 1 {
            pieces.iter_mut().for_each(compute);
        } else {
            pieces.par_iter_mut().for_each(compute);
        }
        products
            .into_iter()
            .zip(matrices)
            .map(|(product, matrix)| {
                let by_row = by_row(product, rows, matrix.outputs);
                Tensor::from_vec(by_row, (rows, matrix.outputs), &Device::Cpu)
            })
            .collect()
    }

    /// Adds the activations in the kind of blocks that a format multiplies, unless they are there.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(unused_variables, reason = "there are no instructions to multiply with")
    )]
    fn quantise(self, format: Format, values: &[f32], x: &mut Activations<'_>) {
        if format.bits() == 16 {
            return;
        }
        let blocks = values.len() / format.block();
        let wide = format.block() == 256;
        if wide && x.by_256.is_empty() {
            x.by_256 = vec![Q8Block256::EMPTY; blocks];
        } else if !wide && x.by_32.is_empty() {
            x.by_32 = vec![Q8Block32::EMPTY; blocks];
        } else {
            return;
        }
        // A whole number of any block.
        let piece = if values.len() < activations::PARALLEL_FROM { values.len() } else { 1 << 14 };
        let pieces = values.par_chunks(piece);
        #[allow(unsafe_code, reason = "values of this type exist only for what the CPU has")]
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 | Instructions::Vnni => match wide {
                // SAFETY: a value of this type exists only if the CPU has the instructions.
                true => pieces
                    .zip(x.by_256.par_chunks_mut(piece / 256))
                    .for_each(|(values, blocks)| unsafe { x86::quantise_256(values, blocks) }),
                // SAFETY: as above.
                false => pieces
                    .zip(x.by_32.par_chunks_mut(piece / 32))
                    .for_each(|(values, blocks)| unsafe { x86::quantise_32(values, blocks) }),
            },
        }
        #[cfg(target_arch = "x86_64")]
        if self == Instructions::Vnni {
            x.tile();
        }
    }

    /// Computes the products of some panels with all rows, into [panels, rows, COLUMNS].
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(unused_variables, reason = "there are no instructions to multiply with")
    )]
    fn multiply(
        self,
        format: Format,
        panels: &[u8],
        panel_bytes: usize,
        x: &Activations<'_>,
        out: &mut [f32],
    ) {
        #[allow(unsafe_code, reason = "values of this type exist only for what the CPU has")]
        match self {
            // SAFETY: a value of this type exists only if the CPU has the instructions.
            #[cfg(target_arch = "x86_64")]
            _ if format.bits() == 16 => unsafe {
                x86::multiply_floats(format == Format::BF16, panels, panel_bytes, x, out);
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Vnni if x.rows > 1 => unsafe {
                let first = x86::tiles::multiply(format, panels, panel_bytes, x, out);
                x86::vnni::multiply(format, panels, panel_bytes, x, first, out);
            },
            // One row waits for memory, which is read faster in one stream than in two. SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            _ => unsafe {
                x86::avx2::multiply(format, panels, panel_bytes, x, 0, out);
            },
        }
    }
}

/// Reorders [panels, rows, COLUMNS] to [rows, outputs].
fn by_row(mut product: Vec<f32>, rows: usize, outputs: usize) -> Vec<f32> {
    if rows == 1 {
        product.truncate(outputs);
        return product;
    }
    let mut by_row = vec![0.0; rows * outputs];
    let copy = |(row, out): (usize, &mut [f32])| {
        for (panel, out) in product.chunks_exact(rows * COLUMNS).zip(out.chunks_mut(COLUMNS)) {
            out.copy_from_slice(&panel[row * COLUMNS..][..out.len()]);
        }
    };
    if rows * outputs < COPY_PARALLEL_FROM {
        by_row.chunks_exact_mut(outputs).enumerate().for_each(copy);
    } else {
        by_row.par_chunks_exact_mut(outputs).enumerate().for_each(copy);
    }
    by_row
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, quantized::QTensor};
    use proptest::prelude::*;

    use super::{
        super::testing::{bits, noise},
        *,
    };

    const FORMATS: [GgmlDType; 9] = [
        GgmlDType::F16,
        GgmlDType::BF16,
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q4K,
        GgmlDType::Q6K,
    ];

    fn quantised(matrix: &Tensor, dtype: GgmlDType) -> (PackedMatrix, Tensor) {
        let blocks = QTensor::quantize(matrix, dtype).unwrap();
        let packed = pack(dtype, &blocks.data().unwrap(), matrix.dims2().unwrap()).unwrap();
        (packed, blocks.dequantize(&Device::Cpu).unwrap())
    }

    /// Returns the greatest difference, relative to the size of the products.
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
            rows in 1usize..40,
        ) {
            if Instructions::available().is_empty() {
                return Ok(());
            }
            let inputs = 256 * blocks;
            let x = noise(rows, inputs, seed);
            let matrices: Vec<(PackedMatrix, Tensor)> = FORMATS
                .into_iter()
                .enumerate()
                .map(|(at, dtype)| quantised(&noise(outputs + at, inputs, seed ^ at as u32), dtype))
                .collect();
            let all: Vec<&PackedMatrix> = matrices.iter().map(|(packed, _)| packed).collect();
            let products = matmul(&all, &x).unwrap();
            for ((matrix, plain), product) in matrices.iter().zip(&products) {
                let plain = x.matmul(&plain.t().unwrap()).unwrap();
                // The cost of rounding activations to eight bits.
                prop_assert!(apart(product, &plain) < 0.05, "{:?}: {}", matrix.format, apart(product, &plain));
                for row in 0..rows {
                    let (x, together) = (x.narrow(0, row, 1).unwrap(), product.narrow(0, row, 1).unwrap());
                    for instructions in Instructions::available() {
                        let alone = instructions.matmul(&[matrix], &x).unwrap().remove(0);
                        prop_assert_eq!(bits(&alone), bits(&together), "{:?} {:?}", instructions, matrix.format);
                    }
                }
            }
        }

        /// Even if a panel is not full.
        #[test]
        fn a_panel_holds_the_weights_of_the_file(seed: u32, blocks in 1usize..3, outputs in 1usize..20) {
            for dtype in FORMATS {
                let (packed, plain) = quantised(&noise(outputs, 256 * blocks, seed), dtype);
                let ids = Tensor::arange(0u32, outputs as u32, &Device::Cpu).unwrap();
                prop_assert!(apart(&packed.rows(&ids).unwrap(), &plain) < 1e-6, "{dtype:?}");
            }
        }

        #[test]
        fn whole_numbers_multiply_exactly(seed: u32, rows in 1usize..6) {
            if Instructions::available().is_empty() {
                return Ok(());
            }
            // Values that eight bits hold, with 127 in every block so that the scale is 1.
            let whole = |tensor: Tensor| (tensor * 100.0).unwrap().round().unwrap();
            let ones = Tensor::full(127f32, (rows, 1), &Device::Cpu).unwrap();
            let x = whole(noise(rows, 32, seed)).slice_assign(&[0..rows, 5..6], &ones).unwrap();
            let ones = Tensor::full(127f32, (3, 1), &Device::Cpu).unwrap();
            let weights = whole(noise(3, 32, seed ^ 9)).slice_assign(&[0..3, 7..8], &ones).unwrap();
            let (matrix, _) = quantised(&weights, GgmlDType::Q8_0);
            let exact = x.matmul(&weights.t().unwrap()).unwrap();
            for instructions in Instructions::available() {
                let product = instructions.matmul(&[&matrix], &x).unwrap().remove(0);
                prop_assert_eq!(bits(&product), bits(&exact));
            }
        }
    }

    /// The largest weights of a format with the largest activations, of one sign: no intermediate sum overflows.
    #[test]
    fn sums_hold_the_largest_numbers() {
        let plus = Tensor::ones((3, 512), DType::F32, &Device::Cpu).unwrap();
        let rows = Tensor::ones((19, 512), DType::F32, &Device::Cpu).unwrap();
        for (weights, x) in [(&plus, rows.clone()), (&plus, rows.neg().unwrap())] {
            // With equal weights only, a block of a format with a minimum would hold weights of zero.
            let least = Tensor::full(-1f32, (3, 1), &Device::Cpu).unwrap();
            let weights = (0..16).fold(weights.clone(), |weights, block| {
                weights.slice_assign(&[0..3, 32 * block..32 * block + 1], &least).unwrap()
            });
            for dtype in FORMATS {
                let (matrix, plain) = quantised(&weights, dtype);
                let plain = x.matmul(&plain.t().unwrap()).unwrap();
                for instructions in Instructions::available() {
                    let product = instructions.matmul(&[&matrix], &x).unwrap().remove(0);
                    assert!(apart(&product, &plain) < 0.01, "{instructions:?} {dtype:?}");
                }
            }
        }
    }

    /// So many that several threads convert and tile them.
    #[test]
    fn a_prompt_has_the_products_of_its_tokens() {
        let Some(best) = Instructions::available().last() else { return };
        let x = noise(67, 1024, 3);
        for dtype in FORMATS {
            let (matrix, _) = quantised(&noise(9, 1024, 4), dtype);
            let together = best.matmul(&[&matrix], &x).unwrap().remove(0);
            for row in [0, 15, 16, 63, 64, 66] {
                let x = x.narrow(0, row, 1).unwrap();
                let alone = best.matmul(&[&matrix], &x).unwrap().remove(0);
                assert_eq!(
                    bits(&alone),
                    bits(&together.narrow(0, row, 1).unwrap()),
                    "{dtype:?} {row}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        if Instructions::available().is_empty() {
            return;
        }
        let broken = Tensor::full(f32::NAN, (1, 1), &Device::Cpu).unwrap();
        let x = noise(18, 256, 1).slice_assign(&[0..1, 3..4], &broken).unwrap();
        for dtype in FORMATS {
            let (matrix, _) = quantised(&noise(2, 256, 2), dtype);
            let product = matmul(&[&matrix], &x).unwrap().remove(0).to_vec2::<f32>().unwrap();
            assert!(product[0].iter().all(|value| value.is_nan()));
            assert!(product[1..].iter().flatten().all(|value| value.is_finite()));
        }
    }
}
