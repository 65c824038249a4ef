//! Requests that are refused, and how.

use serde_json::json;
use thinking::testing::Script;

use crate::support::{Running, gone, question};

#[tokio::test]
async fn every_refusal_is_an_error_of_openais_shape() {
    let server = Running::babbling().await;
    let chat = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost";
    let big = question(json!({ "user": "x".repeat(20_000) }));
    let cases: &[(&str, &[u8], u16, &str)] = &[
        (chat, b"{", 400, "invalid_json"),
        (chat, b"[]", 400, "invalid_type"),
        (chat, b"{}", 400, "missing_field"),
        (chat, &big, 413, "body_too_large"),
        ("GET /v1/chat/completions HTTP/1.1\r\nhost: localhost", b"", 405, "method_not_allowed"),
        ("POST /v1/models HTTP/1.1\r\nhost: localhost", b"", 405, "method_not_allowed"),
        ("GET /v1/nothing HTTP/1.1\r\nhost: localhost", b"", 404, "unknown_route"),
        ("GET /page/nothing.js HTTP/1.1\r\nhost: localhost", b"", 404, "unknown_route"),
        ("GET / HTTP/1.1\r\nhost: evil.example", b"", 403, "host_not_allowed"),
        ("GET /v1/models/smal HTTP/1.1\r\nhost: localhost", b"", 404, "model_not_found"),
        ("GET /version HTTP/1.1\r\nhost: evil.example", b"", 403, "host_not_allowed"),
        (
            "GET /version HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example",
            b"",
            403,
            "origin_not_allowed",
        ),
    ];
    let mut lines = String::new();
    for (head, body, status, code) in cases {
        let response = server.send(head, body).await;
        assert_eq!((response.status, response.code().as_str()), (*status, *code), "{head}");
        let error = &response.json()["error"];
        let message = error["message"].as_str().unwrap();
        lines += &format!("{status} {code}: {message}\n");
        assert!(!message.contains('\n'), "{error}");
        assert!(error["type"].is_string() && error.get("param").is_some(), "{error}");
    }
    insta::assert_snapshot!(lines);
    let wrong = server.send("PUT /health HTTP/1.1\r\nhost: localhost", b"").await;
    assert!(wrong.header("allow").is_some_and(|allow| allow.contains("get")), "{wrong:?}");
    let response = server.chat(json!({ "model": "Smal" })).await;
    assert_eq!((response.status, response.code().as_str()), (404, "model_not_found"));
    assert!(response.body.contains("write small"), "{response:?}");
}

#[tokio::test]
async fn the_page_is_confined_to_its_own_server() {
    let server = Running::babbling().await;
    let types =
        [("/", "text/html"), ("/page/main.js", "text/javascript"), ("/page/style.css", "text/css")];
    for (path, media_type) in types {
        let response = server.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost"), b"").await;
        assert_eq!(response.status, 200, "{path}");
        let header = |name| response.header(name).unwrap_or_default();
        assert!(header("content-type").starts_with(media_type), "{response:?}");
        assert!(
            header("content-security-policy").starts_with("default-src 'none'; "),
            "{response:?}"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn a_body_is_json_whatever_it_is_called() {
    let server = Running::babbling().await;
    for header in
        ["", "\r\ncontent-type: text/plain", "\r\ncontent-type: application/x-www-form-urlencoded"]
    {
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost{header}");
        assert_eq!(server.send(&head, &question(json!({}))).await.status, 200, "{header}");
    }
    let old = server.send("GET /version HTTP/1.0", b"").await;
    assert_eq!(old.json()["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn what_a_node_refuses_is_a_status_also_of_a_stream() {
    let tiny = Running::with_context(16).await;
    for stream in [false, true] {
        let messages = json!([{ "role": "user", "content": "word ".repeat(50) }]);
        let response = tiny.chat(json!({ "messages": messages, "stream": stream })).await;
        assert_eq!((response.status, response.code().as_str()), (400, "context_length_exceeded"));
        assert_eq!(response.json()["error"]["param"], "messages");
    }
}

#[tokio::test]
async fn health_follows_the_small_node_and_ready_the_shutdown_too() {
    let server = Running::babbling().await;
    for path in ["/health", "/ready"] {
        assert_eq!(server.get(path).await.json(), json!({ "status": "ok" }));
    }
    let change = |server: &mut serve::ApiServer| {
        server.backend.small = gone("http://small:1");
    };
    let alone = Running::with(Script::babble(), Script::babble(), change).await;
    for path in ["/health", "/ready"] {
        let response = alone.get(path).await;
        assert_eq!((response.status, response.code().as_str()), (503, "nodes_unavailable"));
        assert!(response.body.contains("nobody is there"), "{response:?}");
    }
}
