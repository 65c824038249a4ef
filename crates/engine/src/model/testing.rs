//! Helpers for the tests of several kernels.

use candle_core::{Device, Tensor};

/// Returns a matrix of numbers between -1 and 1, the same for the same seed.
pub(crate) fn noise(rows: usize, columns: usize, mut seed: u32) -> Tensor {
    let values: Vec<f32> = (0..rows * columns)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
}

/// Returns the bits of all elements, in order.
pub(crate) fn bits(tensor: &Tensor) -> Vec<u32> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}
