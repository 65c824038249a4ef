//! Benches the detokenizer, which sees every token that a model makes: `cargo bench -p text`.

#![allow(missing_docs, reason = "made by criterion's macros")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use text::Detokenizer;

/// A thousand tokens of up to three bytes, some of them parts of characters.
fn detokenizer(c: &mut Criterion) {
    let text = "x = 5, größer als 3; 因此 ≈ ".repeat(100);
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(3).take(1000).collect();
    let mut group = c.benchmark_group("detokenizer");
    group.throughput(Throughput::Elements(pieces.len() as u64));
    group.bench_function("pieces", |b| {
        b.iter(|| {
            let (mut detokenizer, mut text) = (Detokenizer::new(), String::new());
            for piece in &pieces {
                detokenizer.push(piece, &mut text);
            }
            text
        });
    });
}

criterion_group!(benches, detokenizer);
criterion_main!(benches);
