//! The engine satisfies the contract of `thinking::thinker`, over two tiny models with random weights.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::Arc;

use common::engine;
use engine::EngineOptions;
use thinking::testing::{KitSettings, assert_conforms};

/// A product of two f32 matrices is summed in another order if they have another number of rows, which is the number of
/// tokens that share a pass.
const GAP_TOLERANCE: f32 = 1e-4;

async fn conforms(model: &str, exact_resume: bool) {
    // Small chunks, so that prefill takes several turns.
    let options = EngineOptions { prefill_chunk_tokens: Some(16), ..EngineOptions::default() };
    let engine = Arc::new(engine(model, options));
    let counted = Arc::clone(&engine);
    let settings = KitSettings {
        computed_tokens: Some(Arc::new(move || counted.computed_tokens())),
        exact_resume,
        gap_tolerance: GAP_TOLERANCE,
        ..KitSettings::default()
    };
    assert_conforms(engine.as_ref(), &settings).await;
}

#[tokio::test]
async fn an_engine_with_one_token_per_byte_conforms() {
    conforms("tiny-llama", true).await;
}

#[tokio::test]
async fn an_engine_with_merges_conforms() {
    conforms("tiny-qwen2", false).await;
}

/// What one session sees does not depend on who shares its batch.
#[tokio::test]
async fn an_engine_conforms_with_many_sessions_at_once() {
    for callers in [2, 16] {
        let options = EngineOptions {
            prefill_chunk_tokens: Some(16),
            // A case holds at most two sessions.
            max_sessions: 2 * callers,
            ..EngineOptions::default()
        };
        let engine = engine("tiny-llama", options);
        let settings = KitSettings {
            exact_resume: true,
            gap_tolerance: GAP_TOLERANCE,
            ..KitSettings::default()
        };
        let kits = (0..callers).map(|_| assert_conforms(&engine, &settings));
        futures_util::future::join_all(kits).await;
    }
}
