//! The requests made in the course of a session, and how the answers become proposals.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Caller, asked_only, continuations, plain_sampling};
use serde_json::Value;
use thinking::thinker::{Append, Command, Event, FinishReason, Thinker, ThoughtStart, Traffic};
use upstream::{
    ApiKey, ServerKind, Upstream, UpstreamConfig,
    testing::{FakeFault, FakeOptions, FakeServer},
};

const ANSWER: &str = "Yes 🙂, so 7 is it.\n\nWait, we check 数学.";

async fn server(kind: ServerKind) -> FakeServer {
    let answer = Some(ANSWER.to_owned());
    FakeServer::start(FakeOptions { answer, ..FakeOptions::new(kind) }).await
}

fn prompt(body: &Value) -> &[Value] {
    body["prompt"].as_array().unwrap()
}

#[tokio::test]
async fn an_answer_is_read_to_its_end_and_every_token_counted() {
    for kind in ServerKind::ALL {
        let server = server(kind).await;
        let mut config = UpstreamConfig { kind: Some(kind), ..asked_only(&server) };
        config.tokenizer = Some(common::tokenizer());
        // It has the chat template of the fake server's model.
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
        // As the fake server splits it: words, single bytes, and the end.
        assert_eq!(finished.tokens, 24, "{kind:?}");
        assert!(finished.prefill_tokens > 0, "{finished:?}");
    }
}

#[tokio::test]
async fn own_tokens_are_continued_as_they_were_made() {
    own_tokens_are_continued(ServerKind::Vllm).await;
}

#[tokio::test]
async fn characters_whose_tokens_are_not_all_told_are_encoded_again() {
    own_tokens_are_continued(ServerKind::LlamaCpp).await;
}

async fn own_tokens_are_continued(kind: ServerKind) {
    let server = server(kind).await;
    let upstream = Upstream::new(asked_only(&server)).unwrap();
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
        let mut config = UpstreamConfig { kind: Some(kind), ..asked_only(&server) };
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
    for kind in [ServerKind::LlamaCpp, ServerKind::Vllm, ServerKind::Sglang] {
        let options = FakeOptions { context_tokens: 80, ..FakeOptions::new(kind) };
        let server = FakeServer::start(options).await;
        let tokenizer = Some(common::tokenizer());
        let upstream = Upstream::new(UpstreamConfig { tokenizer, ..asked_only(&server) }).unwrap();
        let mut caller = Caller(upstream.session());
        caller.open("", plain_sampling()).await;
        caller.opened().await;
        caller.ask(500, 1, &[]).await;
        let (text, finished) = caller.proposal().await;
        assert_eq!(finished.reason, FinishReason::ContextFull, "{kind:?}: {text}");
        assert!(finished.tokens > 9, "{kind:?}: {text}");
        caller.commit(text.len()).await;
        caller.ask(5, 2, &[]).await;
        assert_eq!(caller.proposal().await.1.reason, FinishReason::ContextFull);
    }
}

#[tokio::test]
async fn a_server_that_refuses_a_text_as_too_long_ends_the_stretch() {
    let full = r#"{"error":{"message":"too long","type":"exceed_context_size_error"}}"#;
    let faults = vec![("/completion", FakeFault::Status(400, "", full))];
    let options = FakeOptions { faults, ..FakeOptions::new(ServerKind::LlamaCpp) };
    let server = FakeServer::start(options).await;
    let upstream = Upstream::new(asked_only(&server)).unwrap();
    let mut caller = Caller(upstream.session());
    caller.open("", plain_sampling()).await;
    caller.opened().await;
    caller.ask(9, 1, &[]).await;
    assert_eq!(caller.proposal().await.1.reason, FinishReason::ContextFull);
}

#[tokio::test]
async fn a_server_says_what_it_serves() {
    let server = server(ServerKind::LlamaCpp).await;
    let card = Upstream::new(asked_only(&server)).unwrap().card().await.unwrap();
    assert_eq!((card.name.as_str(), card.device.as_str()), ("fake", "llama-cpp"));
    assert_eq!((card.parameters, card.quantisation.as_str()), (918_912, "Q8_0"));
    assert_eq!(card.context_tokens, 4096);
    assert_eq!(card.tokenizer_fingerprint, "", "unknown, and so no other tokenizer's");
}

#[tokio::test]
async fn what_a_server_says_of_its_model_steers_no_terminal() {
    let described = "a\u{1b}]0;title\u{7}\u{202e}";
    let options = FakeOptions { described, ..FakeOptions::new(ServerKind::LlamaCpp) };
    let server = FakeServer::start(options).await;
    let card = Upstream::new(asked_only(&server)).unwrap().card().await.unwrap();
    let shown = "a\u{fffd}]0;title\u{fffd}\u{fffd}";
    assert_eq!((card.family.as_str(), card.quantisation.as_str()), (shown, shown));
    let models = vec!["fake\u{1b}]0;title\u{7}\u{202e}".to_owned()];
    let server =
        FakeServer::start(FakeOptions { models, ..FakeOptions::new(ServerKind::Vllm) }).await;
    let upstream = Upstream::new(asked_only(&server)).unwrap();
    assert_eq!(upstream.card().await.unwrap().name, "fake\u{fffd}]0;title\u{fffd}\u{fffd}");
    let mut caller = Caller(upstream.session());
    caller.open("", plain_sampling()).await;
    caller.opened().await;
    caller.ask(1, 1, &[]).await;
    caller.proposal().await;
    assert_eq!(
        continuations(&server)[0]["model"],
        "fake\u{1b}]0;title\u{7}\u{202e}",
        "asked for by its own name"
    );
}

/// Returns the end of a continued prompt, after the opening of the assistant's turn.
async fn prompt_end(
    kind: ServerKind,
    left: &'static str,
    wanted: ThoughtStart,
) -> (ThoughtStart, String) {
    let server =
        FakeServer::start(FakeOptions { prompt_end: left, ..FakeOptions::new(kind) }).await;
    let mut config = asked_only(&server);
    config.tokenizer = Some(common::tokenizer());
    let upstream = Upstream::new(config).unwrap();
    let mut caller = Caller(upstream.session());
    caller.open_with_thought("", plain_sampling(), wanted).await;
    caller.opened().await;
    caller.ask(1, 1, &[]).await;
    caller.proposal().await;
    let card = upstream.card().await.unwrap();
    let mut prompts = server.requests().into_iter().filter_map(|one| match one.path.as_str() {
        "/tokenize" => one.body["content"].as_str().map(str::to_owned),
        "/v1/completions" => one.body["prompt"].as_str().map(str::to_owned),
        _ => None,
    });
    let prompt = prompts.next_back().unwrap_or_default();
    let end = prompt.rsplit_once("<|im_start|>assistant\n");
    (card.thought, end.map(|(_, end)| end.to_owned()).unwrap_or_default())
}

#[tokio::test]
async fn a_prompt_ends_with_the_thought_as_it_is_wanted_where_the_server_gives_text() {
    use ThoughtStart::{Open, Over, Unknown, Unopened};
    let (opened, over) = ("<think>\n", "<think>\n\n</think>\n\n");
    for (kind, left, wanted, expected) in [
        (ServerKind::LlamaCpp, "", Unknown, (Unopened, "")),
        (ServerKind::LlamaCpp, "", Open, (Unopened, opened)),
        (ServerKind::LlamaCpp, opened, Unknown, (Open, opened)),
        (ServerKind::LlamaCpp, opened, Open, (Open, opened)),
        (ServerKind::LlamaCpp, opened, Unopened, (Open, "")),
        (ServerKind::LlamaCpp, opened, Over, (Open, over)),
        (ServerKind::Completions, "", Unknown, (Unopened, "")),
        (ServerKind::Completions, "", Open, (Unopened, opened)),
        // It returns token ids.
        (ServerKind::Vllm, opened, Over, (Unknown, "")),
    ] {
        let (thought, end) = prompt_end(kind, left, wanted).await;
        assert_eq!((thought, end.as_str()), expected, "{kind:?}: {left:?} to {wanted:?}");
    }
}

#[tokio::test]
async fn a_begin_of_text_that_the_server_puts_before_every_text_is_not_sent() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::Completions)).await;
    let tokenizer = Some(common::fixture("tiny-llama"));
    let upstream = Upstream::new(UpstreamConfig { tokenizer, ..asked_only(&server) }).unwrap();
    let mut caller = Caller(upstream.session());
    caller.open("", plain_sampling()).await;
    caller.opened().await;
    caller.ask(2, 1, &[]).await;
    caller.next().await;
    let prompt = continuations(&server)[0]["prompt"].clone();
    assert_eq!(prompt, "<|user|>What is 7 times 8?<|assistant|><think>\n");
}

#[tokio::test]
async fn sglang_renders_messages_where_no_tokenizer_is_given() {
    let mut prompts = Vec::new();
    for (given, renders_messages) in [(false, true), (true, true), (true, false)] {
        let options = FakeOptions { renders_messages, ..FakeOptions::new(ServerKind::Sglang) };
        let server = FakeServer::start(options).await;
        let tokenizer = given.then(common::tokenizer);
        let upstream = Upstream::new(UpstreamConfig { tokenizer, ..asked_only(&server) }).unwrap();
        let mut caller = Caller(upstream.session());
        caller.open("", plain_sampling()).await;
        caller.opened().await;
        caller.ask(2, 1, &[]).await;
        caller.proposal().await;
        let requests = server.requests();
        let asked = requests.iter().any(|one| one.body.get("messages").is_some());
        assert_eq!(asked, !given);
        prompts.push(prompt(&continuations(&server)[0]).to_vec());
    }
    assert!(
        prompts.iter().all(|prompt| *prompt == prompts[0]),
        "whoever renders them: {prompts:?}"
    );
}

#[tokio::test]
async fn sessions_have_slots_of_their_own_and_one_too_many_is_refused() {
    let server = server(ServerKind::LlamaCpp).await;
    let upstream = Upstream::new(asked_only(&server)).unwrap();
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

#[tokio::test]
async fn an_ollama_is_found_out_and_serves_the_latest_of_a_model() {
    let models = vec!["small:latest".to_owned(), "large:7b".to_owned()];
    let server =
        FakeServer::start(FakeOptions { models, ..FakeOptions::new(ServerKind::Ollama) }).await;
    let model = Some("small".to_owned());
    let upstream = Upstream::new(UpstreamConfig { model, ..asked_only(&server) }).unwrap();
    let card = upstream.card().await.unwrap();
    assert_eq!((card.name.as_str(), card.device.as_str()), ("small", "ollama"));
}

#[tokio::test]
async fn what_crosses_the_network_is_counted() {
    let key = Some("s3cret".to_owned());
    let server = FakeServer::start(FakeOptions { key, ..FakeOptions::new(ServerKind::Vllm) }).await;
    let key = Some(ApiKey::new("s3cret"));
    let upstream = Upstream::new(UpstreamConfig { key, ..asked_only(&server) }).unwrap();
    assert_eq!(upstream.traffic(), Some(Traffic::default()));
    let mut caller = Caller(upstream.session());
    caller.open("", plain_sampling()).await;
    caller.opened().await;
    caller.ask(9, 1, &[]).await;
    caller.proposal().await;
    let traffic = upstream.traffic().unwrap();
    assert_eq!(traffic.requests, server.requests().len() as u64);
    assert_eq!(traffic.sent_bytes, server.received_bytes());
    assert!(traffic.received_bytes > 1000, "{traffic:?}");
    let gone = UpstreamConfig::new("http://127.0.0.1:1".parse().unwrap());
    let upstream = Upstream::new(gone).unwrap();
    upstream.card().await.unwrap_err();
    assert_eq!(upstream.traffic(), Some(Traffic::default()), "nothing took it");
}

#[tokio::test]
async fn tokens_travel_where_the_tokenizer_is_given() {
    for kind in [ServerKind::LlamaCpp, ServerKind::Vllm, ServerKind::Sglang] {
        let server = FakeServer::start(FakeOptions::new(kind)).await;
        let tokenizer = Some(common::tokenizer());
        let config = UpstreamConfig { tokenizer, ..asked_only(&server) };
        let upstream = Upstream::new(config).unwrap();
        let mut caller = Caller(upstream.session());
        caller.open("", plain_sampling()).await;
        let Some(Event::Opened(opened)) = caller.next().await else { panic!("not opened") };
        assert!(!opened.card.tokenizer_fingerprint.is_empty());
        caller.warmed().await;
        let encoded = |server: &FakeServer| {
            server.requests().iter().filter(|one| one.path == "/tokenize").count()
        };
        let before = encoded(&server);
        // " so" is a word of its vocabulary, but could also be three bytes.
        let ids: Vec<u32> = b" so".iter().map(|byte| u32::from(*byte)).collect();
        let append = Append { token_ids: ids.clone(), ..Append::text(" so") };
        caller.0.commands.send(Command::Append(append)).await.unwrap();
        assert_eq!(caller.warmed().await.tokens, 3);
        caller.ask(20, 1, &[]).await;
        let mut made = Vec::new();
        while let Some(Event::Delta(delta)) = caller.next().await {
            made.extend(delta.token_ids);
        }
        assert!(made.len() > 4, "{kind:?}: {made:?}");
        let asked = continuations(&server);
        let end: Vec<Value> = ids.into_iter().map(Value::from).collect();
        assert!(prompt(&asked[0]).ends_with(&end), "{kind:?}");
        assert_eq!(encoded(&server), before, "{kind:?}: nothing was encoded again");
    }
}
