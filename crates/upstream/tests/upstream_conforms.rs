//! An upstream conforms to the contract of `thinking::thinker`, with servers of every kind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::time::Duration;

use common::{config, plain_sampling, real, tokenizer};
use thinking::{
    testing::{KitSettings, assert_conforms},
    thinker::Sampling,
};
use upstream::{
    ServerKind, Upstream, UpstreamConfig,
    testing::{FakeOptions, FakeServer, FakeThought},
};

/// Most servers cannot review.
fn usual() -> KitSettings {
    KitSettings { reviews: false, ..KitSettings::default() }
}

#[tokio::test]
async fn an_upstream_over_llama_cpp_conforms() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::LlamaCpp)).await;
    let upstream = Upstream::new(config(&server)).unwrap();
    let settings = KitSettings { computed_tokens: Some(server.counter()), ..usual() };
    assert_conforms(&upstream, &settings).await;
}

#[tokio::test]
async fn an_upstream_over_vllm_conforms() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::Vllm)).await;
    let upstream = Upstream::new(config(&server)).unwrap();
    let settings = KitSettings { computed_tokens: Some(server.counter()), ..usual() };
    assert_conforms(&upstream, &settings).await;
}

#[tokio::test]
async fn an_upstream_over_sglang_conforms() {
    for tokenizer in [None, Some(tokenizer())] {
        let server = FakeServer::start(FakeOptions::new(ServerKind::Sglang)).await;
        let reviews = tokenizer.is_some();
        let upstream = Upstream::new(UpstreamConfig { tokenizer, ..config(&server) }).unwrap();
        let settings = KitSettings { computed_tokens: Some(server.counter()), reviews, ..usual() };
        assert_conforms(&upstream, &settings).await;
    }
}

#[tokio::test]
async fn an_upstream_that_reviews_in_full_conforms() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::Vllm)).await;
    let (tokenizer, reviews_in_full) = (Some(tokenizer()), true);
    let config = UpstreamConfig { tokenizer, reviews_in_full, ..config(&server) };
    let settings =
        KitSettings { computed_tokens: Some(server.counter()), reviews: true, ..usual() };
    assert_conforms(&Upstream::new(config).unwrap(), &settings).await;
}

#[tokio::test]
async fn an_upstream_over_text_conforms() {
    for kind in [ServerKind::Completions, ServerKind::Ollama] {
        let server = FakeServer::start(FakeOptions::new(kind)).await;
        let tokenizer = Some(tokenizer());
        let upstream = Upstream::new(UpstreamConfig { tokenizer, ..config(&server) }).unwrap();
        let settings = KitSettings {
            computed_tokens: Some(server.counter()),
            sampling: plain_sampling(),
            exact_resume: true,
            ..usual()
        };
        assert_conforms(&upstream, &settings).await;
    }
}

#[tokio::test]
async fn an_upstream_over_chats_conforms() {
    for kind in [ServerKind::ChatContinue, ServerKind::ChatPrefix, ServerKind::ChatAssistant] {
        for thought in [FakeThought::Letters, FakeThought::ToldApart] {
            let options = FakeOptions { thought, ..FakeOptions::new(kind) };
            let server = FakeServer::start(options).await;
            let config = UpstreamConfig { kind: Some(kind), ..config(&server) };
            let settings = KitSettings {
                computed_tokens: Some(server.counter()),
                sampling: plain_sampling(),
                exact_resume: true,
                ..usual()
            };
            assert_conforms(&Upstream::new(config).unwrap(), &settings).await;
        }
    }
}

/// `SPECTHINK_UPSTREAM=http://127.0.0.1:8080 cargo test -p upstream --test upstream_conforms -- --ignored`
#[tokio::test]
#[ignore = "needs a real server, whose address SPECTHINK_UPSTREAM holds"]
async fn an_upstream_over_a_real_server_conforms() {
    let upstream = Upstream::new(real()).unwrap();
    // SGLang honours a seed only if every batch computes the same results, which is not so on a CPU.
    let card = upstream.card().await.unwrap();
    let hears_seeds = card.device != ServerKind::Sglang.name();
    let sampling = Sampling::default();
    let settings = KitSettings {
        wait: Duration::from_secs(120),
        proposal_tokens: 16,
        sampling: if hears_seeds { sampling } else { Sampling { temperature: 0.0, ..sampling } },
        reviews: card.can_review,
        // Text computed in different pieces is rounded differently.
        gap_tolerance: 0.05,
        ..usual()
    };
    assert_conforms(&upstream, &settings).await;
}
