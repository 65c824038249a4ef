//! The cost of a step: a piece of text, which is nearly every step of an answer, and the end of a stretch with its
//! takeover. Run with `cargo bench -p conductor`.

#![allow(missing_docs, reason = "made by criterion's macros")]

use std::time::Duration;

use conductor::{
    Conductor, Input, NodeId, NodeNames,
    question::{Question, Settings},
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use thinking::{
    beginning::AnswerBeginning,
    policy::PolicySpec,
    stops::StopTexts,
    thinker::{
        Code, Delta, Event, Failure, FinishReason, Finished, ModelCard, Opened, Prompt, Sampling,
        TextHash, Timing, Warmed,
    },
    trigger::{TriggerKind, TriggerMatch},
};

const SMALL: NodeId = NodeId { role: thinking::policy::Role::Small, index: 0 };
const LARGE: NodeId = NodeId { role: thinking::policy::Role::Large, index: 0 };

/// Returns an answer whose small node was just asked to write.
fn asked() -> Option<Conductor> {
    let question = Question {
        id: "bench".to_owned(),
        prompt: Prompt::Raw("What is 2 + 2?".to_owned()),
        sampling: Sampling::default(),
        seed: 1,
        max_tokens: 100_000,
        beginning: AnswerBeginning::default(),
        stop: StopTexts::default(),
        deadline: None,
    };
    let policy = PolicySpec::default().build(1, question.max_tokens).ok()?;
    let large = vec!["large".to_owned(), "next".to_owned()];
    let nodes = NodeNames { small: vec!["small".to_owned()], large };
    let (mut conductor, _) = Conductor::start(question, Settings::default(), policy, nodes);
    for node in [LARGE, SMALL] {
        let card = ModelCard::default();
        let opened = Opened { card, prompt_tokens: 100, cached_tokens: 0 };
        let hash = TextHash::default();
        let warmed = Warmed {
            committed_bytes: 0,
            hash,
            tokens: 100,
            prefill_tokens: 100,
            prefill_us: 9,
            reviewed_bytes: 0,
            passes_milli: 0,
        };
        conductor.step(Input::Event(node, Event::Opened(Box::new(opened))), Duration::ZERO);
        conductor.step(Input::Event(node, Event::Warmed(warmed)), Duration::ZERO);
    }
    Some(conductor)
}

fn delta(bytes: u64) -> Event {
    Event::Delta(Delta {
        text: " even".to_owned(),
        tokens: 1,
        token_ids: vec![1536],
        settled_bytes: bytes,
        first_token_entropy: None,
    })
}

/// Takes in a thousand pieces of text; each is shown and collected for the other node.
fn text(c: &mut Criterion) {
    c.bench_function("step/1000 pieces of text", |b| {
        b.iter_batched(
            asked,
            |conductor| {
                let mut conductor = conductor?;
                for n in 1..=1000 {
                    let now = Duration::from_millis(n);
                    conductor.step(Input::Event(SMALL, delta(5 * n)), now);
                }
                Some(conductor)
            },
            BatchSize::LargeInput,
        );
    });
}

/// Returns the end of a stretch of ten bytes, by a trigger after the first five.
fn triggered() -> Event {
    let found = TriggerMatch {
        kind: TriggerKind::Reflection,
        phrase: "wait".to_owned(),
        cut: 5,
        start: 5,
        end: 10,
    };
    Event::Finished(Finished {
        reason: FinishReason::Trigger(found),
        tokens: 2,
        bytes: 10,
        prefill_tokens: 0,
        cached_tokens: 0,
        timing: Timing::default(),
        passes_milli: 0,
    })
}

/// Returns an answer whose small node has written ten bytes.
fn begun() -> Option<Conductor> {
    let mut conductor = asked()?;
    for _ in 0..2 {
        conductor.step(Input::Event(SMALL, delta(5)), Duration::from_millis(1));
    }
    Some(conductor)
}

/// Ends a stretch with a trigger: it is cut and committed, and the large node is asked.
fn takeover(c: &mut Criterion) {
    c.bench_function("step/the end of a stretch", |b| {
        b.iter_batched(
            begun,
            |conductor| {
                let mut conductor = conductor?;
                let input = Input::Event(SMALL, triggered());
                conductor.step(input, Duration::from_millis(2));
                Some(conductor)
            },
            BatchSize::LargeInput,
        );
    });
}

/// Loses the large node in a takeover: the next one gets the text so far and is asked for the rest.
fn failover(c: &mut Criterion) {
    let lost = || Event::Failed(Failure::new(Code::Unavailable, "it crashed"));
    let taken_over = || {
        let mut conductor = begun()?;
        conductor.step(Input::Event(SMALL, triggered()), Duration::from_millis(2));
        conductor.step(Input::Event(LARGE, delta(5)), Duration::from_millis(3));
        Some(conductor)
    };
    c.bench_function("step/a large node that is lost in a takeover", |b| {
        b.iter_batched(
            taken_over,
            |conductor| {
                let mut conductor = conductor?;
                let effects = conductor.step(Input::Event(LARGE, lost()), Duration::from_millis(4));
                Some((conductor, effects))
            },
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, text, takeover, failover);
criterion_main!(benches);
