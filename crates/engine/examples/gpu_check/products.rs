//! How fast are the products of a model's matrices with 1 to 512 rows, when a matrix is read from memory and not from a
//! cache?

use std::{path::Path, time::Instant};

use candle_core::{DType, Device, Result, Tensor};
use serde_json::json;

use crate::{
    common::{Outcome, half, say},
    shape::Shape,
};

/// Bytes of matrices between two uses of the same one: more than any cache holds.
const LARGER_THAN_CACHES: usize = 512 << 20;

const ROWS: [usize; 8] = [1, 2, 4, 8, 16, 32, 128, 512];

pub(crate) fn measure(folder: &Path, device: &Device) -> Outcome {
    let dtype = if device.is_cpu() { DType::F32 } else { half(device) };
    let shape = Shape::read(folder)?;
    let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
    let (q, kv) = shape.widths();
    for (name, outputs, inputs) in [
        ("q", q, hidden),
        ("k", kv, hidden),
        ("q, k and v in one", q + 2 * kv, hidden),
        ("output", hidden, q),
        ("gate", inner, hidden),
        ("gate and up in one", 2 * inner, hidden),
        ("down", hidden, inner),
        ("head", shape.vocab_size, hidden),
    ] {
        measure_matrix(name, (outputs, inputs), dtype, device)?;
    }
    Ok(())
}

fn measure_matrix(name: &str, shape: (usize, usize), dtype: DType, device: &Device) -> Outcome {
    let (outputs, inputs) = shape;
    let random = |rows: usize| {
        Tensor::randn(0f32, 0.02, (rows, inputs), device).and_then(|random| random.to_dtype(dtype))
    };
    let bytes = outputs * inputs * dtype.size_in_bytes();
    let copies = (LARGER_THAN_CACHES / bytes).clamp(1, 64);
    let matrices = (0..copies).map(|_| random(outputs)).collect::<Result<Vec<_>>>()?;
    for rows in ROWS {
        let x = random(rows)?;
        let once = || -> Result<()> {
            matrices.iter().try_for_each(|matrix| x.matmul(&matrix.t()?).map(drop))
        };
        once()?;
        device.synchronize()?;
        let times = (128 / copies).clamp(2, 16);
        let began = Instant::now();
        for _ in 0..times {
            once()?;
        }
        device.synchronize()?;
        let seconds = began.elapsed().as_secs_f64() / (times * copies) as f64;
        let flop = 2.0 * (rows * outputs * inputs) as f64;
        say(
            "product",
            json!({
                "matrix": name, "outputs": outputs, "inputs": inputs, "rows": rows,
                "us": 1e6 * seconds, "GB/s": bytes as f64 / seconds / 1e9,
                "TFLOP/s": flop / seconds / 1e12,
            }),
        );
    }
    Ok(())
}
