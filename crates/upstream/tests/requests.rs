//! What a server is asked in the course of a session, and how its answers become proposals.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Caller, config, plain_sampling};
use serde_json::Value;
use thinking::thinker::{FinishReason, Thinker};
use upstream::{
    ServerKind, Upstream,
    testing::{FakeOptions, FakeServer},
};

const ANSWER: &str = "Yes 🙂, so 7 is it.\n\nWait, we check 数学.";

async fn server(kind: ServerKind) -> FakeServer {
    let answer = Some(ANSWER.to_owned());
    FakeServer::start(FakeOptions { answer, ..FakeOptions::new(kind) }).await
}

/// What continuations were asked for.
fn continuations(server: &FakeServer) -> Vec<Value> {
    let asked = server
        .requests()
        .into_iter()
        .filter(|one| one.path.ends_with("/completion") || one.path.ends_with("/completions"));
    asked.map(|one| one.body).collect()
}

fn prompt(body: &Value) -> &[Value] {
    body["prompt"].as_array().unwrap()
}

#[tokio::test]
async fn an_answer_is_read_to_its_end_and_every_token_counted() {
    for kind in ServerKind::ALL {
        let server = server(kind).await;
        let mut config = config(&server);
        config.tokenizer = Some(common::tokenizer());
        // Its template is that of the fake server's model.
        let upstream = Upstream::new(config).unwrap();
        let mut caller = Caller(upstream.session());
        caller.open("", plain_sampling()).await;
        caller.opened().await;
        caller.ask(500, 1, &[]).await;
        let (text, finished) = caller.proposal().await;
        assert_eq!(
            (text.as_str(), &finished.reason),
            (ANSWER, &FinishReason::EndOfText),
            "{kind:?}"
        );
        // As the fake server cuts it: words, single bytes, and the end.
        assert_eq!(finished.tokens, 24, "{kind:?}");
        assert!(finished.prefill_tokens > 0, "{finished:?}");
    }
}

#[tokio::test]
async fn own_tokens_are_continued_as_they_were_made() {
    let server = server(ServerKind::Vllm).await;
    let upstream = Upstream::new(config(&server)).unwrap();
    let mut caller = Caller(upstream.session());
    caller.open("", plain_sampling()).await;
    caller.opened().await;
    caller.ask(8, 1, &[]).await;
    let (text, finished) = caller.proposal().await;
    assert_eq!((text.as_str(), finished.tokens), ("Yes 🙂", 8));
    caller.commit(text.len()).await;
    caller.append(", so").await;
    caller.ask(6, 2, &[]).await;
    assert_eq!(caller.proposal().await.0, " 7 is it.");
    let asked = continuations(&server);
    let (first, second) = (prompt(&asked[0]), prompt(&asked[1]));
    assert_eq!(&second[..first.len()], first);
    // " Yes" is a word of its vocabulary and "Yes" is three bytes; then a space, four bytes, "," and " so".
    assert_eq!(second.len() - first.len(), 3 + 1 + 4 + 2);
}

#[tokio::test]
async fn a_stop_text_ends_the_stretch_and_the_connection() {
    for kind in ServerKind::ALL {
        let server = FakeServer::start(FakeOptions::new(kind)).await;
        let mut config = config(&server);
        config.tokenizer = Some(common::tokenizer());
        let upstream = Upstream::new(config).unwrap();
        let mut caller = Caller(upstream.session());
        caller.open("", plain_sampling()).await;
        caller.opened().await;
        caller.ask(1 << 30, 1, &["\n\n"]).await;
        let (text, finished) = caller.proposal().await;
        assert!(text.ends_with("\n\n"), "{text:?}");
        assert_eq!(finished.reason, FinishReason::Stop { end: text.len() as u64 });
        assert!(
            continuations(&server)[0].get("stop").is_none_or(|stop| stop == &serde_json::json!([]))
        );
    }
}

#[tokio::test]
async fn a_full_context_ends_the_stretch() {
    for kind in [ServerKind::LlamaCpp, ServerKind::Vllm] {
        let options = FakeOptions { context_tokens: 80, ..FakeOptions::new(kind) };
        let server = FakeServer::start(options).await;
        let upstream = Upstream::new(config(&server)).unwrap();
        let mut caller = Caller(upstream.session());
        caller.open("", plain_sampling()).await;
        caller.opened().await;
        caller.ask(500, 1, &[]).await;
        let (text, finished) = caller.proposal().await;
        assert_eq!(finished.reason, FinishReason::ContextFull, "{kind:?}: {text}");
        caller.commit(text.len()).await;
        caller.ask(5, 2, &[]).await;
        assert_eq!(caller.proposal().await.1.reason, FinishReason::ContextFull);
    }
}

#[tokio::test]
async fn a_server_says_what_it_serves() {
    let server = server(ServerKind::LlamaCpp).await;
    let card = Upstream::new(config(&server)).unwrap().card().await.unwrap();
    assert_eq!((card.name.as_str(), card.device.as_str()), ("fake", "llama-cpp"));
    assert_eq!((card.parameters, card.quantisation.as_str()), (918_912, "Q8_0"));
    assert_eq!(card.context_tokens, 4096);
    assert_eq!(card.tokenizer_fingerprint, "", "unknown, and so no other tokenizer's");
}

#[tokio::test]
async fn sessions_have_slots_of_their_own_and_one_too_many_is_refused() {
    let server = server(ServerKind::LlamaCpp).await;
    let upstream = Upstream::new(config(&server)).unwrap();
    let mut callers = Vec::new();
    for _ in 0..2 {
        let mut caller = Caller(upstream.session());
        caller.open("", plain_sampling()).await;
        caller.opened().await;
        caller.ask(2, 1, &[]).await;
        caller.proposal().await;
        callers.push(caller);
    }
    let slots: Vec<_> = continuations(&server).iter().map(|body| body["id_slot"].clone()).collect();
    assert_eq!(slots, [0, 1]);
    let mut third = Caller(upstream.session());
    third.open("", plain_sampling()).await;
    let failure = third.failed().await;
    assert_eq!(failure.code, thinking::thinker::Code::Overloaded, "{failure}");
    assert!(failure.message.contains("2 slots"), "{failure}");
    drop(callers.pop());
    let mut fourth = Caller(upstream.session());
    fourth.open("", plain_sampling()).await;
    fourth.opened().await;
}
