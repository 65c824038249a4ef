//! Sessions over a model of candle-transformers, which computes them one at a time: they satisfy the contract, stay
//! within their memory, and say what such a model cannot do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::Arc;

use common::{Caller, ask, engine, open};
use engine::EngineOptions;
use futures_util::future::join_all;
use thinking::{
    testing::{KitSettings, assert_conforms},
    thinker::{Code, Command, Open, Review, Thinker as _},
};

const MODEL: &str = "tiny-starcoder2";
/// Memory that 32 tokens take: keys and values of 2 layers and 2 heads of 8 numbers, in as many copies as are kept.
const BLOCK_BYTES: u64 = 3 * 32 * (2 * 2 * 2 * 8) * 4;

/// A product of two f32 matrices is summed in another order if they have another number of rows.
const GAP_TOLERANCE: f32 = 1e-4;

/// Room for one session of 256 tokens.
fn tight() -> EngineOptions {
    EngineOptions {
        prefill_chunk_tokens: Some(24),
        context_tokens: Some(256),
        kv_memory_bytes: Some(9 * BLOCK_BYTES),
        ..EngineOptions::default()
    }
}

#[tokio::test]
async fn an_engine_over_a_model_of_candle_transformers_conforms() {
    let options = EngineOptions { prefill_chunk_tokens: Some(16), ..EngineOptions::default() };
    let engine = Arc::new(engine(MODEL, options));
    let counted = Arc::clone(&engine);
    let settings = KitSettings {
        computed_tokens: Some(Arc::new(move || counted.computed_tokens())),
        exact_resume: true,
        gap_tolerance: GAP_TOLERANCE,
        reviews: false,
        ..KitSettings::default()
    };
    assert_conforms(engine.as_ref(), &settings).await;
}

/// With memory for two sessions of full length, and more sessions than that.
#[tokio::test]
async fn it_conforms_with_many_sessions_at_once() {
    let kv_memory_bytes = Some(2 * 33 * BLOCK_BYTES);
    let engine = engine(MODEL, EngineOptions { context_tokens: None, kv_memory_bytes, ..tight() });
    let settings = KitSettings {
        exact_resume: true,
        gap_tolerance: GAP_TOLERANCE,
        reviews: false,
        ..KitSettings::default()
    };
    join_all((0..6).map(|_| assert_conforms(&engine, &settings))).await;
}

#[tokio::test]
async fn sessions_beyond_the_budget_take_turns_and_say_the_same() {
    let roomy = engine(MODEL, EngineOptions { kv_memory_bytes: None, ..tight() });
    let tight = engine(MODEL, tight());
    let texts: Vec<String> = (0..6).map(|n| format!("{n} and on. ").repeat(8)).collect();
    let mut said = Vec::new();
    for engine in [&roomy, &tight] {
        let callers = texts.iter().map(|text| async move {
            let (mut caller, opened, _) = Caller::open(engine, open(text)).await;
            assert_eq!(opened.cached_tokens, 0, "no beginnings are shared");
            let mut said = String::new();
            for _ in 0..4 {
                let proposal = caller.propose(ask(15)).await;
                // Part of it is forgotten.
                let kept = proposal.text.len() * 2 / 3;
                caller.commit(kept).await;
                said.push_str(&proposal.text[..kept]);
            }
            said
        });
        said.push(join_all(callers).await);
    }
    assert_eq!(said[0], said[1]);
    assert_eq!(roomy.kv_usage().evicted_tokens, 0);
    let usage = tight.kv_usage();
    assert!(usage.evicted_tokens > 0 && usage.recomputed_tokens > 0, "{usage:?}");
    assert_eq!(usage.budget_bytes, 9 * BLOCK_BYTES);
    assert!(usage.held_bytes <= usage.budget_bytes, "{usage:?}");
}

#[tokio::test]
async fn memory_stays_within_the_budget_over_many_questions() {
    let engine = engine(MODEL, tight());
    for question in 0..100 {
        let text = format!("Some words that every answer begins with, and number {question}.");
        let (mut caller, ..) = Caller::open(&engine, open(&text)).await;
        let proposal = caller.propose(ask(8)).await;
        caller.commit(proposal.text.len() / 2).await;
        let usage = engine.kv_usage();
        assert!(usage.held_bytes > 0 && usage.held_bytes <= usage.budget_bytes, "{usage:?}");
    }
}

#[tokio::test]
async fn a_proposal_that_is_forgotten_costs_a_few_tokens_and_not_the_text() {
    let engine = engine(MODEL, EngineOptions::default());
    let text = "So we go on and on, step by step. ".repeat(8);
    let (mut caller, ..) = Caller::open(&engine, open(&text)).await;
    let expected = caller.propose(ask(40)).await.text;
    for kept in [0, 0, 7] {
        caller.commit(kept).await;
        let before = engine.computed_tokens();
        let proposal = caller.propose(ask(40)).await;
        let computed = engine.computed_tokens() - before;
        if kept == 0 {
            assert_eq!(proposal.text, expected);
        }
        assert!(computed <= 40 + 16 + 7, "{computed} tokens");
    }
}

#[tokio::test]
async fn it_says_that_it_cannot_review_and_refuses_to() {
    let engine = engine(MODEL, EngineOptions::default());
    assert!(!engine.card().can_review && engine.card().can_report_entropy);
    let review = Review { gap: 1.0, from_byte: 0, skip_openings: false, draw: None };
    let mut caller = Caller(engine.session());
    caller.send(Command::Open(Open { review: Some(review), ..open("") })).await;
    let failure = caller.failed().await;
    assert_eq!(failure.code, Code::InvalidArgument);
    let expected = "the node's model gives logits for the last token of a text only, so it cannot review; ask a node \
                    that can";
    assert_eq!(failure.message, expected);
}
