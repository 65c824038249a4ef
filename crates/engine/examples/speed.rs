//! Measures how fast a model is computed on this machine, and prints one line of JSON, in tokens per second:
//!
//! ```sh
//! RAYON_NUM_THREADS=2 CANDLE_NUM_THREADS=2 cargo run --release -p engine --example speed -- FILE.gguf
//! cargo run --release -p engine --features cuda --example speed -- \
//!     --random-weights FOLDER --device cuda --batches 1,8,32
//! ```
//!
//! It measures:
//! - decode after 64 and after 1,024 tokens, and decode of several sessions at once;
//! - pieces of 4, 16 and 64 tokens that are judged as in a review, one for each session in a pass;
//! - prefill of 512 tokens in chunks of 128, and the same with every token judged;
//! - the time to the first token after a prompt of which all but the last 16 tokens are cached, as at a takeover.
//!
//! FOLDER has a config.json; its weights are random, made on the device, in bf16 (`--dtype f32`, `f16`). The output
//! also has the bytes of the weights and the bandwidth of a copy on the device: decoding one session reads all weights
//! for every token. `benches/engine_speed.py` runs this beside other engines.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "it measures, by the system's clock")]

use std::{error::Error, path::PathBuf, time::Instant};

use candle_core::{DType, Device, Tensor};
use engine::{
    BatchRow, Cache, Decode, LoadOptions, LoadedModel, ModelLocation, WantedLogits, load_model,
    load_random,
};

const USAGE: &str = "usage: speed [--device cpu|cuda|metal] [--batches N,N] \
                     (FILE.gguf | --random-weights FOLDER [--dtype f32|bf16|f16])";
const DECODED: usize = 16;
/// Passes over pieces.
const PASSES: usize = 8;

/// Returns some tokens; which ones does not change the speed.
fn tokens(decoder: &dyn Decode, count: usize) -> Vec<u32> {
    let vocab = decoder.facts().vocab as u32;
    (0..count as u32).map(|at| at.wrapping_mul(2_654_435_761) % vocab).collect()
}

/// Sizes in tokens of pieces that are judged at once.
const PIECES: [usize; 3] = [4, 16, 64];

/// Computes tokens in chunks of 128, and waits for the last one's logits. Returns the seconds it took.
fn prefill(
    decoder: &dyn Decode,
    cache: &mut dyn Cache,
    tokens: &[u32],
) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    for chunk in tokens.chunks(128) {
        let row = BatchRow { tokens: chunk, cache, logits: WantedLogits::Last };
        decoder.forward(&mut [row])?.to_vec2::<f32>()?;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Like [`prefill`], but also inspects the logits before every token, as a review does. Returns the seconds it took.
fn review(
    decoder: &dyn Decode,
    cache: &mut dyn Cache,
    tokens: &[u32],
) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    let mut within = 0;
    for chunk in tokens.chunks(128) {
        let row = BatchRow { tokens: chunk, cache, logits: WantedLogits::All };
        let logits = decoder.forward(&mut [row])?.to_vec2::<f32>()?;
        let judged = logits.iter().zip(&chunk[1..]);
        within += judged.filter(|(row, token)| is_within(row, **token)).count();
    }
    std::hint::black_box(within);
    Ok(began.elapsed().as_secs_f64())
}

/// Returns whether a token is within a gap of 1 nat of the likeliest one.
fn is_within(logits: &[f32], token: u32) -> bool {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    most - logits[token as usize] <= 1.0
}

/// Returns how many tokens per second are judged in pieces of `piece` tokens, one for each of `sessions` sessions in a
/// pass, after `context` tokens.
fn review_pieces(
    decoder: &dyn Decode,
    context: usize,
    sessions: usize,
    piece: usize,
) -> Result<f64, Box<dyn Error>> {
    let (prompt, more) = (tokens(decoder, context), tokens(decoder, piece * PASSES));
    let mut caches: Vec<_> = (0..sessions).map(|_| decoder.new_cache()).collect();
    for cache in &mut caches {
        prefill(decoder, &mut **cache, &prompt)?;
    }
    let (began, mut within) = (Instant::now(), 0);
    for piece in more.chunks(piece) {
        let rows = caches.iter_mut().map(|cache| BatchRow {
            tokens: piece,
            cache: &mut **cache,
            logits: WantedLogits::All,
        });
        let logits = decoder.forward(&mut rows.collect::<Vec<_>>())?.to_vec2::<f32>()?;
        let stands = piece.iter().cycle();
        within += logits.iter().zip(stands).filter(|(row, token)| is_within(row, **token)).count();
    }
    std::hint::black_box(within);
    Ok((sessions * piece * PASSES) as f64 / began.elapsed().as_secs_f64())
}

/// Returns the tokens per second over all of `sessions` sessions, each `context` tokens long.
fn decode(decoder: &dyn Decode, context: usize, sessions: usize) -> Result<f64, Box<dyn Error>> {
    let (prompt, next) = (tokens(decoder, context), tokens(decoder, DECODED));
    let mut caches: Vec<_> = (0..sessions).map(|_| decoder.new_cache()).collect();
    for cache in &mut caches {
        prefill(decoder, &mut **cache, &prompt)?;
    }
    let began = Instant::now();
    for token in next.chunks(1) {
        let rows = caches.iter_mut().map(|cache| BatchRow {
            tokens: token,
            cache: &mut **cache,
            logits: WantedLogits::Last,
        });
        let logits = decoder.forward(&mut rows.collect::<Vec<_>>())?;
        logits.to_vec2::<f32>()?;
    }
    Ok((sessions * DECODED) as f64 / began.elapsed().as_secs_f64())
}

/// Returns the bytes per second that a copy on the device reads and writes.
fn copy_bandwidth(device: &Device) -> Result<f64, Box<dyn Error>> {
    const BYTES: usize = 256 << 20;
    const TIMES: usize = 8;
    let from = Tensor::zeros(BYTES / 4, DType::F32, device)?;
    from.copy()?;
    device.synchronize()?;
    let began = Instant::now();
    for _ in 0..TIMES {
        from.copy()?;
    }
    device.synchronize()?;
    Ok((2 * BYTES * TIMES) as f64 / began.elapsed().as_secs_f64())
}

struct Arguments {
    model: Option<PathBuf>,
    random: bool,
    batches: Vec<usize>,
    options: LoadOptions,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut parsed = Arguments {
        model: None,
        random: false,
        batches: vec![1, 8],
        options: LoadOptions::default(),
    };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        if !argument.starts_with("--") {
            parsed.model = Some(argument.into());
            continue;
        }
        let value = given.next().ok_or(USAGE)?;
        match (argument.as_str(), value.as_str()) {
            ("--random-weights", _) => {
                (parsed.model, parsed.random) = (Some(value.into()), true);
            }
            ("--dtype", "f32") => parsed.options.dtype = Some(DType::F32),
            ("--dtype", "bf16") => parsed.options.dtype = Some(DType::BF16),
            ("--dtype", "f16") => parsed.options.dtype = Some(DType::F16),
            ("--device", "cpu") => {}
            ("--device", "cuda") => parsed.options.device = engine::open_cuda(0)?,
            ("--device", "metal") => parsed.options.device = Device::new_metal(0)?,
            ("--batches", list) => {
                parsed.batches = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            _ => return Err(USAGE.into()),
        }
    }
    Ok(parsed)
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { model, random, batches, options } = arguments()?;
    let path = model.ok_or(USAGE)?;
    let LoadedModel { decoder, weight_bytes, .. } = match random {
        true => load_random(&path, &options)?,
        false => load_model(&ModelLocation::Path(path), &options, &mut |_| {})?,
    };
    let mut figures = Vec::new();
    let mut say = |what: String, figure: f64| figures.push(format!("\"{what}\": {figure:.2}"));
    for sessions in batches {
        let what = match sessions {
            1 => "decode at 64".to_owned(),
            _ => format!("decode of {sessions} at 64"),
        };
        say(what, decode(&*decoder, 64, sessions)?);
        for piece in PIECES {
            let what = format!("{piece} reviewed of {sessions} at 64");
            say(what, review_pieces(&*decoder, 64, sessions, piece)?);
        }
    }
    say("decode at 1024".to_owned(), decode(&*decoder, 1024, 1)?);
    let mut cache = decoder.new_cache();
    let prompt = tokens(&*decoder, 512);
    say("prefill of 512".to_owned(), 512.0 / prefill(&*decoder, &mut *cache, &prompt)?);
    let mut judged = decoder.new_cache();
    say("prefill of 512, reviewed".to_owned(), 512.0 / review(&*decoder, &mut *judged, &prompt)?);
    let first = prefill(&*decoder, &mut *cache, &tokens(&*decoder, 16))?;
    say("first token of a warm session, ms".to_owned(), 1e3 * first);
    say("weights, GB".to_owned(), weight_bytes as f64 / 1e9);
    say("copy, GB/s".to_owned(), copy_bandwidth(decoder.device())? / 1e9);
    println!("{{{}}}", figures.join(", "));
    Ok(())
}
