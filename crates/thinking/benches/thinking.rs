//! Benchmarks of the pure core: the trigger matcher, which reads every piece of text, and a policy's decisions, one per
//! stretch. Run with `cargo bench -p thinking`.

#![allow(missing_docs, reason = "made by criterion's macros")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use thinking::{
    policy::{Action, Policy, PolicyEvent, Strict, StrictConfig},
    thinker::FinishReason,
    trigger::{Matcher, Watch},
};

fn strict() -> Strict {
    Strict::new(StrictConfig::default(), 8192)
}

/// Returns the watch that the strict policy sends to the small model.
fn watch() -> Option<Watch> {
    strict().step(PolicyEvent::Started { prompt_tokens: 100 }).into_iter().find_map(|action| {
        match action {
            Action::Ask(ask) => ask.watch,
            _ => None,
        }
    })
}

/// Matches a paragraph of four hundred bytes without a trigger, in token-sized pieces.
fn matcher(c: &mut Criterion) {
    let Some(watch) = watch() else { return };
    let paragraph = format!("{}\n\n", "the sum of both sides is even, ".repeat(13));
    let pieces: Vec<&str> = paragraph.split_inclusive(' ').collect();
    let mut group = c.benchmark_group("trigger matcher");
    group.throughput(Throughput::Bytes(paragraph.len() as u64));
    group.bench_function("a paragraph", |b| {
        b.iter(|| {
            let mut matcher = Matcher::new(watch.clone(), "");
            pieces.iter().filter_map(|piece| matcher.push(piece)).count()
        });
    });
}

/// Takes the decisions of an answer of a hundred stretches.
fn policy(c: &mut Criterion) {
    c.bench_function("strict policy/100 stretches", |b| {
        b.iter(|| {
            let mut policy = strict();
            let mut actions = policy.step(PolicyEvent::Started { prompt_tokens: 100 }).len();
            for _ in 0..100 {
                let reason = FinishReason::Stop { end: 21 };
                let text = "So x is 5 and so on.\n\n";
                actions +=
                    policy.step(PolicyEvent::Finished { text, tokens: 12, reason: &reason }).len();
            }
            actions
        });
    });
}

criterion_group!(benches, matcher, policy);
criterion_main!(benches);
