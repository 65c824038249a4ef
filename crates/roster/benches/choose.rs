//! The cost of choosing the nodes of one answer, and of recording a session. Run with `cargo bench -p roster`.

#![allow(missing_docs, reason = "made by criterion's macros")]

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use roster::{MemberId, MemberTerms, Roster};
use thinking::thinker::{Condition, Load, ModelCard, Serving};

const NOW: Duration = Duration::from_secs(100);

fn roster(members: usize) -> (Roster, Vec<MemberId>) {
    let mut roster = Roster::new(1);
    let join = |index| roster.join(format!("n{index}"), MemberTerms::default(), Duration::ZERO);
    let ids: Vec<MemberId> = (0..members).map(join).collect();
    for id in &ids {
        let card = Some(ModelCard { name: "m".to_owned(), ..ModelCard::default() });
        let load = Some(Load { prefill_tokens_per_s: 900.0, ..Load::default() });
        let serving = Serving { card, load, round_trip: Duration::from_millis(1) };
        roster.heard(*id, Condition::Serving(Box::new(serving)), Duration::ZERO);
    }
    (roster, ids)
}

fn choose(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("roster");
    for members in [1, 3, 10, 100] {
        let (mut roster, ids) = roster(members);
        group.bench_function(BenchmarkId::new("choose", members), |bencher| {
            bencher.iter(|| roster.choose(|card| !card.name.is_empty(), black_box(NOW)));
        });
        group.bench_function(BenchmarkId::new("session", members), |bencher| {
            bencher.iter(|| {
                roster.begun(ids[0], NOW);
                roster.wrote(ids[0], Duration::from_millis(3));
                roster.ended(ids[0], None, black_box(NOW));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, choose);
criterion_main!(benches);
