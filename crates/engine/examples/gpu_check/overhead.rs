//! What single operations of a step cost, whatever the size of the model.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Result, Tensor};
use serde_json::json;

use crate::common::{Outcome, say};

const WARM_UP: u32 = 50;
const TIMES: u32 = 1000;

type Operation<'a> = &'a dyn Fn() -> Result<Tensor>;

/// Measures microseconds for each operation, until it is queued and until it is done.
pub(crate) fn measure(device: &Device) -> Outcome {
    let x = Tensor::ones((8, 64), DType::F32, device)?;
    let row = Tensor::ones(64, DType::F32, device)?;
    let matrix = Tensor::ones((64, 64), DType::F32, device)?;
    let block = || Tensor::ones((32, 64), DType::F32, device);
    let blocks = (0..32).map(|_| block()).collect::<Result<Vec<_>>>()?;
    let mask = vec![0f32; 128 * 512];
    let operations: [(&str, Operation<'_>); 7] = [
        ("scale", &|| &x * 2.0),
        ("add a row", &|| x.broadcast_add(&row)),
        ("copy of a transpose", &|| x.t()?.contiguous()),
        ("product", &|| x.matmul(&matrix)),
        ("32 blocks joined", &|| Tensor::cat(&blocks, 0)),
        ("upload of 32 bytes", &|| Tensor::new(&[1f32; 8], device)),
        ("upload of 256 KiB", &|| Tensor::from_slice(&mask, (128, 512), device)),
    ];
    for (what, operation) in operations {
        for _ in 0..WARM_UP {
            operation()?;
        }
        device.synchronize()?;
        let began = Instant::now();
        for _ in 0..TIMES {
            operation()?;
        }
        let queued = began.elapsed();
        device.synchronize()?;
        let micros = |time: Duration| 1e6 * time.as_secs_f64() / f64::from(TIMES);
        let (queued, done) = (micros(queued), micros(began.elapsed()));
        say("overhead", json!({ "operation": what, "queued, us": queued, "done, us": done }));
    }
    Ok(())
}
