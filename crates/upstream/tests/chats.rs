//! A chat-only server continues an answer exactly, or is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Caller, asked_only, continuations, plain_sampling};
use serde_json::json;
use thinking::thinker::{Code, Command, Failure, Open, Prompt, Thinker, ThoughtStart};
use upstream::{
    ServerKind, Upstream, UpstreamConfig,
    testing::{FakeFault, FakeOptions, FakePrefill, FakeServer, FakeThought},
};

const KINDS: [ServerKind; 3] =
    [ServerKind::ChatContinue, ServerKind::ChatPrefix, ServerKind::ChatAssistant];
const ANSWER: &str = "<think>\nHm, so 7.\n</think>\n\nYes 🙂, 数学.";

fn upstream(server: &FakeServer, kind: ServerKind) -> Upstream {
    Upstream::new(UpstreamConfig { kind: Some(kind), ..asked_only(server) }).unwrap()
}

async fn server(kind: ServerKind, thought: FakeThought) -> FakeServer {
    let answer = Some(ANSWER.to_owned());
    FakeServer::start(FakeOptions { thought, answer, ..FakeOptions::new(kind) }).await
}

/// Returns the failure of a session that continues a text.
async fn failure(upstream: &Upstream, committed: &str) -> Failure {
    let mut caller = Caller(upstream.session());
    caller.open(committed, plain_sampling()).await;
    caller.ask(9, 1, &[]).await;
    caller.failed().await
}

#[tokio::test]
async fn an_answer_is_gone_on_with_in_the_way_that_is_named() {
    for (kind, field) in KINDS.into_iter().zip(["continue_final_message", "prefix", ""]) {
        let server = server(kind, FakeThought::Letters).await;
        let upstream = upstream(&server, kind);
        let mut caller = Caller(upstream.session());
        caller.open("", plain_sampling()).await;
        caller.opened().await;
        caller.ask(6, 1, &[]).await;
        let (text, _) = caller.proposal().await;
        assert_eq!(text, "<think>\nHm, so", "{kind:?}");
        caller.commit("<think>\nHm,".len()).await;
        caller.append(" so").await;
        caller.ask(99, 2, &[]).await;
        assert_eq!(caller.proposal().await.0, " 7.\n</think>\n\nYes 🙂, 数学.", "{kind:?}");
        let asked = continuations(&server);
        let question = json!({ "role": "user", "content": "What is 7 times 8?" });
        assert_eq!(asked[0]["messages"], json!([question]));
        let mut so_far = json!({ "role": "assistant", "content": "<think>\nHm, so" });
        if field == "prefix" {
            so_far["prefix"] = true.into();
        }
        assert_eq!(asked[1]["messages"], json!([question, so_far]));
        let continues = field == "continue_final_message";
        assert_eq!(asked[0].get("continue_final_message"), None);
        assert_eq!(asked[1]["continue_final_message"] == true, continues, "{kind:?}");
        assert_eq!(asked[1]["add_generation_prompt"] == false, continues, "{kind:?}");
    }
}

#[tokio::test]
async fn one_that_does_not_go_on_exactly_is_refused() {
    for kind in KINDS {
        for (prefill, words) in [
            (FakePrefill::NewTurn, "it begins a new turn, or changes the answer"),
            (FakePrefill::Repeats, "it repeats the beginning of the answer"),
            (FakePrefill::Trims, "it takes white space off the end of the answer"),
            (FakePrefill::Drops, "it leaves out the beginning of the answer"),
            (FakePrefill::CountsNothing, "does not count the tokens of prompts"),
            (FakePrefill::Refuses, "exactly with kind chat-"),
            (FakePrefill::Refuses, ": it refuses the request: the final message does not"),
        ] {
            let options = FakeOptions { prefill, ..FakeOptions::new(kind) };
            let server = FakeServer::start(options).await;
            let upstream = upstream(&server, kind);
            let failure = failure(&upstream, "").await;
            assert_eq!(failure.code, Code::InvalidArgument, "{kind:?} {prefill:?}: {failure}");
            let line = &failure.message;
            assert!(line.starts_with(&server.address()) && line.contains(words), "{line}");
            assert!(!line.contains('\n') && line.len() < 400, "{line}");
            assert_eq!(upstream.check_model().await.unwrap_err(), failure, "a run does not begin");
            assert_eq!(continuations(&server).len(), 0, "nothing else was asked");
        }
    }
}

#[tokio::test]
async fn a_server_asked_in_another_dialect_is_refused() {
    for is in KINDS {
        for asked in KINDS.into_iter().filter(|asked| *asked != is) {
            let server = FakeServer::start(FakeOptions::new(is)).await;
            let upstream = upstream(&server, asked);
            // A server that continues any last message does so under every kind.
            if is == ServerKind::ChatAssistant {
                upstream.check_model().await.unwrap();
                continue;
            }
            let failure = failure(&upstream, "").await;
            let words = format!("with kind {}: it begins a new turn", asked.name());
            assert!(failure.message.contains(&words), "{is:?} {asked:?}: {failure}");
        }
    }
}

#[tokio::test]
async fn a_thought_that_is_told_apart_is_text_between_marks() {
    for thought in [FakeThought::ToldApart, FakeThought::Field] {
        let kind = ServerKind::ChatPrefix;
        let server = server(kind, thought).await;
        let upstream = upstream(&server, kind);
        let mut caller = Caller(upstream.session());
        caller.open("", plain_sampling()).await;
        caller.opened().await;
        // In the thought, at its end, and after it.
        let mut committed = String::new();
        for (tokens, seed) in [(5, 1), (4, 2), (2, 3), (99, 4)] {
            caller.ask(tokens, seed, &[]).await;
            let (text, _) = caller.proposal().await;
            caller.commit(text.len()).await;
            committed.push_str(&text);
        }
        assert_eq!(committed, ANSWER, "{thought:?}");
        let asked = continuations(&server);
        let so_far = &asked[1]["messages"][1];
        let field = if thought == FakeThought::Field { "reasoning_content" } else { "content" };
        assert!(so_far[field].as_str().unwrap().contains("Hm,"), "{so_far}");
    }
}

#[tokio::test]
async fn a_thought_is_begun_for_a_server_as_it_is_wanted() {
    for (thought, lead) in [
        (FakeThought::Letters, json!({ "role": "assistant", "content": "<think>\nHm," })),
        (
            FakeThought::Field,
            json!({ "role": "assistant", "content": "", "reasoning_content": "Hm," }),
        ),
    ] {
        let kind = ServerKind::ChatAssistant;
        let server = server(kind, thought).await;
        let upstream = upstream(&server, kind);
        let mut caller = Caller(upstream.session());
        caller.open_with_thought("Hm,", plain_sampling(), ThoughtStart::Open).await;
        caller.opened().await;
        caller.ask(99, 1, &[]).await;
        assert_eq!(caller.proposal().await.0, ANSWER.strip_prefix("<think>\nHm,").unwrap());
        assert_eq!(continuations(&server)[0]["messages"][1], lead);
    }
}

#[tokio::test]
async fn a_thought_that_the_template_opens_is_gone_on_with() {
    let kind = ServerKind::ChatContinue;
    let server = server(kind, FakeThought::Opened).await;
    let upstream = upstream(&server, kind);
    assert_eq!(upstream.card().await.unwrap().thought, ThoughtStart::Open);
    let mut caller = Caller(upstream.session());
    caller.open("", plain_sampling()).await;
    caller.opened().await;
    caller.ask(3, 1, &[]).await;
    let (text, _) = caller.proposal().await;
    assert_eq!(text, "Hm,");
    caller.commit(text.len()).await;
    caller.ask(99, 2, &[]).await;
    assert_eq!(caller.proposal().await.0, ANSWER.strip_prefix("<think>\nHm,").unwrap());
}

#[tokio::test]
async fn what_a_template_would_change_is_not_put_to_it() {
    let kind = ServerKind::ChatContinue;
    let cut_out = server(kind, FakeThought::CutOut).await;
    let upstream_of = |server: &FakeServer| upstream(server, kind);
    let said = failure(&upstream_of(&cut_out), "<think>\nHm").await;
    assert!(said.message.contains("it changes the thought that it is given"), "{said}");
    let field = server(kind, FakeThought::Field).await;
    let said = failure(&upstream_of(&field), "So 7").await;
    assert!(said.message.contains("begins a new turn, or changes the answer"), "{said}");
}

#[tokio::test]
async fn an_answer_that_begins_with_white_space_is_not_put_to_transformers() {
    let kind = ServerKind::ChatContinue;
    let prefill = FakePrefill::TrimsIndented;
    let server = FakeServer::start(FakeOptions { prefill, ..FakeOptions::new(kind) }).await;
    let upstream = upstream(&server, kind);
    let said = failure(&upstream, "\nSo.\n\n").await;
    assert!(said.message.contains("takes white space off the end of an answer"), "{said}");
    for committed in ["So.\n\n", "\n\nSo"] {
        let mut caller = Caller(upstream.session());
        caller.open(committed, plain_sampling()).await;
        caller.opened().await;
        caller.ask(3, 1, &[]).await;
        caller.proposal().await;
    }
}

#[tokio::test]
async fn chats_go_on_with_no_raw_text() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::ChatPrefix)).await;
    let upstream = upstream(&server, ServerKind::ChatPrefix);
    let mut caller = Caller(upstream.session());
    let open = Open {
        question_id: "raw".into(),
        prompt: Prompt::Raw("2 + 2 =".into()),
        committed: String::new(),
        sampling: plain_sampling(),
        deadline: None,
        thought: ThoughtStart::Unknown,
        review: None,
    };
    caller.0.commands.send(Command::Open(open)).await.unwrap();
    let failure = caller.failed().await;
    assert_eq!(failure.code, Code::InvalidArgument);
    assert!(failure.message.contains("has chats only"), "{failure}");
}

#[tokio::test]
async fn a_server_of_chats_whose_kind_is_not_given_is_told_the_kinds() {
    let missing = FakeFault::Status(404, "", r#"{"error":{"message":"Not Found"}}"#);
    let options = FakeOptions {
        faults: vec![("/v1/completions", missing)],
        ..FakeOptions::new(ServerKind::ChatPrefix)
    };
    let server = FakeServer::start(options).await;
    let tokenizer = Some(common::tokenizer());
    let kinds = "chat-continue, chat-prefix or chat-assistant";
    for tokenizer in [None, tokenizer] {
        let upstream = Upstream::new(UpstreamConfig { tokenizer, ..asked_only(&server) }).unwrap();
        let failure = failure(&upstream, "").await;
        assert!(failure.message.contains(kinds), "{failure}");
    }
}
