//! Answers, whole and streamed.

use serde_json::{Value, json};
use thinking::testing::Script;

use crate::support::{Response, Running};

/// Returns the chunks of a stream, without the end marker.
fn chunks(response: &Response) -> Vec<Value> {
    assert_eq!(response.status, 200, "{response:?}");
    let mut events = response.events();
    assert_eq!(events.pop().as_deref(), Some("[DONE]"), "{response:?}");
    events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

/// Returns what the chunks of a choice add up to.
fn gathered(chunks: &[Value], choice: u64, key: &str) -> String {
    let of_choice = chunks.iter().filter(|chunk| chunk["choices"][0]["index"] == choice);
    of_choice.filter_map(|chunk| chunk["choices"][0]["delta"][key].as_str()).collect()
}

#[tokio::test]
async fn a_whole_answer_says_who_wrote_it() {
    let server = Running::babbling().await;
    let response = server.chat(json!({ "seed": 7, "max_tokens": 300 })).await;
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    let answer = response.json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(
        (&answer["model"], &answer["specthink"]["policy"]),
        (&json!("specthink"), &json!("strict"))
    );
    assert!(
        response.header("x-request-id").is_some_and(|id| answer["id"] == format!("chatcmpl-{id}"))
    );
    let (choice, report) = (&answer["choices"][0], &answer["specthink"]["answers"][0]);
    assert_eq!(choice["finish_reason"], "length", "babble has no end");
    assert_eq!(report["end"], "max_tokens");
    let spans = report["spans"].as_array().unwrap();
    let text: String = spans.iter().map(|span| span["text"].as_str().unwrap()).collect();
    assert_eq!(choice["message"]["content"], text);
    for writer in ["small", "large"] {
        assert!(spans.iter().any(|span| span["writer"] == writer), "{writer}: {spans:?}");
    }
    let tokens: u64 = spans.iter().map(|span| span["tokens"].as_u64().unwrap()).sum();
    assert_eq!(answer["usage"]["completion_tokens"], tokens);
    assert!(report["share"].as_f64().is_some_and(|share| share > 0.0 && share < 1.0), "{report}");
    assert!(spans.windows(2).all(|pair| pair[0]["at_us"].as_u64() <= pair[1]["at_us"].as_u64()));
    assert_eq!(report["summary"]["takeovers"].as_array().map(Vec::is_empty), Some(false));
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_answer_and_every_chunk_says_who_wrote() {
    let server = Running::babbling().await;
    let whole = server.chat(json!({ "seed": 7 })).await.json();
    let options = json!({ "seed": 7, "stream": true, "stream_options": { "include_usage": true } });
    let response = server.chat(options).await;
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let mut chunks = chunks(&response);
    let usage = chunks.pop().unwrap();
    assert_eq!((&usage["choices"], &usage["usage"]), (&json!([]), &whole["usage"]));
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["usage"].is_null() && chunk["object"] == "chat.completion.chunk")
    );
    let last = chunks.pop().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "length");
    let (one, other) = (&last["specthink"]["answers"][0], &whole["specthink"]["answers"][0]);
    assert_eq!(one["summary"]["small"]["tokens"], other["summary"]["small"]["tokens"]);
    let first = chunks.remove(0);
    assert_eq!(first["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    assert!(first["specthink"]["id"].is_string(), "{first}");
    for chunk in &chunks {
        let ours = &chunk["specthink"];
        assert!(ours["writer"].is_string() && ours["why"].is_string(), "{chunk}");
        assert_eq!(chunk["choices"][0]["finish_reason"], Value::Null);
    }
    assert_eq!(gathered(&chunks, 0, "content"), whole["choices"][0]["message"]["content"]);
    let by_large = chunks.iter().filter(|chunk| chunk["specthink"]["writer"] == "large");
    let large: String =
        by_large.filter_map(|it| it["choices"][0]["delta"]["content"].as_str()).collect();
    let spans = one["spans"].as_array().unwrap().iter().filter(|span| span["writer"] == "large");
    assert_eq!(large, spans.map(|span| span["text"].as_str().unwrap()).collect::<String>());
}

#[tokio::test]
async fn reasoning_is_beside_the_content_unless_it_shall_stay() {
    let script = || Script::text("<think>\nI add them.\n</think>\n\nFive.");
    let server = Running::with(script(), Script::babble(), |_| {}).await;
    let answer = server.chat(json!({ "model": "small" })).await.json();
    let message = &answer["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["reasoning_content"]),
        (&json!("Five."), &json!("I add them."))
    );
    assert_eq!(message["reasoning"], message["reasoning_content"]);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let details = &answer["usage"]["completion_tokens_details"];
    assert!(details["reasoning_tokens"].as_u64() > Some(0), "{answer}");
    let inline = json!({ "model": "small", "specthink": { "reasoning": "inline" } });
    let message = server.chat(inline).await.json()["choices"][0]["message"].clone();
    assert_eq!(message["content"], "<think>\nI add them.\n</think>\n\nFive.");
    assert_eq!(message.get("reasoning_content"), None);
    let chunks = chunks(&server.chat(json!({ "model": "small", "stream": true })).await);
    assert_eq!(gathered(&chunks, 0, "reasoning_content"), "I add them.");
    assert_eq!(gathered(&chunks, 0, "content"), "Five.");
}

#[tokio::test]
async fn a_stop_text_ends_the_answer_before_it() {
    let script = || Script::text("It is 5.\n\nQ: And 6?\n\nA: No.");
    let server = Running::with(script(), Script::babble(), |_| {}).await;
    let answer = server.chat(json!({ "model": "small", "stop": ["\n\nQ:", "Z"] })).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "It is 5.");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let report = &answer["specthink"]["answers"][0];
    assert_eq!((&report["end"], &report["stopped_by"]), (&json!("stop"), &json!("\n\nQ:")));
    assert_eq!(report["spans"][0]["text"], "It is 5.");
    server.idle().await;
}

#[tokio::test]
async fn several_answers_have_seeds_of_their_own() {
    let server = Running::babbling().await;
    let both = server.chat(json!({ "n": 2, "seed": 7 })).await.json();
    let content =
        |answer: &Value, choice: usize| answer["choices"][choice]["message"]["content"].clone();
    assert_eq!(both["choices"].as_array().map(Vec::len), Some(2));
    let second = server.chat(json!({ "seed": 8 })).await.json();
    assert_eq!(content(&both, 1), content(&second, 0));
    assert_ne!(content(&both, 0), content(&both, 1));
    let chunks = chunks(&server.chat(json!({ "n": 2, "seed": 7, "stream": true })).await);
    assert_eq!(gathered(&chunks, 0, "content"), content(&both, 0));
    assert_eq!(gathered(&chunks, 1, "content"), content(&both, 1));
    let free = server.chat(json!({})).await.json();
    assert_ne!(
        content(&free, 0),
        content(&server.chat(json!({})).await.json(), 0),
        "a seed of its own"
    );
}

#[tokio::test]
async fn the_model_decides_who_is_asked_at_all() {
    let server = Running::babbling().await;
    assert_eq!(server.chat(json!({ "model": "small" })).await.status, 200);
    assert_eq!(server.large.started_sessions(), 0);
    let large = server.chat(json!({ "model": "large" })).await.json();
    assert_eq!(large["specthink"]["answers"][0]["share"], 1.0);
    let models = server.get("/v1/models").await.json();
    let ids: Vec<&str> =
        models["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(
        ids,
        [
            "specthink",
            "specthink:strict",
            "specthink:paper",
            "specthink:random",
            "specthink:periodic",
            "specthink:random-token",
            "specthink:entropy",
            "specthink:score",
            "specthink:review",
            "specthink:strict+review",
            "small",
            "large"
        ]
    );
    let one = server.get("/v1/models/specthink:strict").await.json();
    assert_eq!((&one["object"], &one["specthink"]["policy"]), (&json!("model"), &json!("strict")));
}
