//! Continuations of texts, conversations of several turns, and what is recorded of answers.

use answer::journal::Journal;
use serde_json::{Value, json};
use serve::{JournalFolder, JournalLimits};
use thinking::{
    testing::Script,
    thinker::{Command, Prompt},
};

use crate::support::Running;

/// Returns the prompts that the small model was given, in order.
fn prompts(server: &Running) -> Vec<Prompt> {
    let commands = server.small.commands().into_iter();
    let opened = commands.filter_map(|(_, command)| match command {
        Command::Open(open) => Some(open.prompt),
        _ => None,
    });
    opened.collect()
}

#[tokio::test]
async fn a_text_is_continued_as_it_is() {
    let server =
        Running::with(Script::text("<think>a</think>\n\nb"), Script::babble(), |_| {}).await;
    let answer = server.complete(json!({ "model": "small", "prompt": "2 + 3 =" })).await.json();
    assert_eq!(answer["object"], "text_completion");
    let choice = &answer["choices"][0];
    assert_eq!(
        (&choice["text"], &choice["finish_reason"]),
        (&json!("<think>a</think>\n\nb"), &json!("stop"))
    );
    assert_eq!(answer["specthink"]["answers"][0]["end"], "end_of_text");
    assert_eq!(prompts(&server), [Prompt::Raw("2 + 3 =".to_owned())]);
    let response =
        server.complete(json!({ "model": "small", "prompt": "2 + 3 =", "stream": true })).await;
    let mut events = response.events();
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let events: Vec<Value> =
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let text: String = events.iter().map(|it| it["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(text, "<think>a</think>\n\nb");
    assert!(events.iter().all(|event| event["object"] == "text_completion"));
}

#[tokio::test]
async fn every_prompt_of_a_list_has_its_answers_whatever_stands_beside_it() {
    let server = Running::babbling().await;
    let text = |answer: &Value, choice: usize| answer["choices"][choice]["text"].clone();
    let body = json!({ "prompt": ["one", "two"], "n": 2, "seed": 3, "max_tokens": 20 });
    let all = server.complete(body).await.json();
    let indices: Vec<u64> =
        all["choices"].as_array().unwrap().iter().map(|it| it["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    let alone =
        server.complete(json!({ "prompt": "two", "seed": 3, "max_tokens": 20 })).await.json();
    assert_eq!(text(&all, 2), text(&alone, 0));
    assert_ne!(text(&all, 2), text(&all, 3));
    let one = server.complete(json!({ "prompt": "one", "seed": 3, "max_tokens": 20 })).await.json();
    let of_prompt = |answer: &Value| answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(of_prompt(&all), of_prompt(&one) + of_prompt(&alone));
}

#[tokio::test]
async fn what_is_not_done_for_texts_is_refused() {
    let server = Running::babbling().await;
    for (more, code) in [
        (json!({ "prompt": "x", "logprobs": 0 }), "unsupported_field"),
        (json!({ "prompt": "x", "echo": true }), "unsupported_field"),
        (json!({ "prompt": "x", "best_of": 2 }), "unsupported_field"),
        (json!({ "prompt": "x", "suffix": "y" }), "unsupported_field"),
        (json!({}), "missing_field"),
        (json!({ "prompt": ["x", "x", "x", "x", "x"] }), "invalid_value"),
    ] {
        let response = server.complete(more.clone()).await;
        assert_eq!((response.status, response.code().as_str()), (400, code), "{more}");
    }
    let neutral =
        json!({ "prompt": "x", "logprobs": null, "echo": false, "best_of": 1, "suffix": "" });
    assert_eq!(server.complete(neutral).await.status, 200);
}

#[tokio::test]
async fn a_conversation_of_several_turns_reaches_the_model_as_it_is() {
    let server = Running::babbling().await;
    let messages = json!([
        { "role": "developer", "content": "Be brief." },
        { "role": "user", "content": "2 + 3?" },
        { "role": "assistant", "content": "5", "reasoning_content": "I add." },
        { "role": "user", "content": [{ "type": "text", "text": "And " }, { "type": "text", "text": "4 + 4?" }] },
    ]);
    assert_eq!(server.chat(json!({ "messages": messages, "max_tokens": 5 })).await.status, 200);
    let Prompt::Messages(found) = &prompts(&server)[0] else { panic!("it is a conversation") };
    let found: Vec<_> = found.iter().map(|it| (it.role.as_str(), it.content.as_str())).collect();
    let expected =
        [("system", "Be brief."), ("user", "2 + 3?"), ("assistant", "5"), ("user", "And 4 + 4?")];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn every_answer_has_a_journal_where_a_folder_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let limits = JournalLimits { most: 2, max_age: None, max_bytes: None };
    let journals = JournalFolder::new(folder.path(), limits).unwrap();
    let server = Running::with(Script::babble(), Script::babble(), |server| {
        server.journals = Some(journals);
    });
    let server = server.await;
    let mut last = Value::Null;
    for _ in 0..3 {
        last = server.chat(json!({ "max_tokens": 30, "seed": 1 })).await.json();
    }
    let id = last["specthink"]["answers"][0]["id"].as_str().unwrap();
    let journal = Journal::open(&folder.path().join(format!("answer-{id}.jsonl"))).unwrap();
    assert!(journal.is_complete());
    assert_eq!((journal.header.question.id.as_str(), journal.header.question.seed), (id, 1));
    server.shut_down();
    server.served.await.unwrap().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "the oldest gave way");
}
