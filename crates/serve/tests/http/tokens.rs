//! The small model's tokens: requested, and given as prompts. The tokens of a scripted model are bytes.

use std::sync::Arc;

use answer::Node;
use pool::Pool;
use serde_json::json;
use thinking::{
    testing::Script,
    thinker::{Code, Command, Failure, Prompt, Session, Thinker, TokenFuture, TokenQuery},
};

use crate::support::Running;

#[tokio::test]
async fn texts_and_conversations_become_tokens_and_tokens_text() {
    let server = Running::babbling().await;
    let tokens =
        server.post("/tokenize", json!({ "prompt": "hé", "add_special_tokens": false })).await;
    let expected = json!({ "count": 3, "max_model_len": 1 << 20, "tokens": [104, 195, 169], "token_strs": null });
    assert_eq!((tokens.status, tokens.json()), (200, expected));
    let messages = json!([{ "role": "user", "content": "ab" }]);
    let tokens =
        server.post("/tokenize", json!({ "messages": messages, "return_token_strs": true }));
    let tokens = tokens.await.json();
    assert_eq!((&tokens["tokens"], &tokens["token_strs"]), (&json!([97, 98]), &json!(["a", "b"])));
    let text = |ids| server.post("/detokenize", json!({ "tokens": ids }));
    assert_eq!(text(json!([104, 195, 169])).await.json(), json!({ "prompt": "hé" }));
    assert_eq!(text(json!([104, 195])).await.json(), json!({ "prompt": "h\u{fffd}" }));
    let refused = text(json!([256])).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_value"));
    assert_eq!(refused.json()["error"]["param"], "tokens");
    let info = server.get("/tokenizer_info").await.json();
    assert_eq!((&info["vocab_size"], &info["model_max_length"]), (&json!(256), &json!(1 << 20)));
}

#[tokio::test]
async fn what_is_no_question_to_a_tokenizer_is_refused() {
    let server = Running::babbling().await;
    for (path, body, status, code) in [
        ("/tokenize", json!({}), 400, "missing_field"),
        ("/tokenize", json!({ "prompt": "a", "model": "smal" }), 404, "model_not_found"),
        ("/tokenize", json!({ "prompt": "a".repeat(20_000) }), 413, "body_too_large"),
        ("/detokenize", json!({ "tokens": "a" }), 400, "invalid_type"),
    ] {
        let response = server.post(path, body).await;
        assert_eq!((response.status, response.code().as_str()), (status, code), "{path}");
    }
    assert_eq!(server.get("/tokenize").await.status, 405);
}

/// An unreachable node.
#[derive(Debug)]
struct Gone;

impl Thinker for Gone {
    fn session(&self) -> Session {
        Session::channel().0
    }

    fn tokens(&self, _: TokenQuery) -> TokenFuture {
        Box::pin(async { Err(Failure::new(Code::Unavailable, "gone")) })
    }
}

#[tokio::test]
async fn where_a_small_node_is_gone_the_next_ones_tokenizer_is_asked() {
    let server = Running::with(Script::babble(), Script::babble(), |server| {
        let gone = Node::new("http://gone:1", Arc::new(Gone));
        server.backend.small = Pool::unwatched([vec![gone], server.backend.small.nodes()].concat());
    });
    let server = server.await;
    // Several tries, so that each of them is asked first at some time.
    for _ in 0..8 {
        let text = server.post("/detokenize", json!({ "tokens": [104] })).await;
        assert_eq!((text.status, text.json()), (200, json!({ "prompt": "h" })));
    }
}

#[tokio::test]
async fn ids_are_prompts_and_those_that_make_no_text_are_refused() {
    let server = Running::with(Script::text(" so"), Script::babble(), |_| {}).await;
    let body = json!({ "model": "small", "prompt": [[104, 195, 169], [97]], "max_tokens": 9 });
    let answer = server.complete(body).await.json();
    let texts: Vec<_> =
        answer["choices"].as_array().unwrap().iter().map(|it| &it["text"]).collect();
    assert_eq!(texts, [&json!(" so"), &json!(" so")]);
    let prompts = server.small.commands().into_iter().filter_map(|(_, command)| match command {
        Command::Open(open) => Some(open.prompt),
        _ => None,
    });
    let mut prompts: Vec<Prompt> = prompts.collect();
    prompts.sort_by_key(|prompt| format!("{prompt:?}"));
    assert_eq!(prompts, [Prompt::Raw("a".to_owned()), Prompt::Raw("hé".to_owned())]);
    for (prompt, words) in
        [(json!([104, 195]), "do not decode to text"), (json!([300]), "is not a token")]
    {
        let response = server.complete(json!({ "prompt": prompt })).await;
        assert_eq!((response.status, response.code().as_str()), (400, "invalid_value"), "{prompt}");
        assert!(response.body.contains(words), "{response:?}");
        assert_eq!(response.json()["error"]["param"], "prompt");
    }
}
