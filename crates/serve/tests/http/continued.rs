//! Answers that continue a given beginning, and stop texts across both models.

use answer::journal::Journal;
use serde_json::{Value, json};
use serve::{JournalFolder, JournalLimits};
use thinking::{
    beginning::AnswerBeginning,
    testing::{Options, Script, ScriptedThinker, pieces},
    thinker::{Command, Prompt, ThoughtStart},
};

use crate::support::Running;

/// Returns the beginning of the answer that a node was given.
fn given(thinker: &ScriptedThinker) -> String {
    let commands = thinker.commands().into_iter().map(|(_, command)| command);
    let texts = commands.take_while(|command| !matches!(command, Command::Propose(_)));
    let texts = texts.filter_map(|command| match command {
        Command::Append(append) => Some(append.text),
        _ => None,
    });
    texts.collect()
}

fn conversation(last: Value) -> Value {
    json!([{ "role": "user", "content": "Is 221 prime?" }, last])
}

#[tokio::test]
async fn the_assistants_last_message_is_continued_and_not_repeated() {
    let server = Running::with(Script::text(" 13 * 17."), Script::text(" 13 * 17."), |_| {}).await;
    let messages = conversation(json!({ "role": "assistant", "content": "No, because" }));
    for (model, thinker) in [("small", &server.small), ("large", &server.large)] {
        let answer = server.chat(json!({ "model": model, "messages": messages })).await.json();
        assert_eq!(answer["choices"][0]["message"]["content"], " 13 * 17.", "{model}");
        assert_eq!(given(thinker), "No, because", "{model}");
    }
    let commands = server.small.commands();
    let Some(Command::Open(open)) = commands.into_iter().map(|(_, command)| command).next() else {
        panic!("it is opened first")
    };
    let Prompt::Messages(messages) = open.prompt else { panic!("it is a conversation") };
    assert_eq!((messages.len(), messages[0].role.as_str()), (1, "user"));
}

#[tokio::test]
async fn the_last_message_of_a_responses_input_is_continued_and_counted() {
    let server = Running::with(Script::text(" 13 * 17."), Script::babble(), |_| {}).await;
    let thought = json!({ "type": "reasoning", "summary": [],
        "content": [{ "type": "reasoning_text", "text": "221" }] });
    let said = json!({ "type": "message", "role": "assistant",
        "content": [{ "type": "output_text", "text": "No, because" }] });
    let user = json!({ "role": "user", "content": "Is 221 prime?" });
    let ask = async |input: Value| {
        let answer = server.respond(json!({ "model": "small", "input": input })).await.json();
        assert_eq!(answer["output"][0]["content"][0]["text"], " 13 * 17.", "{answer}");
        answer["usage"]["input_tokens"].as_u64().unwrap()
    };
    let begun = ask(json!([user, said])).await;
    assert_eq!(given(&server.small), "No, because");
    let alone = ask(json!([user])).await;
    assert_eq!(begun - alone, pieces("No, because").count() as u64);
    let thinker = ScriptedThinker::new(Script::text(" 13 * 17."));
    let server = Running::over(thinker, ScriptedThinker::new(Script::babble()), |_| {}).await;
    let body = json!({ "model": "small", "input": [user, thought, said] });
    assert_eq!(server.respond(body).await.status, 200);
    assert_eq!(given(&server.small), "<think>\n221\n</think>\n\nNo, because");
}

#[tokio::test]
async fn a_thought_is_continued_where_the_template_leaves_it() {
    for (thought, reasoning, content, expected) in [
        (ThoughtStart::Open, "13", "", "13"),
        (ThoughtStart::Open, "", "No,", "\n</think>\n\nNo,"),
        (ThoughtStart::Unopened, "13", "No,", "<think>\n13\n</think>\n\nNo,"),
    ] {
        let mut options = Options::default();
        options.card.thought = thought;
        let thinker = ScriptedThinker::with_options(Script::text(" so</think>\n\n4"), options);
        let server = Running::over(thinker, ScriptedThinker::new(Script::babble()), |_| {}).await;
        let last =
            json!({ "role": "assistant", "content": content, "reasoning_content": reasoning });
        let body = json!({ "model": "small", "messages": conversation(last) });
        let message = server.chat(body).await.json()["choices"][0]["message"].clone();
        assert_eq!(given(&server.small), expected);
        let (thought, proper) = match content {
            "" => (json!(" so"), json!("4")),
            _ => (Value::Null, json!(" so</think>\n\n4")),
        };
        assert_eq!((&message["reasoning_content"], &message["content"]), (&thought, &proper));
    }
}

#[tokio::test]
async fn a_journal_holds_what_was_given_and_what_stops() {
    let folder = tempfile::tempdir().unwrap();
    let limits = JournalLimits { most: 2, max_age: None, max_bytes: None };
    let journals = JournalFolder::new(folder.path(), limits).unwrap();
    let server = Running::with(Script::text(" a\n\nQ: b"), Script::babble(), |server| {
        server.journals = Some(journals);
    });
    let server = server.await;
    let messages = conversation(json!({ "role": "assistant", "content": "No" }));
    let body = json!({ "model": "small", "messages": messages, "stop": "\n\nQ" });
    let answer = server.chat(body).await.json();
    let report = &answer["specthink"]["answers"][0];
    let id = report["id"].as_str().unwrap();
    let journal = Journal::open(&folder.path().join(format!("answer-{id}.jsonl"))).unwrap();
    let question = &journal.header.question;
    let beginning = AnswerBeginning { content: "No".to_owned(), ..AnswerBeginning::default() };
    assert_eq!(question.beginning, beginning);
    assert_eq!(
        (question.stop.texts.as_slice(), question.stop.in_thought),
        (&["\n\nQ".to_owned()][..], false)
    );
    assert_eq!(
        (&report["end"], &report["summary"]["stopped_by"]),
        (&json!("stop"), &json!("\n\nQ"))
    );
    assert_eq!(answer["choices"][0]["message"]["content"], " a");
}

#[tokio::test]
async fn journals_that_are_too_old_go_while_nothing_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("answer-old.jsonl");
    std::fs::File::create(&old).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let max_age = Some(std::time::Duration::from_secs(3600));
    let limits = JournalLimits { most: 2, max_age, max_bytes: None };
    let journals = JournalFolder::new(folder.path(), limits).unwrap();
    let change = |server: &mut serve::ApiServer| server.journals = Some(journals);
    let _server = Running::with(Script::babble(), Script::babble(), change).await;
    let gone = async {
        while old.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.unwrap();
}

#[tokio::test]
async fn a_stop_text_is_found_where_one_model_begins_it_and_the_other_ends_it() {
    let server = Running::babbling().await;
    let body = |stop: Value| json!({ "seed": 7, "max_tokens": 300, "stop": stop });
    let whole = server.chat(body(Value::Null)).await.json();
    let content = whole["choices"][0]["message"]["content"].as_str().unwrap();
    let spans = whole["specthink"]["answers"][0]["spans"].as_array().unwrap().clone();
    let mut border = 0;
    let mut crossed = 0;
    for span in &spans[..spans.len() - 1] {
        border += span["text"].as_str().unwrap().len();
        let (from, to) =
            (content.floor_char_boundary(border - 6), content.ceil_char_boundary(border + 6));
        let stop = &content[from..to];
        let at = content.find(stop).unwrap();
        let answer = server.chat(body(json!(stop))).await.json();
        assert_eq!(answer["choices"][0]["message"]["content"], content[..at], "{stop:?}");
        assert_eq!(answer["specthink"]["answers"][0]["stopped_by"], stop);
        crossed += u32::from(at == from);
    }
    assert!(crossed > 0, "one is found at a border: {spans:?}");
    server.idle().await;
}
