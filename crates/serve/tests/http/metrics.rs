//! The server's metrics, as a collector reads them.

use metrics::testing::Exposition;
use serde_json::json;
use thinking::testing::Script;

use crate::support::{Running, gone};

async fn read(server: &Running) -> Exposition {
    let response = server.get("/metrics").await;
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Exposition::read(&response.body).unwrap_or_else(|why| panic!("{why}: {response:?}"))
}

#[tokio::test]
async fn the_counters_follow_an_answer() {
    let server = Running::babbling().await;
    let before = read(&server).await;
    let answer = server.chat(json!({ "seed": 7 })).await.json();
    server.chat(json!({ "model": "nothing" })).await;
    server.get("/made-up").await;
    let after = read(&server).await;
    let grown = |name: &str, labels: &[(&str, &str)]| {
        after.value(name, labels).unwrap_or_else(|| panic!("{name} {labels:?}"))
            - before.value(name, labels).unwrap_or(0.0)
    };
    let chat = |status| [("route", "/v1/chat/completions"), ("status", status)];
    for (name, labels) in [
        ("specthink_http_requests_total", &chat("200")[..]),
        ("specthink_http_requests_total", &chat("404")),
        ("specthink_http_requests_total", &[("route", "other"), ("status", "404")]),
        ("specthink_errors_total", &[("code", "model_not_found")]),
        ("specthink_answers_total", &[("policy", "strict"), ("end", "max_tokens")]),
        ("gen_ai_server_request_duration_seconds_count", &[]),
        ("gen_ai_server_time_to_first_token_seconds_count", &[]),
        ("specthink_queue_seconds_count", &[]),
        ("specthink_takeover_share_ratio_count", &[]),
    ] {
        assert_eq!(grown(name, labels), 1.0, "{name} {labels:?}");
    }
    let summary = &answer["specthink"]["answers"][0]["summary"];
    for writer in ["small", "large"] {
        let tokens = grown("specthink_tokens_total", &[("writer", writer)]);
        assert_eq!(Some(tokens), summary[writer]["tokens"].as_f64(), "{writer}");
    }
    let takeovers = summary["takeovers"].as_array().unwrap().len();
    assert_eq!(after.sum("specthink_takeovers_total"), takeovers as f64);
    assert_eq!(after.sum("specthink_answers_running"), 0.0);
}

#[tokio::test]
async fn the_state_of_each_node_is_shown() {
    let change = |server: &mut serve::ApiServer| {
        server.backend.large = gone("http://large:1");
    };
    let server = Running::with(Script::babble(), Script::babble(), change).await;
    let numbers = read(&server).await;
    for (part, node, is_up) in [("small", "http://small:1", 1.0), ("large", "http://large:1", 0.0)]
    {
        let labels = [("part", part), ("node", node)];
        assert_eq!(numbers.value("specthink_node_up", &labels), Some(is_up), "{part}");
    }
    let nodes = server.get("/v1/nodes").await.json();
    let entry = |part: &str, state: &str, why: Option<&str>| {
        let name = format!("http://{part}:1");
        json!({ "part": part, "name": name, "state": state, "why": why, "sessions": 0 })
    };
    let data = [entry("small", "serving", None), entry("large", "gone", Some("nobody is there"))];
    assert_eq!(nodes, json!({ "object": "list", "data": data }));
}

#[test]
fn the_documentation_names_every_metric() {
    let source = include_str!("../../src/metrics.rs");
    let docs = include_str!("../../../../docs/observability.md");
    let quoted = source.split('"').filter(|text| {
        let is_name = text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_name && (text.starts_with("specthink_") || text.starts_with("gen_ai_server_"))
    });
    let names: Vec<&str> = quoted.collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let name = name.strip_suffix("_bucket").unwrap_or(name);
        let name = name.strip_suffix("_sum").or(name.strip_suffix("_count")).unwrap_or(name);
        assert!(docs.contains(&format!("`{name}`")), "docs/observability.md lacks {name}");
    }
}
