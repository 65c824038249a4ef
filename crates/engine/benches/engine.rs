//! The engine's parts by themselves: products with quantised matrices, attention, the sampler, and a whole step of the
//! built-in large model. Run with `cargo bench -p engine`; RAYON_NUM_THREADS=1 for one thread.
//! `benches/engine_speed.py` measures whole models beside other engines.

#![allow(clippy::unwrap_used, reason = "a bench that cannot begin ends")]
#![allow(missing_docs, reason = "made by criterion's macros")]

use std::{hint::black_box, path::Path};

use candle_core::{DType, Device, Tensor, quantized::GgmlDType};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::{
    BatchRow, Cache, Decode, Draws, LoadOptions, Sampler, WantedLogits,
    kernels::{Attention, Matrix},
    load_model,
};
use thinking::thinker::Sampling;

/// Returns values that are neither alike nor in order.
fn values(shape: impl Into<candle_core::Shape>) -> Tensor {
    let shape = shape.into();
    let count = shape.elem_count() as u32;
    let values: Vec<f32> = (0..count)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The gate of Qwen2.5-1.5B's MLP with several rows of activations; elements are multiplications.
fn matmul(c: &mut Criterion) {
    const OUTPUTS: usize = 8960;
    const INPUTS: usize = 1536;
    let mut group = c.benchmark_group("matmul");
    group.sample_size(20);
    for format in [GgmlDType::Q4K, GgmlDType::Q6K, GgmlDType::Q5_0, GgmlDType::Q8_0] {
        let matrix = Matrix::quantised(&values((OUTPUTS, INPUTS)), format).unwrap();
        for rows in [1, 4, 8, 32] {
            let x = values((rows, INPUTS));
            group.throughput(Throughput::Elements((rows * OUTPUTS * INPUTS) as u64));
            group.bench_with_input(BenchmarkId::new(format!("{format:?}"), rows), &x, |b, x| {
                b.iter(|| matrix.multiply(x).unwrap());
            });
        }
    }
}

/// Attention in a layer of Qwen2.5-1.5B: (sessions, context, new tokens of each).
fn attention(c: &mut Criterion) {
    const SIZES: (usize, usize, usize) = (12, 2, 128);
    let mut group = c.benchmark_group("attention");
    for (sessions, context, tokens) in [(1, 64, 1), (1, 1024, 1), (8, 1024, 1), (1, 1024, 128)] {
        let attention = Attention::new(SIZES, sessions, context, tokens).unwrap();
        let queries = values((sessions * tokens, SIZES.0, SIZES.2));
        let name = format!("{sessions} sessions of {context}, {tokens} new");
        group.bench_function(name, |b| b.iter(|| attention.attend(&queries).unwrap()));
    }
}

/// Draws a token from Qwen2.5's vocabulary by the paper's rules.
fn sampler(c: &mut Criterion) {
    let rules = Sampling { temperature: 0.6, top_k: 50, top_p: 0.95, ..Sampling::default() };
    let mut sampler = Sampler::new(rules).unwrap();
    let mut draws = Draws::new(1);
    let logits: Vec<f32> =
        (values(151_936) * 20.0).unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap();
    c.bench_function("sampler", |b| {
        b.iter(|| sampler.draw(black_box(&logits), &[], &mut draws).unwrap());
    });
}

fn built_in() -> Box<dyn Decode> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/large.gguf"));
    load_model(&path.into(), &LoadOptions::default(), &mut |_| {}).unwrap().decoder
}

fn filled(decoder: &dyn Decode, tokens: usize) -> Box<dyn Cache> {
    let mut cache = decoder.new_cache();
    let prompt = vec![7; tokens];
    decoder
        .forward(&mut [BatchRow {
            tokens: &prompt,
            cache: &mut *cache,
            logits: WantedLogits::Last,
        }])
        .unwrap();
    cache
}

/// Decodes a token for each of several sessions of 256 tokens, and prefills a prompt of 256.
fn step(c: &mut Criterion) {
    let decoder = built_in();
    let mut group = c.benchmark_group("step");
    for sessions in [1, 8, 16] {
        group.throughput(Throughput::Elements(sessions));
        group.bench_with_input(BenchmarkId::new("decode", sessions), &sessions, |b, sessions| {
            let caches = || (0..*sessions).map(|_| filled(&*decoder, 256)).collect::<Vec<_>>();
            let one = |mut caches: Vec<Box<dyn Cache>>| {
                let rows = caches.iter_mut().map(|cache| BatchRow {
                    tokens: &[9],
                    cache: &mut **cache,
                    logits: WantedLogits::Last,
                });
                decoder.forward(&mut rows.collect::<Vec<_>>()).unwrap()
            };
            b.iter_batched(caches, one, BatchSize::SmallInput);
        });
    }
    group.throughput(Throughput::Elements(256));
    group.bench_function("prefill/256", |b| b.iter(|| filled(&*decoder, 256)));
}

criterion_group!(benches, matmul, attention, sampler, step);
criterion_main!(benches);
