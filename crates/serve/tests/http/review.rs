//! Answers that the large model reviews.

use metrics::testing::Exposition;
use serde_json::{Value, json};
use serve::{ApiServer, JournalFolder, JournalLimits};
use thinking::testing::{Options, Script, ScriptedThinker, pieces};

use crate::support::Running;

const RIGHT: &str = "7 x 8 is 56 and 56 it is";
/// As long as `RIGHT`, so that a position in one is a position in the other.
const WRONG: &str = "7 x 8 is 54 and 54 it is";

/// Returns a small model that is wrong wherever it can be.
fn wrong() -> Script {
    Script::function(|committed, _| {
        let rest = WRONG.get(committed.len()..).unwrap_or_default();
        pieces(rest).map(str::to_owned).collect()
    })
}

/// Returns a large model that knows better.
fn right() -> Script {
    Script::function(|committed, _| {
        let rest = RIGHT.strip_prefix(committed).unwrap_or(" indeed");
        pieces(rest).map(str::to_owned).collect()
    })
}

/// Starts a server whose small model is corrected twice in an answer.
pub(crate) async fn reviewed() -> Running {
    reviewed_by(|_| {}).await
}

/// Starts the same, with a change to the server.
pub(crate) async fn reviewed_by(change: impl FnOnce(&mut ApiServer)) -> Running {
    Running::with(wrong(), right(), change).await
}

/// Returns the reason of each span of an answer, its text, and what it replaced.
fn spans_of(report: &Value) -> Vec<(&str, &str, Option<&str>)> {
    let spans = report["answers"][0]["spans"].as_array().unwrap().iter();
    let read = spans.map(|span| {
        let stood = span["correction"]["stood"].as_str();
        (span["why"].as_str().unwrap(), span["text"].as_str().unwrap(), stood)
    });
    read.collect()
}

#[tokio::test]
async fn corrections_are_told_with_what_stood_there() {
    let server = reviewed().await;
    let answer = server.chat(json!({ "model": "specthink:review" })).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], RIGHT, "{answer}");
    let ours = &answer["specthink"];
    let (one, other) = (("turn", "7 x 8 is", None), ("review", " 56", Some(" 54")));
    let expected = [one, other, ("turn", " and", None), other, ("turn", " it is", None)];
    assert_eq!(spans_of(ours), expected);
    let report = &ours["answers"][0];
    assert!(report["spans"][1]["correction"]["gap"].as_f64() >= Some(1.0), "{report}");
    assert_eq!(report["spans"][0].get("correction"), None);
    let summary = &report["summary"];
    assert_eq!((&summary["corrections"], &summary["takeovers"]), (&json!(2), &json!([])));
    assert_eq!(summary["large"]["tokens"], 2);
    assert!(report["share"].as_f64() > Some(0.0), "{report}");
    let text = server.get("/metrics").await.body;
    let counted = Exposition::read(&text).unwrap();
    assert_eq!(counted.value("specthink_corrections_total", &[]), Some(2.0));
}

#[tokio::test]
async fn a_stream_tells_each_correction_in_the_chunk_that_begins_it() {
    let server = reviewed().await;
    for stop in [json!(null), json!(["56 it was", "7 x 8 is not"])] {
        let body = json!({ "model": "specthink:review", "stream": true, "stop": stop });
        let response = server.chat(body).await;
        let events = response.events();
        let chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
        let told: Vec<(String, Value)> = chunks
            .filter(|chunk| chunk["specthink"]["why"] == "review")
            .map(|chunk| {
                let text = chunk["choices"][0]["delta"]["content"].as_str().unwrap().to_owned();
                (text, chunk["specthink"]["correction"].clone())
            })
            .collect();
        let text: String = told.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(text, " 56 56", "{stop}");
        let begun: Vec<&Value> = told.iter().map(|it| &it.1).filter(|it| !it.is_null()).collect();
        assert!(begun.len() == 2 && begun.iter().all(|it| it["stood"] == " 54"), "{told:?}");
    }
    let events =
        server.respond(json!({ "model": "specthink:review", "input": "7 x 8?", "stream": true }));
    let body = events.await.body;
    let with = body
        .lines()
        .filter(|line| line.contains("output_text.delta") && line.contains("\"stood\""));
    assert_eq!(with.count(), 2, "{body}");
}

#[tokio::test]
async fn a_request_sets_the_parameters_of_the_review() {
    let server = reviewed().await;
    for (gap, text, corrections) in [(0.5, RIGHT, json!(2)), (90.0, WRONG, Value::Null)] {
        let policy = json!({ "name": "review", "parameters": { "review_gap": gap } });
        let answer = server.chat(json!({ "specthink": { "policy": policy } })).await.json();
        assert_eq!(answer["choices"][0]["message"]["content"], text, "{gap}");
        assert_eq!(answer["specthink"]["policy"], "review");
        assert_eq!(answer["specthink"]["answers"][0]["summary"]["corrections"], corrections);
    }
}

#[tokio::test]
async fn a_large_node_that_cannot_review_is_named_in_one_line() {
    let mut options = Options::default();
    options.card.can_review = false;
    let large = ScriptedThinker::with_options(right(), options);
    let server = Running::over(ScriptedThinker::new(wrong()), large, |_| {}).await;
    for stream in [false, true] {
        for model in ["specthink:review", "specthink:strict+review"] {
            let response = server.chat(json!({ "model": model, "stream": stream })).await;
            assert_eq!((response.status, response.code().as_str()), (502, "node_refused"));
            let message = response.json()["error"]["message"].as_str().unwrap().to_owned();
            let begin = "large node http://large:1: it cannot review ";
            assert!(message.starts_with(begin) && !message.contains('\n'), "{message}");
        }
    }
    assert_eq!(server.chat(json!({ "model": "specthink:strict" })).await.status, 200);
}

#[tokio::test]
async fn a_journal_tells_what_was_objected_to() {
    let folder = tempfile::tempdir().unwrap();
    let limits = JournalLimits { most: 10, max_age: None, max_bytes: None };
    let journals = JournalFolder::new(folder.path(), limits).unwrap();
    let change = |server: &mut serve::ApiServer| server.journals = Some(journals);
    let server = Running::with(wrong(), right(), change).await;
    let answer = server.chat(json!({ "model": "specthink:review" })).await.json();
    let id = answer["specthink"]["answers"][0]["id"].as_str().unwrap();
    let journal =
        std::fs::read_to_string(folder.path().join(format!("answer-{id}.jsonl"))).unwrap();
    let lines = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let objected: Vec<Value> = lines.filter(|line| line["event"] == "objected").collect();
    assert_eq!(objected.len(), 2, "{journal}");
    assert_eq!((&objected[0]["stood"], &objected[0]["instead"]), (&json!(" 54"), &json!(" 56")));
}
