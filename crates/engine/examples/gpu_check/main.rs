//! What a build for a GPU computes, how fast and in how much memory. Every figure is a line of JSON; `deploy/gpu-check`
//! runs all parts and sums them up.
//!
//! ```sh
//! gpu_check parity FOLDER                      # tests/fixtures/logits: in f32, bf16 and f16, cut in several ways
//! gpu_check quants                             # every quantised format against the CPU, 1 to 64 rows
//! gpu_check text FILE.gguf QUESTIONS.jsonl N   # greedy answers of whole engines: CPU, GPU, N sessions at once
//! gpu_check overhead                           # what one operation costs
//! gpu_check products FOLDER                    # matrix products of a model's shapes
//! gpu_check speed FOLDER HELD SECONDS          # HELD: bf16, f16, f32, q4_k_m; FOLDER has a config.json
//! ```
//!
//! A part that finds something wrong ends with 1. The device is `cuda`, number 0, as the engine opens it, with the
//! fused kernels; with `GPU_CHECK_PLAIN=1` as candle opens it, and without them. `GPU_CHECK_DEVICE=cpu` tries the check
//! itself without a GPU, `GPU_CHECK_DEVICE=metal` runs it on an Apple one.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "it measures, by the system's clock")]

mod common;
mod overhead;
mod parity;
mod products;
mod quants;
mod shape;
mod speed;
mod text;

use std::{path::Path, process::ExitCode};

use candle_core::Device;

use common::Outcome;

const USAGE: &str = "usage: gpu_check parity FOLDER | quants | text FILE.gguf QUESTIONS.jsonl N | \
                     overhead | products FOLDER | speed FOLDER bf16|f16|f32|q4_k_m SECONDS";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("gpu_check: {}", common::line(&why));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["parity", folder] => parity::check(Path::new(folder), &device()?),
        ["quants"] => quants::check(&device()?),
        ["text", file, questions, count] => {
            text::check(Path::new(file), Path::new(questions), count.parse()?, &device()?)
        }
        ["overhead"] => overhead::measure(&device()?),
        ["products", folder] => products::measure(Path::new(folder), &device()?),
        ["speed", folder, held, seconds] => {
            speed::measure(Path::new(folder), held, seconds.parse()?, &device()?)
        }
        _ => Err(USAGE.into()),
    }
}

/// Returns the device that the environment names.
fn device() -> Outcome<Device> {
    let name = std::env::var("GPU_CHECK_DEVICE");
    match name.as_deref().unwrap_or("cuda") {
        "cpu" => Ok(Device::Cpu),
        "metal" => Ok(engine::open_metal()?),
        "cuda" if common::is_plain() => Ok(Device::new_cuda(0)?),
        "cuda" => Ok(engine::open_cuda(0)?),
        other => Err(format!("GPU_CHECK_DEVICE is {other:?}; use cpu, cuda or metal").into()),
    }
}
