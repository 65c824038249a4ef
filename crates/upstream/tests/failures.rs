//! Every problem with a server becomes one of the closed list of failures, with one line that names the server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::time::Duration;

use common::{Caller, asked_only, config, continuations, plain_sampling};
use thinking::thinker::{Code, Failure, Noticed, Thinker};
use tokio::net::TcpSocket;
use upstream::{
    ApiKey, ServerKind, Upstream, UpstreamConfig,
    testing::{FakeFault, FakeOptions, FakeRequest, FakeServer},
};

/// Returns the failure of a first proposal.
async fn failure(config: UpstreamConfig) -> Failure {
    let upstream = Upstream::new(config).unwrap();
    let mut caller = Caller(upstream.session());
    caller.open("", plain_sampling()).await;
    caller.ask(9, 1, &[]).await;
    caller.failed().await
}

async fn failure_at(kind: ServerKind, path: &'static str, fault: FakeFault) -> Failure {
    let faults = vec![(path, fault)];
    let server = FakeServer::start(FakeOptions { faults, ..FakeOptions::new(kind) }).await;
    let tokenizer = Some(common::tokenizer());
    let failure = failure(UpstreamConfig { tokenizer, ..config(&server) }).await;
    let line = &failure.message;
    assert!(line.starts_with(&server.address()), "{line}");
    assert!(!line.contains('\n') && line.len() < 400, "{line}");
    assert_eq!(failure.noticed, Noticed::OnTheWay, "{line}");
    failure
}

#[tokio::test]
async fn a_stream_that_breaks_is_an_unavailable_server() {
    for (kind, path) in [
        (ServerKind::LlamaCpp, "/completion"),
        (ServerKind::Vllm, "/v1/completions"),
        (ServerKind::Ollama, "/api/generate"),
    ] {
        for (fault, words) in [
            (FakeFault::CutAfter(3), "broke off the connection"),
            (FakeFault::EndAfter(3), "ended without its last event"),
            (FakeFault::Begins("data: {\"nonsense\"\n\n"), "cannot be understood"),
            (FakeFault::Begins("data: {}\n\n"), "cannot be understood"),
            (FakeFault::Html, "\"text/html\""),
        ] {
            let failure = failure_at(kind, path, fault).await;
            assert_eq!(failure.code, Code::Unavailable, "{failure}");
            assert!(failure.message.contains(words), "{failure}");
        }
    }
}

#[tokio::test]
async fn an_error_within_a_stream_has_the_code_of_its_reason() {
    for (event, code, words) in [
        (
            "data: {\"error\":{\"message\":\"out of pages\",\"code\":503}}\n\n",
            Code::Overloaded,
            "no room now: out of pages",
        ),
        (
            "data: {\"error\":{\"message\":\"bad seed\",\"code\":\"400\"}}\n\n",
            Code::InvalidArgument,
            "refuses the request: bad seed",
        ),
        ("data: {\"error\":\"out of memory\"}\n\n", Code::Internal, "failed (500: out of memory)"),
    ] {
        for (kind, path) in
            [(ServerKind::LlamaCpp, "/completion"), (ServerKind::Sglang, "/v1/completions")]
        {
            let failure = failure_at(kind, path, FakeFault::Begins(event)).await;
            assert_eq!(failure.code, code, "{failure}");
            assert!(failure.message.contains(words), "{failure}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_is_tried_again() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", socket.local_addr().unwrap());
    let upstream = Upstream::new(UpstreamConfig::new(address.parse().unwrap())).unwrap();
    let late = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        FakeServer::on(socket.listen(9).unwrap(), FakeOptions::new(ServerKind::Vllm))
    };
    let (card, _server) = tokio::join!(upstream.card(), late);
    assert_eq!(card.unwrap().name, "fake");
}

#[tokio::test]
async fn what_a_server_took_is_not_tried_again() {
    let path = "/v1/completions";
    for fault in [FakeFault::HangUp, FakeFault::Status(503, "", ""), FakeFault::CutAfter(3)] {
        let faults = vec![(path, fault.clone())];
        let options = FakeOptions { faults, ..FakeOptions::new(ServerKind::Vllm) };
        let server = FakeServer::start(options).await;
        failure(asked_only(&server)).await;
        assert_eq!(continuations(&server).len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_refused_continuation_has_the_code_of_its_reason() {
    let retry = "retry-after: 7\r\n";
    for (status, headers, body, code, again) in [
        (400, "", r#"{"error":{"message":"bad seed"}}"#, Code::InvalidArgument, None),
        (413, "", "", Code::MessageTooLarge, None),
        (429, retry, "", Code::Overloaded, Some(7000)),
        (503, retry, "", Code::Overloaded, Some(7000)),
        (500, "", "boom", Code::Internal, None),
        (502, "", "<html>", Code::Unavailable, None),
    ] {
        let fault = FakeFault::Status(status, headers, body);
        let failure = failure_at(ServerKind::LlamaCpp, "/completion", fault).await;
        assert_eq!((failure.code, failure.retry_after_ms), (code, again), "{failure}");
    }
}

#[tokio::test]
async fn what_is_no_such_server_is_found_out_when_it_is_asked() {
    let loading = r#"{"error":{"message":"Loading model","code":503}}"#;
    for (fault, code, words) in [
        (FakeFault::Html, Code::Unavailable, "HTML: it is not such an API"),
        (FakeFault::Status(404, "", "<html>"), Code::Unavailable, "no /v1/models"),
        (FakeFault::Status(503, "", loading), Code::Unavailable, "still loading"),
        (
            FakeFault::Status(302, "location: https://b/v1\r\n", ""),
            Code::Unavailable,
            "https://b/v1",
        ),
    ] {
        let failure = failure_at(ServerKind::Vllm, "/v1/models", fault).await;
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
    let refused = FakeFault::Status(500, "", r#"{"error":{"message":"roles must alternate"}}"#);
    let failure = failure_at(ServerKind::LlamaCpp, "/apply-template", refused).await;
    assert_eq!(failure.code, Code::Template, "{failure}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let config = UpstreamConfig::new("http://127.0.0.1:1/v1".parse().unwrap());
    let failure = failure(config).await;
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.message.contains("127.0.0.1:1/v1 cannot be reached"), "{failure}");
}

#[tokio::test]
async fn a_model_must_be_served_where_the_server_checks_names() {
    let models = vec!["big-32b".to_owned(), "other".to_owned()];
    for (kind, model, words) in [
        (
            ServerKind::Vllm,
            Some("big-23b"),
            "does not serve \"big-23b\": write big-32b; it serves big-32b, other",
        ),
        (ServerKind::Vllm, None, "several models: name one of big-32b, other"),
    ] {
        let options = FakeOptions { models: models.clone(), ..FakeOptions::new(kind) };
        let server = FakeServer::start(options).await;
        let mut config = config(&server);
        config.model = model.map(str::to_owned);
        let failure = failure(config).await;
        assert_eq!(failure.code, Code::InvalidArgument, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
    // llama.cpp serves its one model under any name.
    let server = FakeServer::start(FakeOptions::new(ServerKind::LlamaCpp)).await;
    let mut config = config(&server);
    config.model = Some("a label".to_owned());
    assert_eq!(Upstream::new(config).unwrap().card().await.unwrap().name, "a label");
}

#[tokio::test]
async fn the_key_is_shown_with_every_request_and_a_wrong_one_is_refused() {
    let key = Some("right".to_owned());
    let options = FakeOptions { key, ..FakeOptions::new(ServerKind::LlamaCpp) };
    let server = FakeServer::start(options).await;
    for wrong in [None, Some("wrong")] {
        let mut config = config(&server);
        config.key = wrong.map(ApiKey::new);
        let failure = failure(config).await;
        assert_eq!(failure.code, Code::Unauthenticated, "{failure}");
        assert!(
            !failure.message.contains("wrong"),
            "the key itself must not be printed: {failure}"
        );
    }
    let mut config = config(&server);
    config.key = Some(ApiKey::new("right"));
    let upstream = Upstream::new(config).unwrap();
    let mut caller = Caller(upstream.session());
    caller.open("", plain_sampling()).await;
    caller.opened().await;
    let before = server.requests().len();
    caller.ask(4, 1, &[]).await;
    caller.proposal().await;
    assert!(
        server.requests()[before..]
            .iter()
            .all(|one| one.authorization.as_deref() == Some("Bearer right"))
    );
}

#[tokio::test]
async fn how_tokens_are_drawn_is_refused_where_the_server_does_not_know_it() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::Completions)).await;
    let mut config = config(&server);
    config.tokenizer = Some(common::tokenizer());
    for lenient in [false, true] {
        config.lenient = lenient;
        let upstream = Upstream::new(config.clone()).unwrap();
        let mut caller = Caller(upstream.session());
        caller.open("", Default::default()).await;
        if lenient {
            caller.opened().await;
        } else {
            let failure = caller.failed().await;
            assert_eq!(failure.code, Code::InvalidArgument, "{failure}");
            assert!(failure.message.contains("does not know top_k"), "{failure}");
        }
    }
}

#[tokio::test]
async fn messages_need_a_template_somewhere() {
    let old = FakeOptions { renders_messages: false, ..FakeOptions::new(ServerKind::Sglang) };
    for options in [FakeOptions::new(ServerKind::Completions), old] {
        let server = FakeServer::start(options).await;
        let failure = failure(config(&server)).await;
        assert_eq!(failure.code, Code::Template, "{failure}");
        assert!(failure.message.contains("give the tokenizer of its model"), "{failure}");
    }
}

#[tokio::test]
async fn a_tokenizer_of_another_model_is_refused() {
    for (kind, words) in [
        (ServerKind::LlamaCpp, "has another tokenizer than the one that was given"),
        (ServerKind::Sglang, "has another tokenizer than the one that was given"),
        // Detected from its token count at the end of the first answer.
        (ServerKind::Completions, "by the tokenizer that was given; give that of its model"),
    ] {
        let answer = Some("Yes.".to_owned());
        let server = FakeServer::start(FakeOptions { answer, ..FakeOptions::new(kind) }).await;
        for (tokenizer, is_right) in
            [(common::tokenizer(), true), (common::other_tokenizer(), false)]
        {
            let upstream = UpstreamConfig { tokenizer: Some(tokenizer), ..asked_only(&server) };
            let upstream = Upstream::new(upstream).unwrap();
            let mut caller = Caller(upstream.session());
            caller.open("", plain_sampling()).await;
            caller.ask(9, 1, &[]).await;
            if is_right {
                caller.opened().await;
                assert_eq!(caller.proposal().await.0, "Yes.", "{kind:?}");
                continue;
            }
            let failure = caller.failed().await;
            assert_eq!(failure.code, Code::InvalidArgument, "{failure}");
            assert!(failure.message.contains(words), "{failure}");
            assert!(failure.message.starts_with(&server.address()), "{failure}");
        }
    }
}

#[tokio::test]
async fn a_tokenizer_that_puts_a_space_before_every_text_is_refused() {
    let spaced = r#"{"tokens":[{"id":29874,"piece":" a"}]}"#;
    let fault = FakeFault::Status(200, "", spaced);
    let failure = failure_at(ServerKind::LlamaCpp, "/tokenize", fault).await;
    assert_eq!(failure.code, Code::InvalidArgument, "{failure}");
    assert!(failure.message.contains("puts a space before every text"), "{failure}");
}

#[test]
fn plain_text_to_another_machine_must_be_allowed() {
    let config = UpstreamConfig::new("http://gpu.example.org:8000".parse().unwrap());
    let line = Upstream::new(config.clone()).unwrap_err().to_string();
    assert!(line.contains("plain text") && line.contains("--insecure"), "{line}");
    Upstream::new(UpstreamConfig { insecure: true, ..config }).unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_one_that_lives_is_waited_for() {
    let hangs = [("/completion", FakeFault::Silence), ("/health", FakeFault::Silence)];
    for (faults, is_lost) in [(&hangs[..], true), (&hangs[..1], false)] {
        let (faults, key) = (faults.to_vec(), Some("key".to_owned()));
        let options = FakeOptions { faults, key, ..FakeOptions::new(ServerKind::LlamaCpp) };
        let server = FakeServer::start(options).await;
        let mut config = asked_only(&server);
        config.key = Some(ApiKey::new("key"));
        config.heartbeat = Duration::from_millis(1);
        if is_lost {
            config.silence = Duration::from_secs(2);
        }
        let upstream = Upstream::new(config).unwrap();
        let mut caller = Caller(upstream.session());
        caller.open("", plain_sampling()).await;
        caller.opened().await;
        caller.ask(9, 1, &[]).await;
        if is_lost {
            let failure = caller.failed().await;
            assert!(failure.message.contains("is silent"), "{failure}");
        } else {
            for _ in 0..5 {
                caller.0.signs.changed().await.unwrap();
            }
            let shown = |one: FakeRequest| one.authorization.as_deref() == Some("Bearer key");
            assert!(server.requests().into_iter().all(shown), "it wants the key there too");
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_a_question_of_what_it_serves_and_says_nothing_is_given_up() {
    let faults = vec![("/v1/models", FakeFault::Silence)];
    let options = FakeOptions { faults, ..FakeOptions::new(ServerKind::Vllm) };
    let server = FakeServer::start(options).await;
    let silence = Duration::from_millis(50);
    let failure = failure(UpstreamConfig { silence, ..config(&server) }).await;
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.message.contains("has not answered /v1/models for 50ms"), "{failure}");
}

#[tokio::test]
async fn a_server_that_is_gone_or_serves_another_model_is_noticed_at_no_cost() {
    for kind in ServerKind::ALL {
        let server = FakeServer::start(FakeOptions::new(kind)).await;
        let upstream = Upstream::new(config(&server)).unwrap();
        upstream.answers().await.unwrap();
        let known = server.requests().len();
        upstream.answers().await.unwrap();
        let asked: Vec<String> =
            server.requests().drain(known..).map(|request| request.path).collect();
        assert_eq!(asked, ["/v1/models"], "{kind:?}");
        assert_eq!(continuations(&server).len(), 0, "{kind:?}");
        drop(server);
        let failure = upstream.answers().await.unwrap_err();
        assert_eq!(failure.code, Code::Unavailable, "{kind:?}: {failure}");
    }
}
