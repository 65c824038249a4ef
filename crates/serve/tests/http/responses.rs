//! Responses: items, whole and as events.

use serde_json::{Value, json};
use thinking::{
    testing::Script,
    thinker::{Command, Prompt},
};

use crate::support::{Response, Running};

const THOUGHTFUL: &str = "<think>\nI add them.\n</think>\n\nFive.";

async fn thoughtful() -> Running {
    Running::with(Script::text(THOUGHTFUL), Script::babble(), |_| {}).await
}

/// Returns the names and the data of all events.
fn events(response: &Response) -> Vec<(String, Value)> {
    assert_eq!(response.status, 200, "{response:?}");
    let events = response.body.split("\n\n").filter(|event| !event.is_empty());
    let read = events.map(|event| {
        let (name, data) = event.split_once('\n').unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        (name, serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
    });
    read.collect()
}

#[tokio::test]
async fn a_whole_response_has_what_was_thought_and_what_was_answered() {
    let server = thoughtful().await;
    let body = json!({ "model": "small", "input": "2 + 3?", "store": true, "reasoning": { "effort": "low" } });
    let response = server.respond(body).await;
    assert_eq!(response.status, 200, "{response:?}");
    let id = response.header("x-request-id").unwrap().to_owned();
    let answer = response.json();
    assert_eq!((&answer["object"], &answer["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(answer["id"], format!("resp_{id}"));
    let reasoning = json!({ "type": "reasoning", "id": format!("rs_{id}"), "status": "completed", "summary": [],
        "content": [{ "type": "reasoning_text", "text": "I add them." }] });
    let message = json!({ "type": "message", "id": format!("msg_{id}"), "status": "completed", "role": "assistant",
        "content": [{ "type": "output_text", "text": "Five.", "annotations": [] }] });
    assert_eq!(answer["output"], json!([reasoning, message]));
    assert_eq!((&answer["store"], &answer["incomplete_details"]), (&json!(false), &Value::Null));
    let usage = &answer["usage"];
    let count = |name: &str| usage[name].as_u64().unwrap();
    assert_eq!(count("input_tokens") + count("output_tokens"), count("total_tokens"));
    assert!(usage["output_tokens_details"]["reasoning_tokens"].as_u64() > Some(0), "{usage}");
    assert_eq!(answer["specthink"]["answers"][0]["spans"][0]["text"], THOUGHTFUL);
    assert_eq!(answer["specthink"]["ignored"], json!(["reasoning"]));
}

#[tokio::test]
async fn the_events_of_a_response_come_in_their_order_and_add_up() {
    let server = thoughtful().await;
    let body = json!({ "model": "small", "input": "2 + 3?", "stream": true });
    let events = events(&server.respond(body).await);
    for (number, (name, event)) in events.iter().enumerate() {
        assert_eq!(
            (&event["type"], &event["sequence_number"]),
            (&json!(name), &json!(number)),
            "{event}"
        );
    }
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    let text = |name: &'static str| {
        let part = [
            "output_item.added",
            "content_part.added",
            name,
            "done",
            "content_part.done",
            "output_item.done",
        ];
        part.map(|kind| match kind {
            "done" => format!("response.{}", name.replace("delta", "done")),
            kind => format!("response.{kind}"),
        })
    };
    let begin = ["response.created", "response.in_progress"].map(str::to_owned);
    let expected =
        begin.into_iter().chain(text("reasoning_text.delta")).chain(text("output_text.delta"));
    assert_eq!(names, expected.chain(["response.completed".to_owned()]).collect::<Vec<_>>());
    let of = |kind: &str| -> Vec<&Value> {
        events.iter().filter(|(name, _)| name == kind).map(|(_, event)| event).collect()
    };
    for (kind, index, text) in [("reasoning_text", 0, "I add them."), ("output_text", 1, "Five.")] {
        let deltas = of(&format!("response.{kind}.delta"));
        let gathered: String =
            deltas.iter().map(|event| event["delta"].as_str().unwrap()).collect();
        assert_eq!(gathered, text);
        assert!(
            deltas
                .iter()
                .all(|event| event["output_index"] == index
                    && event["specthink"]["writer"] == "small")
        );
        assert_eq!(of(&format!("response.{kind}.done"))[0]["text"], text);
    }
    let (_, last) = events.last().unwrap();
    let done: Vec<&Value> =
        of("response.output_item.done").iter().map(|event| &event["item"]).collect();
    assert_eq!(last["response"]["output"], json!(done));
    assert!(last["response"]["specthink"]["answers"][0]["share"].is_number(), "{last}");
    assert_eq!(events[0].1["specthink"]["policy"], "small-only");
}

#[tokio::test]
async fn a_response_that_is_cut_off_says_so() {
    let server = Running::babbling().await;
    let body = json!({ "model": "small", "input": "x", "max_output_tokens": 5, "seed": 1 });
    let answer = server.respond(body.clone()).await.json();
    assert_eq!(answer["status"], "incomplete");
    assert_eq!(answer["incomplete_details"], json!({ "reason": "max_output_tokens" }));
    assert_eq!(answer["max_output_tokens"], 5);
    let mut streamed = body;
    streamed["stream"] = json!(true);
    let events = events(&server.respond(streamed).await);
    let (name, last) = events.last().unwrap();
    assert_eq!(name, "response.incomplete");
    let text = |answer: &Value| answer["output"][0]["content"][0]["text"].clone();
    assert_eq!(text(&last["response"]), text(&answer));
    assert_eq!(last["response"]["output"][0]["status"], "incomplete");
}

#[tokio::test]
async fn a_response_of_several_turns_reaches_the_model_as_a_conversation() {
    let server = Running::babbling().await;
    let first = json!({ "model": "small", "input": "2 + 3?", "max_output_tokens": 5 });
    let mut input = vec![json!({ "role": "user", "content": "2 + 3?" })];
    let answer = server.respond(first).await.json();
    input.extend(answer["output"].as_array().unwrap().clone());
    input.push(json!({ "role": "user", "content": [{ "type": "input_text", "text": "And 4?" }] }));
    let body = json!({ "model": "small", "input": input, "instructions": "Be brief.", "max_output_tokens": 5 });
    let response = server.respond(body).await;
    assert_eq!((response.status, &response.json()["instructions"]), (200, &json!("Be brief.")));
    let commands = server.small.commands().into_iter();
    let mut opened = commands.filter_map(|(_, command)| match command {
        Command::Open(open) => Some(open.prompt),
        _ => None,
    });
    let Some(Prompt::Messages(found)) = opened.next_back() else { panic!("it is a conversation") };
    let answered = answer["output"][0]["content"][0]["text"].as_str().unwrap();
    let found: Vec<_> = found.iter().map(|it| (it.role.as_str(), it.content.as_str())).collect();
    let expected =
        [("system", "Be brief."), ("user", "2 + 3?"), ("assistant", answered), ("user", "And 4?")];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_is_not_done_for_responses_is_refused_by_its_name() {
    let server = Running::babbling().await;
    for (name, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("conv_1")),
        ("prompt", json!({ "id": "pmpt_1" })),
        ("tools", json!([{ "type": "web_search" }])),
        ("tool_choice", json!("required")),
        ("background", json!(true)),
        ("include", json!(["reasoning.encrypted_content"])),
        ("truncation", json!("auto")),
        ("text", json!({ "format": { "type": "json_object" } })),
        ("top_logprobs", json!(2)),
        ("n", json!(2)),
    ] {
        let response = server.respond(json!({ "input": "x", name: value })).await;
        let error = &response.json()["error"];
        assert_eq!(
            (response.status, &error["code"], &error["param"]),
            (400, &json!("unsupported_field"), &json!(name))
        );
    }
    let neutral = json!({ "input": "x", "previous_response_id": null, "tools": [], "tool_choice": "auto",
        "background": false, "include": [], "truncation": "disabled", "store": false, "metadata": { "a": "b" },
        "text": { "format": { "type": "text" }, "verbosity": "low" }, "parallel_tool_calls": true,
        "service_tier": "auto", "user": "ann", "max_output_tokens": 3 });
    assert_eq!(server.respond(neutral).await.status, 200);
    assert_eq!(
        server.get("/v1/responses/resp_1").await.code(),
        "unknown_route",
        "nothing is stored"
    );
}

#[tokio::test]
async fn a_response_that_fails_says_why_in_its_field_or_its_last_event() {
    let server = Running::with_context(8).await;
    let response = server
        .respond(json!({ "input": "one two three four five six seven eight nine ten" }))
        .await;
    let error = &response.json()["error"];
    assert_eq!((response.status, &error["param"]), (400, &json!("input")), "{error}");
    let change = |server: &mut serve::ApiServer| server.drain = std::time::Duration::ZERO;
    let server = Running::with(Script::babble(), Script::babble(), change).await;
    let mut stream =
        server.stream_response(json!({ "input": "x", "max_output_tokens": 1_000_000_000 })).await;
    assert!(stream.next().await.is_some());
    server.shut_down();
    let mut last = String::new();
    while let Some(event) = stream.next().await {
        last = event;
    }
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["status"]),
        (&json!("response.failed"), &json!("failed"))
    );
    assert_eq!(last["response"]["error"]["code"], "shutting_down");
    server.served.await.unwrap().unwrap();
}
