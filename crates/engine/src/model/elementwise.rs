//! Elementwise operations and norms between the matrix products, on the CPU.
//!
//! Why not candle's: from 65,536 numbers on (eight sessions' activations, or a chunk of a prompt) they use threads of
//! their own, which spin while they wait and take the cores from those that multiply. They also go over the gate of a
//! feed-forward layer twice, call libm for each number, and sum the squares of a norm one after the other.

use candle_core::{CpuStorage, DType, Result, Storage, Tensor, bail};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{architecture::Activation, exp::exp};

/// Numbers in one piece of work.
const PIECE: usize = 1 << 13;
/// Below this many numbers, threads cost more than they save: for sums, and for exponentials.
const SUMS_PARALLEL_FROM: usize = 1 << 18;
const GATES_PARALLEL_FROM: usize = 1 << 15;

/// Returns the gated linear unit of a feed-forward layer, silu(gate) * up or gelu(gate) * up, all of one shape (Shazeer
/// 2020, arXiv 2002.05202).
pub(crate) fn gated(activation: Activation, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if !serves(gate) || !serves(up) {
        return match activation {
            Activation::Silu => gate.silu()? * up,
            Activation::Gelu => gate.gelu()? * up,
        };
    }
    let is_gelu = activation == Activation::Gelu;
    if gate.shape() != up.shape() {
        bail!("a gate of shape {:?} does not fit {:?}", gate.shape(), up.shape());
    }
    let mut gated = numbers(gate)?;
    let arch = Arch::new();
    with_numbers(up, |up| {
        let compute =
            |(gates, up): (&mut [f32], &[f32])| arch.dispatch(Gated { is_gelu, gates, up });
        if gated.len() < GATES_PARALLEL_FROM {
            gated.chunks_mut(PIECE).zip(up.chunks(PIECE)).for_each(compute);
        } else {
            gated.par_chunks_mut(PIECE).zip(up.par_chunks(PIECE)).for_each(compute);
        }
    })?;
    Tensor::from_vec(gated, gate.shape(), gate.device())
}

/// Returns x + y, where y has x's shape or that of one row of it.
pub(crate) fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if !serves(x) || !serves(y) {
        return x.broadcast_add(y);
    }
    let mut sums = numbers(x)?;
    let width = y.elem_count();
    if y.shape() != x.shape() && y.dims() != &x.dims()[x.rank() - 1..] {
        bail!("{:?} cannot be added to {:?}", y.shape(), x.shape());
    }
    // If y is a row, pieces are rows.
    let piece = if width == sums.len() { PIECE } else { width };
    with_numbers(y, |y| {
        let compute = |(at, sums): (usize, &mut [f32])| {
            for (sum, y) in sums.iter_mut().zip(&y[at * piece % width..]) {
                *sum += y;
            }
        };
        if sums.len() < SUMS_PARALLEL_FROM {
            sums.chunks_mut(piece).enumerate().for_each(compute);
        } else {
            sums.par_chunks_mut(piece).enumerate().for_each(compute);
        }
    })?;
    Tensor::from_vec(sums, x.shape(), x.device())
}

/// Returns the RMS norm of each row of x, times a weight (Zhang and Sennrich 2019, arXiv 1910.07467).
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    if !serves(x) || !serves(weight) {
        return candle_nn::ops::rms_norm(x, weight, eps);
    }
    let width = weight.elem_count();
    if x.dims().last() != Some(&width) {
        bail!("a norm of {width} numbers does not fit {:?}", x.shape());
    }
    let mut rows = numbers(x)?;
    let (arch, piece) = (Arch::new(), width * PIECE.div_ceil(width));
    with_numbers(weight, |weight| {
        let compute = |rows: &mut [f32]| arch.dispatch(Norms { rows, weight, eps });
        if rows.len() < SUMS_PARALLEL_FROM {
            rows.chunks_mut(piece).for_each(compute);
        } else {
            rows.par_chunks_mut(piece).for_each(compute);
        }
    })?;
    Tensor::from_vec(rows, x.shape(), x.device())
}

fn serves(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32 && x.is_contiguous() && x.elem_count() > 0
}

/// Returns a copy of a contiguous tensor's numbers.
fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    with_numbers(x, <[f32]>::to_vec)
}

/// Calls a function with a contiguous tensor's numbers.
fn with_numbers<T>(x: &Tensor, take: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(all)), Some((from, to))) => Ok(take(&all[from..to])),
        _ => bail!("expected a contiguous tensor of f32 on the CPU"),
    }
}

/// Gates, to be replaced by silu(gate) * up or gelu(gate) * up in place.
struct Gated<'a> {
    is_gelu: bool,
    gates: &'a mut [f32],
    up: &'a [f32],
}

impl WithSimd for Gated<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if self.is_gelu {
            // (1 + tanh(z)) / 2 is the sigmoid of 2 z, where z is root(2 / pi) (x + 0.044715 x^3).
            for (gate, up) in self.gates.iter_mut().zip(self.up) {
                let turned = 1.595_769 * (*gate + 0.044_715 * *gate * *gate * *gate);
                *gate *= sigmoid(turned) * up;
            }
            return;
        }
        for (gate, up) in self.gates.iter_mut().zip(self.up) {
            *gate *= sigmoid(*gate) * up;
        }
    }
}

/// Rows, to be replaced by their norms in place.
struct Norms<'a> {
    rows: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl WithSimd for Norms<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        for row in self.rows.chunks_exact_mut(width) {
            let scale = 1.0 / (squares(simd, row) / width as f32 + self.eps).sqrt();
            for (x, weight) in row.iter_mut().zip(self.weight) {
                *x = *x * scale * weight;
            }
        }
    }
}

/// Returns the sum of the squares.
#[inline(always)]
fn squares<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let (vectors, tail) = S::as_simd_f32s(row);
    // Several sums at once, so that none waits for the one before.
    let mut sums = [simd.splat_f32s(0.0); 4];
    for four in vectors.chunks(4) {
        for (sum, x) in sums.iter_mut().zip(four) {
            *sum = simd.mul_add_f32s(*x, *x, *sum);
        }
    }
    let [a, b, c, d] = sums;
    let mut total = simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)));
    for x in tail {
        total += x * x;
    }
    total
}

/// The sigmoid of x. With e = exp(x) it is e / (1 + e) below zero and 1 / (1 + 1/e) above, so that no power overflows.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let above = if x < 0.0 { e } else { 1.0 };
    above / (1.0 + e)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::testing::{bits, noise},
        Activation::{Gelu, Silu},
        *,
    };

    fn apart(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

        #[test]
        fn it_is_plain_arithmetic_and_the_same_to_the_bit_in_any_company(
            seed: u32,
            rows in 1usize..40,
            width in 1usize..9000,
        ) {
            let (x, y) = ((noise(rows, width, seed) * 9.0).unwrap(), noise(rows, width, seed ^ 1));
            let last = |x: &Tensor| x.narrow(0, rows - 1, 1).unwrap();
            for (activation, plain) in [(Silu, x.silu().unwrap()), (Gelu, x.gelu().unwrap())] {
                let all = gated(activation, &x, &y).unwrap();
                prop_assert!(apart(&all, &(plain * &y).unwrap()) < 1e-5);
                let alone = gated(activation, &last(&x), &last(&y)).unwrap();
                prop_assert_eq!(bits(&alone), bits(&last(&all)));
            }
            let weight = y.get(0).unwrap();
            let normed = rms_norm(&x, &weight, 1e-5).unwrap();
            let plain = candle_nn::ops::rms_norm(&x, &weight, 1e-5).unwrap();
            prop_assert!(apart(&normed, &plain) < 1e-4);
            let alone = rms_norm(&last(&x), &weight, 1e-5).unwrap();
            prop_assert_eq!(bits(&alone), bits(&last(&normed)));
            let row = y.get(0).unwrap();
            prop_assert_eq!(bits(&add(&x, &row).unwrap()), bits(&x.broadcast_add(&row).unwrap()));
            prop_assert_eq!(bits(&add(&x, &y).unwrap()), bits(&(&x + &y).unwrap()));
        }
    }

    #[test]
    fn gates_have_no_bounds() {
        let gates = [f32::NEG_INFINITY, -1e30, -0.0, 0.0, 1e30, f32::NAN];
        let gates = Tensor::new(&gates, &candle_core::Device::Cpu).unwrap();
        for activation in [Silu, Gelu] {
            let up = gates.ones_like().unwrap();
            let gated: Vec<f32> = gated(activation, &gates, &up).unwrap().to_vec1().unwrap();
            assert!(gated[0].is_nan(), "infinity times zero");
            assert_eq!(gated[1..5], [0.0, 0.0, 0.0, 1e30]);
            assert!(gated[5].is_nan());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (x, y) = (noise(3, 4, 1), noise(2, 6, 2));
        assert!(gated(Silu, &x, &y).is_err());
        assert!(add(&x, &y).is_err());
        assert!(rms_norm(&x, &y.get(0).unwrap(), 1e-5).is_err());
    }
}
