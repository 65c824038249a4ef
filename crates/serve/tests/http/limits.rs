//! Limits, clients that go away or do not read, and the graceful shutdown.

use std::time::Duration;

use serde_json::json;
use thinking::testing::Script;

use crate::support::{Running, question, write};

/// Returns a request whose answer does not end by itself.
fn endless() -> serde_json::Value {
    json!({ "max_tokens": 1_000_000_000 })
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_both_models() {
    let server = Running::babbling().await;
    let mut stream = server.stream(endless()).await;
    while !stream.next().await.unwrap().contains("\"writer\":\"large\"") {}
    assert!(server.small.open_sessions() > 0 && server.large.open_sessions() > 0);
    drop(stream);
    server.idle().await;
    // The same for a client that waits for a whole answer.
    let mut stream = server.connect().await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost";
    write(&mut stream, head, &question(endless())).await;
    while server.small.open_sessions() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    server.idle().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cancelled() {
    let server = Running::babbling().await;
    let mut stream = server.connect_narrow().await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost";
    let mut body = endless();
    body["stream"] = json!(true);
    write(&mut stream, head, &question(body)).await;
    while server.small.open_sessions() == 0 {
        tokio::task::yield_now().await;
    }
    server.idle().await;
    // The connection is closed, so only what was sent before arrives.
    let mut read = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut read).await;
    assert!(!String::from_utf8_lossy(&read).contains("[DONE]"));
}

#[tokio::test]
async fn beyond_the_limits_requests_are_told_when_to_come_again() {
    let change = |server: &mut serve::ApiServer| {
        server.limits.most_answers = 1;
        server.limits.most_waiting = 0;
    };
    let server = Running::with(Script::babble(), Script::babble(), change).await;
    let mut stream = server.stream(endless()).await;
    assert!(stream.next().await.is_some());
    let response = server.chat(json!({})).await;
    assert_eq!((response.status, response.code().as_str()), (429, "queue_full"));
    assert_eq!(response.header("retry-after"), Some("1"));
    let response = server.chat(json!({ "n": 2 })).await;
    assert_eq!((response.status, response.code().as_str()), (400, "invalid_value"));
    drop(stream);
    server.idle().await;
}

#[tokio::test]
async fn while_it_drains_an_answer_goes_on_and_new_ones_are_refused() {
    let server = Running::babbling().await;
    let mut stream = server.stream(endless()).await;
    assert!(stream.next().await.is_some());
    server.shut_down();
    while server.get("/ready").await.status == 200 {}
    let refused = server.chat(json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "shutting_down"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.get("/health").await.status, 200, "it is alive");
    assert!(stream.next().await.is_some(), "the answer goes on");
    drop(stream);
    server.idle().await;
    server.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn after_the_drain_an_answer_is_told_to_be_over() {
    let change = |server: &mut serve::ApiServer| server.drain = Duration::ZERO;
    let server = Running::with(Script::babble(), Script::babble(), change).await;
    let mut stream = server.stream(endless()).await;
    assert!(stream.next().await.is_some());
    server.shut_down();
    let mut last = String::new();
    while let Some(event) = stream.next().await {
        last = event;
    }
    assert!(last.starts_with("{\"error\":") && last.contains("\"shutting_down\""), "{last}");
    server.served.await.unwrap().unwrap();
}
