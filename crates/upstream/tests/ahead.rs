//! Appended text is computed ahead: at borders, one request at a time, cancelled when a proposal is requested.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::time::Duration;

use common::{Caller, config, continuations, plain_sampling};
use serde_json::Value;
use thinking::thinker::{Code, Event, FinishReason, Thinker, Warmed};
use upstream::{
    ServerKind, Upstream, UpstreamConfig,
    testing::{FakeFault, FakeOptions, FakeServer},
};

const PARAGRAPH: &str = "First, 7 times 8.\n\n";

/// Opens a session on a server of this kind; returns what its opening computed.
async fn opened(config: UpstreamConfig) -> (Upstream, Caller, Warmed) {
    let config = UpstreamConfig { tokenizer: Some(common::tokenizer()), ..config };
    let upstream = Upstream::new(config).unwrap();
    let mut caller = Caller(upstream.session());
    caller.open("", plain_sampling()).await;
    let Some(Event::Opened(_)) = caller.next().await else { panic!("not opened") };
    let warmed = caller.warmed().await;
    (upstream, caller, warmed)
}

/// The numbers of tokens that the continuation requests asked for.
fn asked(server: &FakeServer) -> Vec<u64> {
    let most = |body: &Value| {
        let native = &body["sampling_params"]["max_new_tokens"];
        let places =
            [&body["n_predict"], &body["max_tokens"], native, &body["options"]["num_predict"]];
        places.into_iter().find_map(Value::as_u64).unwrap()
    };
    continuations(server).iter().map(most).collect()
}

#[tokio::test]
async fn a_takeover_finds_what_was_read_ahead_cached() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::LlamaCpp)).await;
    let (_upstream, mut caller, prompt) = opened(config(&server)).await;
    let part = caller.append("First, ").await;
    assert_eq!((part.prefill_tokens, asked(&server)), (0, vec![1]), "no border yet");
    let paragraph = caller.append("7 times 8.\n\n").await;
    assert!(paragraph.prefill_tokens >= 10, "{paragraph:?}");
    caller.ask(5, 1, &[]).await;
    let (_, finished) = caller.proposal().await;
    assert_eq!(asked(&server), [1, 1, 5]);
    assert_eq!(finished.prefill_tokens, 1, "the last one, which is always computed");
    // The prompt was cached for the paragraph, and both for the takeover.
    let (first, both) = (prompt.prefill_tokens, prompt.prefill_tokens + paragraph.prefill_tokens);
    assert_eq!(finished.cached_tokens, first + both - 1);
    let slots: Vec<_> = continuations(&server).iter().map(|body| body["id_slot"].clone()).collect();
    assert_eq!(slots, [0, 0, 0]);
}

#[tokio::test]
async fn one_request_is_under_way_at_a_time_and_given_up_when_the_text_is_asked_for() {
    let faults = vec![("/completion", FakeFault::SilentOnce)];
    let options = FakeOptions { faults, ..FakeOptions::new(ServerKind::LlamaCpp) };
    let server = FakeServer::start(options).await;
    let upstream = Upstream::new(config(&server)).unwrap();
    let mut caller = Caller(upstream.session());
    caller.open("", plain_sampling()).await;
    let Some(Event::Opened(_)) = caller.next().await else { panic!("not opened") };
    while continuations(&server).is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        caller.send_append(PARAGRAPH).await;
        // Time for a second request, if there were one.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    caller.ask(5, 1, &[]).await;
    for _ in 0..4 {
        assert_eq!(caller.warmed().await.prefill_tokens, 0);
    }
    assert_eq!(caller.proposal().await.1.reason, FinishReason::MaxTokens);
    assert_eq!(asked(&server), [1, 5]);
    let dropped = async {
        while server.unanswered() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), dropped).await.unwrap();
}

#[tokio::test]
async fn what_was_encoded_ahead_is_not_encoded_again() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::LlamaCpp)).await;
    let upstream = Upstream::new(config(&server)).unwrap();
    let mut caller = Caller(upstream.session());
    caller.open("", plain_sampling()).await;
    caller.opened().await;
    caller.append(PARAGRAPH).await;
    let encoded = || server.requests().iter().filter(|one| one.path == "/tokenize").count();
    let before = encoded();
    caller.ask(5, 1, &[]).await;
    caller.proposal().await;
    assert_eq!(encoded(), before);
}

#[tokio::test]
async fn text_that_does_not_fit_is_not_read_ahead() {
    let options = FakeOptions { context_tokens: 80, ..FakeOptions::new(ServerKind::LlamaCpp) };
    let server = FakeServer::start(options).await;
    let (_upstream, mut caller, _) = opened(config(&server)).await;
    caller.append(&PARAGRAPH.repeat(9)).await;
    assert_eq!(asked(&server), [1], "the prompt alone");
}

#[tokio::test]
async fn text_that_fills_no_block_is_not_read_ahead_by_vllm() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::Vllm)).await;
    let (_upstream, mut caller, prompt) = opened(config(&server)).await;
    let tokens = |body: &Value| body["prompt"].as_array().unwrap().len();
    assert_eq!(prompt.prefill_tokens as usize, tokens(&continuations(&server)[0]));
    const PARAGRAPHS: usize = 6;
    for _ in 0..PARAGRAPHS {
        caller.append(PARAGRAPH).await;
    }
    // Blocks of 20 tokens, as its metrics report.
    let blocks: Vec<_> = continuations(&server).iter().map(|body| tokens(body) / 20).collect();
    assert!(blocks.is_sorted_by(|a, b| a < b), "{blocks:?}");
    assert!((3..=PARAGRAPHS).contains(&blocks.len()), "{blocks:?}");
}

#[tokio::test]
async fn nothing_is_read_ahead_where_it_is_off_or_costs_money() {
    for (kind, keep_warm, is_on) in [
        (ServerKind::LlamaCpp, None, true),
        (ServerKind::LlamaCpp, Some(false), false),
        (ServerKind::Vllm, None, true),
        (ServerKind::Sglang, None, true),
        (ServerKind::Ollama, None, true),
        (ServerKind::Completions, None, false),
        (ServerKind::Completions, Some(true), true),
        (ServerKind::ChatPrefix, None, false),
        (ServerKind::ChatPrefix, Some(true), true),
    ] {
        let server = FakeServer::start(FakeOptions::new(kind)).await;
        let config = UpstreamConfig { keep_warm, kind: Some(kind), ..config(&server) };
        let (_upstream, mut caller, prompt) = opened(config).await;
        assert_eq!(prompt.prefill_tokens > 0, is_on, "{kind:?} {keep_warm:?}");
        caller.append(&PARAGRAPH.repeat(4)).await;
        // SGLang computes a text without generating anything.
        let most = u64::from(kind != ServerKind::Sglang);
        assert_eq!(asked(&server), if is_on { vec![most; 2] } else { vec![] }, "{kind:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_ahead_is_told_when_it_is_asked_for() {
    let faults = vec![("/completion", FakeFault::Status(429, "", ""))];
    let options = FakeOptions { faults, ..FakeOptions::new(ServerKind::LlamaCpp) };
    let server = FakeServer::start(options).await;
    let (_upstream, mut caller, prompt) = opened(config(&server)).await;
    assert_eq!(caller.append(PARAGRAPH).await.prefill_tokens, prompt.prefill_tokens);
    assert_eq!(asked(&server), [1, 1]);
    caller.ask(3, 1, &[]).await;
    assert_eq!(caller.failed().await.code, Code::Overloaded);
}
