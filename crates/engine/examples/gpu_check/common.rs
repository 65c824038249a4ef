//! What the parts of the check share: how results are printed, how a model is loaded and asked, how logits compare.

use std::{error::Error, fmt::Display};

use candle_core::{DType, Device, Tensor};
use engine::{
    BatchRow, Cache, Decode, Decoder, LoadOptions, LoadedModel, ModelLocation, WantedLogits,
    load_model,
};
use serde_json::{Value, json};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Prints a figure.
pub(crate) fn say(what: &str, facts: Value) {
    println!("{}", json!({ "what": what, "facts": facts }));
}

/// Fails if any check did.
pub(crate) fn verdict(failed: usize) -> Outcome {
    if failed == 0 { Ok(()) } else { Err(format!("{failed} checks failed").into()) }
}

/// Returns the first line of an error, which may carry a backtrace.
pub(crate) fn line(why: &dyn Display) -> String {
    why.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Returns the 16-bit type to compute in: bf16, or f16 where the device has no kernels for that.
pub(crate) fn half(device: &Device) -> DType {
    let works = Tensor::ones(2, DType::BF16, device).and_then(|ones| ones.sqr()).is_ok();
    if works { DType::BF16 } else { DType::F16 }
}

/// Returns whether candle's own operations are measured, and not the fused kernels.
pub(crate) fn is_plain() -> bool {
    std::env::var_os("GPU_CHECK_PLAIN").is_some()
}

/// Returns whether a model is computed with the fused kernels.
pub(crate) fn is_fused(model: &LoadedModel) -> bool {
    model.own_decoder().is_some_and(Decoder::is_fused)
}

pub(crate) fn options(dtype: Option<DType>, device: &Device) -> LoadOptions {
    LoadOptions { dtype, device: device.clone(), plain: is_plain(), ..LoadOptions::default() }
}

pub(crate) fn load(
    location: &ModelLocation,
    dtype: Option<DType>,
    device: &Device,
) -> Outcome<LoadedModel> {
    let model = load_model(location, &options(dtype, device), &mut |_| {})?;
    say(
        "loaded",
        json!({ "model": location.name(), "fused": is_fused(&model), "note": model.note }),
    );
    Ok(model)
}

/// Computes the next tokens of one sequence. Returns the wanted logits.
pub(crate) fn pass(
    decoder: &dyn Decode,
    cache: &mut dyn Cache,
    tokens: &[u32],
    logits: WantedLogits,
) -> Outcome<Vec<Vec<f32>>> {
    Ok(decoder.forward(&mut [BatchRow { tokens, cache, logits }])?.to_vec2()?)
}

/// Returns the greatest difference; infinity if a number is missing or not finite.
pub(crate) fn apart(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    let pairs = a.iter().zip(b).flat_map(|(a, b)| a.iter().zip(b));
    pairs.fold(0f32, |most, (a, b)| {
        let apart = (a - b).abs();
        if apart.is_finite() { most.max(apart) } else { f32::INFINITY }
    })
}

/// Returns |a - b| / |b| over all numbers.
pub(crate) fn relative(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let pairs = || a.iter().flatten().zip(b.iter().flatten());
    let difference: f64 = pairs().map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let length: f64 = pairs().map(|(_, b)| f64::from(*b).powi(2)).sum();
    (difference / length).sqrt()
}
