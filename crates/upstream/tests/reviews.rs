//! Servers that report log-probabilities can review: which requests they get, and how often.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Caller, config, tokenizer};
use serde_json::{Value, json};
use thinking::thinker::{
    Append, Code, Command, Cut, Event, Objection, Open, Prompt, Review, TextEnd, Thinker,
    ThoughtStart, Warmed,
};
use upstream::{
    ServerKind, Upstream, UpstreamConfig,
    testing::{FakeFault, FakeOptions, FakeServer},
};

/// A caller of a session that reviews.
fn reviewing(upstream: &Upstream) -> Caller {
    Caller(upstream.session())
}

impl Caller {
    async fn command(&self, command: Command) {
        let _ = self.0.commands.send(command).await;
    }

    async fn review(&self, gap: f32) {
        self.command(Command::Open(Open {
            question_id: "test".into(),
            prompt: Prompt::question("What is 7 times 8?".into(), None),
            committed: String::new(),
            sampling: common::plain_sampling(),
            deadline: None,
            thought: ThoughtStart::Unknown,
            review: Some(Review { gap, from_byte: 0, skip_openings: false, draw: None }),
        }))
        .await;
    }

    async fn append_until(&mut self, text: &str, end: TextEnd) -> (Option<Objection>, Warmed) {
        self.command(Command::Append(Append { end, ..Append::text(text) })).await;
        let mut objection = None;
        loop {
            match self.next().await {
                Some(Event::Objection(it)) => objection = Some(*it),
                Some(Event::Warmed(warmed)) => return (objection, warmed),
                other => panic!("expected Objection or Warmed, came {other:?}"),
            }
        }
    }
}

/// An upstream with reviews on a server of this kind.
fn upstream(server: &FakeServer) -> Upstream {
    let config = config(server);
    let (tokenizer, reviews_in_full) = (Some(tokenizer()), true);
    Upstream::new(UpstreamConfig { tokenizer, reviews_in_full, ..config }).unwrap()
}

/// The requests for log-probabilities of a text.
fn asked(server: &FakeServer) -> Vec<Value> {
    let requests = server.requests().into_iter().map(|request| request.body);
    let asks = |body: &Value| body["return_logprob"] == true || !body["prompt_logprobs"].is_null();
    requests.filter(asks).collect()
}

#[tokio::test]
async fn sglang_is_asked_of_what_is_new_only() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::Sglang)).await;
    let upstream = upstream(&server);
    let mut caller = reviewing(&upstream);
    caller.review(f32::MAX).await;
    caller.opened().await;
    assert!(asked(&server).is_empty(), "nobody has written");
    let (_, first) = caller.append_until(" the sum is", TextEnd::Open).await;
    let judged = " the sum".len() as u64;
    assert_eq!(first.reviewed_bytes, judged, "the last word may go on");
    let (_, second) = caller.append_until(" 7 x", TextEnd::Stretch).await;
    assert_eq!(second.reviewed_bytes, " the sum is 7 x".len() as u64);
    let asked = asked(&server);
    let place = |key: &str| asked.iter().map(|body| body[key].clone()).collect::<Vec<_>>();
    let lengths = asked.iter().map(|body| body["input_ids"].as_array().unwrap().len());
    let lengths: Vec<u64> = lengths.map(|length| length as u64).collect();
    // " the", " sum" after the prompt; then " is", " 7", " x", and the token before the first of them.
    let prompt = lengths[0] - 2;
    assert_eq!(lengths, [prompt + 2, prompt + 5]);
    assert_eq!(place("logprob_start_len"), [json!(prompt - 1), json!(prompt + 1)]);
    assert_eq!(
        place("sampling_params"),
        [json!({ "max_new_tokens": 0 }), json!({ "max_new_tokens": 0 })]
    );
    assert_eq!(second.prefill_tokens, 4, "what was judged before is cached");
}

#[tokio::test]
async fn vllm_is_asked_once_a_paragraph() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::Vllm)).await;
    let upstream = upstream(&server);
    let mut caller = reviewing(&upstream);
    caller.review(f32::MAX).await;
    caller.opened().await;
    for piece in [" the", " sum is", " 7."] {
        let (_, warmed) = caller.append_until(piece, TextEnd::Open).await;
        assert_eq!((warmed.reviewed_bytes, asked(&server).len()), (0, 0), "{piece:?}");
    }
    let (_, paragraph) = caller.append_until("\n\nWait so", TextEnd::Open).await;
    assert_eq!(paragraph.reviewed_bytes, " the sum is 7.\n\nWait".len() as u64);
    assert_eq!(asked(&server).len(), 1);
    let (_, end) = caller.append_until("", TextEnd::Answer).await;
    assert_eq!(end.reviewed_bytes, " the sum is 7.\n\nWait so".len() as u64);
    let asked = asked(&server);
    assert_eq!(asked.len(), 2);
    assert_eq!((&asked[1]["max_tokens"], &asked[1]["stream"]), (&json!(1), &Value::Null));
}

#[tokio::test]
async fn what_is_accepted_stands_as_its_tokens() {
    for kind in [ServerKind::Sglang, ServerKind::Vllm] {
        let server = FakeServer::start(FakeOptions::new(kind)).await;
        let upstream = upstream(&server);
        let mut caller = reviewing(&upstream);
        caller.review(0.0).await;
        caller.opened().await;
        let text = " the sum is 7 x\n\nLet me check";
        let (objection, warmed) = caller.append_until(text, TextEnd::Stretch).await;
        let objection = objection.unwrap();
        assert_eq!(warmed.reviewed_bytes, objection.at_byte, "{kind:?}");
        assert!(
            objection.gap > 0.0 && objection.log_p < 0.0 && objection.rank > 0,
            "{objection:?}"
        );
        let Objection { at_byte: bytes, instead, token_ids, .. } = objection;
        let instead = instead.unwrap();
        assert!(!token_ids.is_empty());
        caller.command(Command::Cut(Cut { bytes, accept: true })).await;
        let warmed = caller.warmed().await;
        assert_eq!(warmed.committed_bytes, bytes + instead.len() as u64);
        let (next, _) = caller.append_until(" so", TextEnd::Stretch).await;
        assert!(next.is_none_or(|next| next.at_byte >= warmed.committed_bytes));
        let last = asked(&server).pop().unwrap();
        let ids = last.get("input_ids").unwrap_or(&last["prompt"]).as_array().unwrap().clone();
        let own: Vec<Value> = token_ids.iter().map(|id| json!(id)).collect();
        assert!(ids.windows(own.len()).any(|window| window == own), "{ids:?} has not {own:?}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_review_says_so_and_cuts_nothing() {
    for (kind, has_tokenizer, in_full, words) in [
        (ServerKind::LlamaCpp, true, true, "SGLang and vLLM can"),
        (ServerKind::Sglang, false, true, "without the tokenizer"),
        (ServerKind::Vllm, true, false, "give both"),
        (ServerKind::Vllm, false, true, "give both"),
    ] {
        let server = FakeServer::start(FakeOptions::new(kind)).await;
        let tokenizer = has_tokenizer.then(tokenizer);
        let config = UpstreamConfig { tokenizer, reviews_in_full: in_full, ..config(&server) };
        let upstream = Upstream::new(config).unwrap();
        assert!(!upstream.card().await.unwrap().can_review, "{kind:?}");
        let mut caller = reviewing(&upstream);
        caller.review(0.0).await;
        caller.opened().await;
        let (objection, warmed) = caller.append_until(" the sum", TextEnd::Stretch).await;
        assert_eq!((objection, warmed.reviewed_bytes, asked(&server)), (None, 0, Vec::new()));
        caller.command(Command::Cut(Cut { bytes: 0, accept: false })).await;
        let failure = caller.failed().await;
        assert_eq!(failure.code, Code::InvalidArgument);
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_review_that_fails_ends_the_session() {
    for (path, fault, code) in [
        ("/generate", FakeFault::Status(500, "", "{\"error\":\"out of memory\"}"), Code::Internal),
        ("/generate", FakeFault::Status(200, "", "{\"text\":\"\"}"), Code::Unavailable),
        ("/generate", FakeFault::HangUp, Code::Unavailable),
    ] {
        let options = FakeOptions::new(ServerKind::Sglang);
        let server =
            FakeServer::start(FakeOptions { faults: vec![(path, fault)], ..options }).await;
        let upstream = upstream(&server);
        let mut caller = reviewing(&upstream);
        caller.review(1.0).await;
        caller.opened().await;
        caller
            .command(Command::Append(Append { end: TextEnd::Stretch, ..Append::text(" the") }))
            .await;
        assert_eq!(caller.failed().await.code, code);
    }
}
