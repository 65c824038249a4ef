//! How fast a model is computed on this machine, as one line of JSON in tokens a second:
//!
//! ```sh
//! RAYON_NUM_THREADS=2 CANDLE_NUM_THREADS=2 cargo run --release -p engine --example speed -- FILE.gguf
//! ```
//!
//! Decode after 64 and after 1,024 tokens, decode of several sessions at once, prefill of 512 tokens in chunks
//! of 128. `benches/engine_speed.py` runs it beside other engines.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::{error::Error, path::Path, time::Instant};

use engine::{Decoder, KvCache, LoadOptions, Row, Want, load_model};

const DECODED: usize = 16;
const SESSIONS: usize = 8;

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
    let path = std::env::args().nth(1).ok_or("usage: speed FILE.gguf")?;
    let model = load_model(&Path::new(&path).into(), &LoadOptions::default(), &mut |_| {})?;
    let decoder = model.decoder;
    let alone = decode(&decoder, 64, 1)?;
    let together = decode(&decoder, 64, SESSIONS)?;
    let far = decode(&decoder, 1024, 1)?;
    let prefilled = prefill(&decoder, &mut decoder.new_cache(), &tokens(&decoder, 512))?;
    println!(
        "{{\"decode at 64\": {alone:.2}, \"decode of {SESSIONS} at 64\": {together:.2}, \
         \"decode at 1024\": {far:.2}, \"prefill of 512\": {prefilled:.2}}}"
    );
    Ok(())
}
