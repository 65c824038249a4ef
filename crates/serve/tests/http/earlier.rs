//! Earlier answers, from their journals.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use serve::{JournalFolder, JournalLimits};
use tempfile::TempDir;

use crate::support::Running;

/// Makes a server keep journals in a folder.
fn keep(server: &mut serve::ApiServer, folder: &Path) {
    let limits = JournalLimits { most: 100, max_age: None, max_bytes: None };
    server.journals = Some(JournalFolder::new(folder, limits).unwrap());
}

/// Starts a server that keeps its answers, and returns their folder too.
pub(crate) async fn keeping() -> (Running, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let server = crate::review::reviewed_by(|server| keep(server, folder.path())).await;
    (server, folder)
}

/// Asks, and returns the object `specthink` of the answer, and its id.
async fn asked(server: &Running, more: Value) -> (String, Value) {
    let answer = server.chat(more).await.json();
    let id = answer["specthink"]["answers"][0]["id"].as_str().unwrap().to_owned();
    (id, answer)
}

fn journal(folder: &TempDir, id: &str) -> PathBuf {
    folder.path().join(format!("answer-{id}.jsonl"))
}

/// Sets the time of a journal's last line to this many seconds after 1970.
fn written_at(folder: &TempDir, id: &str, second: u64) {
    let file = File::options().append(true).open(journal(folder, id)).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
}

fn ids(list: &Value) -> Vec<&str> {
    let data = list["data"].as_array().unwrap();
    data.iter().map(|answer| answer["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_earlier_answer_is_told_as_it_was_when_it_was_written() {
    let (server, _folder) = keeping().await;
    for model in ["specthink:review", "specthink:strict", "small", "large"] {
        let (id, live) = asked(&server, json!({ "model": model, "max_tokens": 30 })).await;
        let path = format!("/v1/answers/{id}");
        let earlier = server.get(&path).await.json();
        let ours = &earlier["specthink"];
        assert_eq!(ours["answers"], live["specthink"]["answers"], "{model}");
        assert_eq!(ours["policy"], live["specthink"]["policy"]);
        for same in ["choices", "usage", "object", "model"] {
            assert_eq!(earlier[same], live[same], "{model}: {same}");
        }
        assert_eq!(ours["question"]["messages"][0]["content"], "2 + 3?");

        let stream = server.get(&format!("{path}?stream=true")).await;
        assert_eq!(stream.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let events = stream.events();
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
        let chunks: Vec<Value> = events[..events.len() - 1]
            .iter()
            .map(|event| serde_json::from_str(event).unwrap())
            .collect();
        assert_eq!(chunks[0]["specthink"]["question"], ours["question"]);
        let delta = |chunk: &Value| {
            chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
        };
        let text: String = chunks.iter().map(delta).collect();
        assert_eq!(text, live["choices"][0]["message"]["content"]);
        assert_eq!(chunks.last().unwrap()["specthink"]["answers"], ours["answers"]);
    }
}

#[tokio::test]
async fn a_list_has_the_last_answers_first_and_goes_on() {
    let (server, folder) = keeping().await;
    let empty = server.get("/v1/answers").await.json();
    assert_eq!(empty, json!({ "object": "list", "data": [], "has_more": false }));
    let mut asked_ids = Vec::new();
    for (second, model) in [(1, "specthink:review"), (2, "small"), (3, "large")] {
        let question = format!("  Is\n{model}\there? {}", "so ".repeat(200));
        let messages = json!([{ "role": "user", "content": question }]);
        let (id, _) = asked(&server, json!({ "model": model, "messages": messages })).await;
        written_at(&folder, &id, second);
        asked_ids.insert(0, id);
    }
    let all = server.get("/v1/answers").await.json();
    assert_eq!(
        (ids(&all), &all["has_more"]),
        (asked_ids.iter().map(String::as_str).collect(), &json!(false))
    );
    let reviewed = &all["data"][2];
    assert_eq!((&reviewed["policy"], &reviewed["end"]), (&json!("review"), &json!("end_of_text")));
    assert_eq!((&reviewed["corrections"], &reviewed["tokens"]["large"]), (&json!(2), &json!(2)));
    let question = reviewed["question"].as_str().unwrap();
    assert!(question.starts_with("Is specthink:review here? so so"), "{question}");
    assert!(question.ends_with('…') && question.chars().count() == 201, "{question}");
    let first = server.get("/v1/answers?limit=2").await.json();
    assert_eq!(
        (ids(&first), &first["has_more"]),
        (vec![&*asked_ids[0], &asked_ids[1]], &json!(true))
    );
    let rest = server.get(&format!("/v1/answers?limit=2&after={}", asked_ids[1])).await.json();
    assert_eq!((ids(&rest), &rest["has_more"]), (vec![&*asked_ids[2]], &json!(false)));
}

#[tokio::test]
async fn a_journal_that_is_of_no_use_is_passed_over() {
    let (server, folder) = keeping().await;
    let (whole, _) = asked(&server, json!({ "model": "small" })).await;
    let text = fs::read_to_string(journal(&folder, &whole)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let half = lines[..lines.len() - 1].join("\n");
    let other = lines[0].replacen(":1,", ":9,", 1);
    for (id, text) in [
        ("half-0", half.as_str()),
        ("cut-0", &text[..text.len() - 9]),
        ("later-0", &format!("{other}\n{}\n", lines[lines.len() - 1])),
        ("empty-0", ""),
        ("other-0", "no journal\n"),
    ] {
        fs::write(journal(&folder, id), text).unwrap();
        let list = server.get("/v1/answers").await.json();
        assert_eq!(ids(&list), [whole.as_str()], "{id}");
        let one = server.get(&format!("/v1/answers/{id}")).await;
        assert!([404, 500].contains(&one.status), "{id}: {one:?}");
    }
    // A line in the middle is damaged: the list does not read it, but the answer cannot be shown.
    let damaged = text.replacen("{\"at_us\"", "{\"at\"", 1);
    fs::write(journal(&folder, "damaged-0"), damaged).unwrap();
    let one = server.get("/v1/answers/damaged-0").await;
    assert_eq!((one.status, one.code()), (500, "internal".to_owned()));
    assert!(one.body.contains("line 2"), "{one:?}");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_words() {
    let server = Running::babbling().await;
    for path in ["/v1/answers", "/v1/answers/q-0-0"] {
        let off = server.get(path).await;
        assert_eq!((off.status, off.code()), (404, "no_journals".to_owned()), "{path}");
        assert!(off.body.contains("--journal-dir"), "{off:?}");
    }
    let (server, folder) = keeping().await;
    fs::write(folder.path().join("secret"), "x").unwrap();
    for id in ["q-99-0", "%2e%2e%2fsecret", "..%2Fsecret", "a%00b", "%FF", "é"] {
        let none = server.get(&format!("/v1/answers/{id}")).await;
        assert!([400, 404].contains(&none.status), "{id}: {none:?}");
        assert!(!none.body.contains("no_journals"), "{id}: {none:?}");
    }
    for (path, status, param) in [
        ("/v1/answers?limit=0", 400, "limit"),
        ("/v1/answers?limit=101", 400, "limit"),
        ("/v1/answers?limit=many", 400, "limit"),
        ("/v1/answers?after=q-99-0", 404, "after"),
        ("/v1/answers/q-0-0?stream=1", 400, "stream"),
    ] {
        let refused = server.get(path).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["param"]),
            (status, &json!(param)),
            "{path}"
        );
    }
    let head = "POST /v1/answers HTTP/1.1\r\nhost: localhost";
    assert_eq!(server.send(head, b"{}").await.status, 405);
}
