//! How fast does a model of some shape decode, prefill and take over, and how much memory does it take? Its weights are
//! random.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use candle_core::{DType, Device, Tensor, quantized::GgmlDType};
use engine::{
    BatchRow, Cache, Decode, Draws, LoadedModel, ModelLocation, Sampler, WantedLogits, load_random,
};
use serde_json::json;
use thinking::thinker::Sampling;

use crate::{
    common::{Outcome, is_fused, line, load, options, pass, say},
    shape::Shape,
};

/// Steps that are not counted: kernels are loaded when they are first used.
const WARM_UP: usize = 4;

/// Tokens in each session, sessions in a pass, and steps that are counted.
const DECODES: [(usize, usize, usize); 7] = [
    (64, 1, 32),
    (64, 8, 16),
    (1024, 1, 16),
    (4096, 1, 8),
    (64, 32, 8),
    (1024, 8, 8),
    (16_384, 1, 4),
];

/// Tokens of a prompt, and of a pass.
const PREFILLS: [(usize, usize); 5] =
    [(512, 128), (512, 512), (2048, 128), (2048, 512), (2048, 2048)];

/// Measures everything; what has not begun after `seconds` is left out.
pub(crate) fn measure(folder: &Path, held: &str, seconds: u64, device: &Device) -> Outcome {
    let began = Instant::now();
    let shape = Shape::read(folder)?;
    let dtype = dtype_of(held)?;
    let model = random_model(folder, &shape, dtype, device)?;
    let fused = is_fused(&model);
    let LoadedModel { decoder, parameters, weight_bytes, .. } = model;
    device.synchronize()?;
    let made_s = began.elapsed().as_secs_f64();
    let embedding = (shape.vocab_size * shape.hidden_size) as f64;
    // An embedding that is not the head too is looked up, and hardly read.
    let looked_up = if shape.tie_word_embeddings {
        0.0
    } else {
        embedding * embedding_bytes_per_weight(&shape, dtype)
    };
    let copy = copy_bandwidth(device)?;
    let limit = copy / (weight_bytes as f64 - looked_up);
    say(
        "model",
        json!({
            "folder": folder.to_string_lossy(), "held": held, "parameters": parameters,
            "weights, GB": weight_bytes as f64 / 1e9, "made in s": made_s,
            "copy, GB/s": copy / 1e9, "limit, tokens/s": limit, "memory, MiB": memory(),
            "fused": fused,
        }),
    );
    let in_time = || began.elapsed() < Duration::from_secs(seconds);
    decodes(&*decoder, limit, &in_time);
    // Only the last token of a prompt is multiplied by the head.
    let outside = if shape.tie_word_embeddings { embedding } else { 2.0 * embedding };
    prefills(&*decoder, parameters as f64 - outside, &in_time);
    takeover(&*decoder)?;
    draw(shape.vocab_size)
}

/// Returns the type that weights are held in; `None` for a GGUF file of mixed formats.
fn dtype_of(held: &str) -> Outcome<Option<DType>> {
    match held {
        "bf16" => Ok(Some(DType::BF16)),
        "f16" => Ok(Some(DType::F16)),
        "f32" => Ok(Some(DType::F32)),
        "q4_k_m" => Ok(None),
        other => Err(format!("weights are held in bf16, f16, f32 or q4_k_m, not {other}").into()),
    }
}

fn random_model(
    folder: &Path,
    shape: &Shape,
    dtype: Option<DType>,
    device: &Device,
) -> Outcome<LoadedModel> {
    if dtype.is_some() {
        return Ok(load_random(folder, &options(dtype, device))?);
    }
    let file = shape.random_gguf(&|name, layer| q4_k_m(shape, name, layer))?;
    load(&ModelLocation::Path(file.path().to_owned()), None, device)
}

/// Returns the format of a matrix in llama.cpp's mixture: more bits for what matters most.
fn q4_k_m(shape: &Shape, name: &str, layer: usize) -> GgmlDType {
    let layers = shape.num_hidden_layers;
    let eighth = layers / 8;
    let more = layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
    match name {
        "output" => GgmlDType::Q6K,
        "token_embd" if shape.tie_word_embeddings => GgmlDType::Q6K,
        "attn_v" | "ffn_down" if more => GgmlDType::Q6K,
        _ => GgmlDType::Q4K,
    }
}

fn embedding_bytes_per_weight(shape: &Shape, dtype: Option<DType>) -> f64 {
    let Some(dtype) = dtype else {
        let format = q4_k_m(shape, "token_embd", 0);
        return format.type_size() as f64 / format.block_size() as f64;
    };
    dtype.size_in_bytes() as f64
}

/// Returns some tokens; which ones does not change the speed.
fn tokens(decoder: &dyn Decode, count: usize) -> Vec<u32> {
    let vocab = decoder.facts().vocab as u32;
    (0..count as u32).map(|at| at.wrapping_mul(2_654_435_761) % vocab).collect()
}

/// Computes tokens in chunks. Returns the seconds it took.
fn prefill(
    decoder: &dyn Decode,
    cache: &mut dyn Cache,
    tokens: &[u32],
    chunk: usize,
) -> Outcome<f64> {
    let began = Instant::now();
    for part in tokens.chunks(chunk) {
        let row = BatchRow { tokens: part, cache, logits: WantedLogits::Last };
        decoder.forward(&mut [row])?;
    }
    decoder.device().synchronize()?;
    Ok(began.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn decodes(decoder: &dyn Decode, limit: f64, in_time: &dyn Fn() -> bool) {
    for (context, sessions, count) in DECODES {
        let step = if !in_time() {
            Err("no time is left".to_owned())
        } else if context + WARM_UP + count > decoder.facts().context {
            Err("the model's context is shorter".to_owned())
        } else {
            decode(decoder, context, sessions, count).map_err(|why| line(&why))
        };
        let facts = match step {
            Ok([queued, computed, here]) => json!({
                "context": context, "sessions": sessions, "queued, ms": queued,
                "computed, ms": computed, "logits here, ms": here,
                "tokens/s": sessions as f64 * 1e3 / here, "share of limit": 1e3 / here / limit,
                "memory, MiB": memory(),
            }),
            Err(why) => json!({ "context": context, "sessions": sessions, "left out": why }),
        };
        say("decode", facts);
    }
}

/// Decodes one token of each session at a time. Returns the median milliseconds of a step until it is queued, until it
/// is computed, and until its logits are on the host.
fn decode(
    decoder: &dyn Decode,
    context: usize,
    sessions: usize,
    count: usize,
) -> Outcome<[f64; 3]> {
    let mut caches: Vec<_> = (0..sessions).map(|_| decoder.new_cache()).collect();
    for cache in &mut caches {
        prefill(decoder, &mut **cache, &tokens(decoder, context), 512)?;
    }
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for (at, token) in tokens(decoder, WARM_UP + count).chunks(1).enumerate() {
        let began = Instant::now();
        let rows = caches.iter_mut().map(|cache| BatchRow {
            tokens: token,
            cache: &mut **cache,
            logits: WantedLogits::Last,
        });
        let logits = decoder.forward(&mut rows.collect::<Vec<_>>())?;
        let queued = began.elapsed();
        decoder.device().synchronize()?;
        let computed = began.elapsed();
        logits.to_vec2::<f32>()?;
        let here = began.elapsed();
        if at >= WARM_UP {
            for (times, time) in times.iter_mut().zip([queued, computed, here]) {
                times.push(1e3 * time.as_secs_f64());
            }
        }
    }
    Ok(times.map(median))
}

/// `multiplied` is how many weights every token of a prompt is multiplied by.
fn prefills(decoder: &dyn Decode, multiplied: f64, in_time: &dyn Fn() -> bool) {
    for (count, chunk) in PREFILLS {
        let rate = if !in_time() {
            Err("no time is left".to_owned())
        } else if count > decoder.facts().context {
            Err("the model's context is shorter".to_owned())
        } else {
            prefill_rate(decoder, count, chunk).map_err(|why| line(&why))
        };
        let facts = match rate {
            Ok(rate) => json!({
                "tokens": count, "chunk": chunk, "tokens/s": rate,
                "TFLOP/s": 2.0 * multiplied * rate / 1e12,
            }),
            Err(why) => json!({ "tokens": count, "chunk": chunk, "left out": why }),
        };
        say("prefill", facts);
    }
}

/// Returns the tokens per second of a prompt, after one pass that does not count.
fn prefill_rate(decoder: &dyn Decode, count: usize, chunk: usize) -> Outcome<f64> {
    let prompt = tokens(decoder, count);
    prefill(decoder, &mut *decoder.new_cache(), &prompt[..chunk], chunk)?;
    let seconds = prefill(decoder, &mut *decoder.new_cache(), &prompt, chunk)?;
    Ok(count as f64 / seconds)
}

/// Measures the first logits after 16 more tokens of a session of which 1,024 are computed.
fn takeover(decoder: &dyn Decode) -> Outcome {
    if decoder.facts().context < 2048 {
        return Ok(());
    }
    let mut cache = decoder.new_cache();
    prefill(decoder, &mut *cache, &tokens(decoder, 1024), 512)?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        pass(decoder, &mut *cache, &tokens(decoder, 16), WantedLogits::Last)?;
        times.push(1e3 * began.elapsed().as_secs_f64());
    }
    say("16 tokens and the first logits, warm", json!({ "ms": median(times) }));
    Ok(())
}

/// Measures how long it takes the CPU to draw one token by the default rules.
fn draw(vocab: usize) -> Outcome {
    const TIMES: u32 = 50;
    let logits: Vec<f32> = (0..vocab as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 19) as f32)
        .collect();
    let (mut sampler, mut draws) = (Sampler::new(Sampling::default())?, Draws::new(1));
    let began = Instant::now();
    for _ in 0..TIMES {
        sampler.draw(&logits, &[], &mut draws)?;
    }
    let ms = 1e3 * (began.elapsed() / TIMES).as_secs_f64();
    say("draw", json!({ "vocabulary": vocab, "ms": ms }));
    Ok(())
}

/// Returns the bytes per second that a copy on the device reads and writes.
fn copy_bandwidth(device: &Device) -> Outcome<f64> {
    const TIMES: usize = 8;
    let bytes: usize = if device.is_cpu() { 64 << 20 } else { 512 << 20 };
    let from = Tensor::rand(0f32, 1f32, bytes / 4, device)?;
    from.copy()?;
    device.synchronize()?;
    let began = Instant::now();
    for _ in 0..TIMES {
        from.copy()?;
    }
    device.synchronize()?;
    Ok((2 * bytes * TIMES) as f64 / began.elapsed().as_secs_f64())
}

/// Returns the memory in use on the first GPU, in MiB, as its driver says.
fn memory() -> Option<u64> {
    let wanted = ["--query-gpu=memory.used", "--format=csv,noheader,nounits"];
    let said = Command::new("nvidia-smi").args(wanted).output().ok()?;
    String::from_utf8(said.stdout).ok()?.lines().next()?.trim().parse().ok()
}
