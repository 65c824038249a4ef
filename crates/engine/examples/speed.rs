//! How fast a model is computed on this machine:
//!
//! ```sh
//! RAYON_NUM_THREADS=2 CANDLE_NUM_THREADS=2 cargo run --release -p engine --example speed -- FILE.gguf [ROUNDS]
//! ```
//!
//! Prefill of 512 tokens in chunks of 128; decode after 64 and after 1,024 tokens; decode of several
//! sessions at once after 64. A line for each: tokens a second, the best of so many rounds (3).

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::{error::Error, path::Path, time::Instant};

use engine::{Decoder, KvCache, LoadOptions, Row, Want, load_model};

const DECODED: usize = 16;

/// Any tokens do: what they mean costs nothing.
fn tokens(decoder: &Decoder, count: usize) -> Vec<u32> {
    let vocab = decoder.config().vocab as u32;
    (0..count as u32).map(|at| at.wrapping_mul(2_654_435_761) % vocab).collect()
}

fn prefill(decoder: &Decoder, cache: &mut KvCache, tokens: &[u32]) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    for chunk in tokens.chunks(128) {
        decoder.forward(&mut [Row { tokens: chunk, cache, logits: Want::Last }])?;
    }
    Ok(tokens.len() as f64 / began.elapsed().as_secs_f64())
}

/// Tokens a second over all of so many sessions, each `context` tokens long.
fn decode(decoder: &Decoder, context: usize, sessions: usize) -> Result<f64, Box<dyn Error>> {
    let (prompt, next) = (tokens(decoder, context), tokens(decoder, DECODED));
    let mut caches: Vec<KvCache> = (0..sessions).map(|_| decoder.new_cache()).collect();
    for cache in &mut caches {
        prefill(decoder, cache, &prompt)?;
    }
    let began = Instant::now();
    for token in next.chunks(1) {
        let rows = caches.iter_mut().map(|cache| Row { tokens: token, cache, logits: Want::Last });
        let logits = decoder.forward(&mut rows.collect::<Vec<_>>())?;
        logits.to_vec2::<f32>()?;
    }
    Ok((sessions * DECODED) as f64 / began.elapsed().as_secs_f64())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: speed FILE.gguf [ROUNDS]")?;
    let rounds: usize = args.next().map_or(Ok(3), |rounds| rounds.parse())?;
    let model = load_model(&Path::new(&path).into(), &LoadOptions::default(), &mut |_| {})?;
    let decoder = model.decoder;
    let prompt = tokens(&decoder, 512);
    let best = |what: &str, once: &dyn Fn() -> Result<f64, Box<dyn Error>>| {
        let mut best = 0f64;
        for _ in 0..rounds {
            best = best.max(once()?);
        }
        println!("{what:24} {best:7.1} tokens/s");
        Ok::<_, Box<dyn Error>>(())
    };
    println!("{path}, {} threads", rayon::current_num_threads());
    best("decode at 64", &|| decode(&decoder, 64, 1))?;
    best("decode of 8 at 64", &|| decode(&decoder, 64, 8))?;
    best("prefill of 512", &|| prefill(&decoder, &mut decoder.new_cache(), &prompt))?;
    best("decode at 1024", &|| decode(&decoder, 1024, 1))
}
