//! An estimate of a forward pass from what data sheets say of a machine and a model.
//!
//! A pass reads the weights once and multiplies every token by them:
//!
//! ```text
//! pass(n) = overhead + weights / (0.76 bandwidth) + 2 parameters n / (0.5 arithmetic)
//! ```
//!
//! The share of the bandwidth and the overhead of a GPU server are fitted to published decode speeds of Qwen2.5 in vLLM
//! on an A100. The sum of both terms, and not the greater of the two, is what llama.cpp shows on an RTX 4090 for small
//! batches. docs/machines.md compares the estimate with published figures it was not fitted to: most are within 15 %.
//!
//! Attention is left out: at contexts of several thousand tokens a real pass takes longer.

use serde::Deserialize;

use crate::curve::{DecodeFigure, SpeedCurve, SpeedFigures};

/// The share of a machine's memory bandwidth that reading weights reaches.
const BANDWIDTH_SHARE: f64 = 0.76;
/// The share of a machine's arithmetic that multiplying by weights reaches.
const ARITHMETIC_SHARE: f64 = 0.5;
/// Tokens of a prefill pass.
const CHUNK_TOKENS: u32 = 512;
/// Batch sizes at which the curve has a point. Between them the estimate is a straight line anyway.
const BATCHES: [u32; 5] = [1, 2, 8, 32, 128];

/// What a machine can do.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    /// What it is called.
    pub(crate) name: String,
    /// Memory for weights and caches, in GB.
    pub(crate) memory_gb: f64,
    /// Memory bandwidth, in GB a second.
    pub(crate) bandwidth_gb_per_s: f64,
    /// Dense multiplications and additions, in units of 10^12 a second, in the type that the products are computed in.
    pub(crate) tflops: f64,
    /// What a pass takes beside its products, in milliseconds.
    pub(crate) overhead_ms: f64,
    /// Where the figures come from.
    pub(crate) basis: String,
}

/// What a model is made of.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelShape {
    /// What it is called.
    pub(crate) name: String,
    /// Parameters that a token is multiplied by: all, less the input embedding where it is not the output's too. In
    /// units of 10^9.
    pub(crate) parameters_b: f64,
    /// Bytes of weights that a pass reads, in GB.
    pub(crate) read_gb: f64,
    /// Bytes of all weights, in GB.
    pub(crate) weights_gb: f64,
    /// Where the figures come from.
    pub(crate) basis: String,
}

/// Returns how long a pass over `tokens` tokens takes, in seconds.
pub(crate) fn pass_s(machine: &Machine, model: &ModelShape, tokens: u32) -> f64 {
    let read_s = model.read_gb / (BANDWIDTH_SHARE * machine.bandwidth_gb_per_s);
    let token_s = 2.0 * model.parameters_b / (ARITHMETIC_SHARE * machine.tflops * 1e3);
    machine.overhead_ms / 1e3 + read_s + token_s * f64::from(tokens)
}

/// Returns the estimate as a curve, or what is wrong with the figures that it is made from.
pub(crate) fn curve(machine: &Machine, model: &ModelShape) -> Result<SpeedCurve, String> {
    let speed = |tokens: u32| f64::from(tokens) / pass_s(machine, model, tokens);
    let decode = BATCHES.map(|sessions| DecodeFigure { sessions, tokens_per_s: speed(sessions) });
    SpeedCurve::checked(&SpeedFigures {
        prefill_tokens_per_s: speed(CHUNK_TOKENS),
        prefill_chunk_tokens: CHUNK_TOKENS,
        decode: decode.to_vec(),
    })
}

/// Returns whether the model fits, and what it needs: its weights, and a sixteenth of the memory for everything else.
/// In GB.
pub(crate) fn needs_gb(machine: &Machine, model: &ModelShape) -> (bool, f64) {
    let needs_gb = model.weights_gb + machine.memory_gb / 16.0;
    (needs_gb <= machine.memory_gb, needs_gb)
}
