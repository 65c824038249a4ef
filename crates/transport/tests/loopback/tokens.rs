//! Requests to a node's tokenizer, which need no session.

use std::sync::Arc;

use thinking::{
    testing::{Script, ScriptedThinker},
    thinker::{Code, Session, Thinker, TokenInput, TokenQuery},
};
use transport::{Remote, RemoteConfig, ServerConfig, Token};

use crate::support::Node;

/// A Thinker without a tokenizer, such as a node in front of another server.
struct Mute(ScriptedThinker);

impl Thinker for Mute {
    fn session(&self) -> Session {
        self.0.session()
    }
}

fn text(text: &str) -> TokenQuery {
    TokenQuery::new(TokenInput::Text { text: text.to_owned(), with_special: true })
}

#[tokio::test]
async fn a_tokenizer_behind_the_network_says_what_it_says_before_it() {
    let thinker = Arc::new(ScriptedThinker::new(Script::babble()));
    let node = Node::start(thinker.clone()).await;
    let remote = node.remote();
    for query in [
        text("hé"),
        TokenQuery { wants_pieces: true, ..TokenQuery::new(TokenInput::Ids(vec![104, 195])) },
        TokenQuery { wants_card: true, ..TokenQuery::new(TokenInput::Nothing) },
    ] {
        let near = thinker.tokens(query.clone()).await.unwrap();
        assert!(near.is_some());
        assert_eq!(remote.tokens(query).await.unwrap(), near);
    }
    let failure = remote.tokens(TokenQuery::new(TokenInput::Ids(vec![256]))).await.unwrap_err();
    assert_eq!(failure.code, Code::InvalidArgument, "{failure}");
}

#[tokio::test]
async fn a_node_without_a_tokenizer_is_told_from_one_that_fails() {
    let mute = Arc::new(Mute(ScriptedThinker::new(Script::babble())));
    let node = Node::start(mute).await;
    let remote = node.remote();
    assert_eq!(remote.tokens(text("a")).await, Ok(None));
}

#[tokio::test]
async fn a_question_to_a_tokenizer_shows_the_token_and_keeps_to_the_size() {
    let thinker = Arc::new(ScriptedThinker::new(Script::babble()));
    let token = |text| Some(Token::new(text).unwrap());
    let node =
        Node::with(thinker, |config: &mut ServerConfig| config.token = token("s3cret")).await;
    let code = async |config: RemoteConfig, bytes| {
        let remote = Remote::new(config).unwrap();
        remote
            .tokens(text(&"a".repeat(bytes)))
            .await
            .map_err(|failure| failure.code)
            .map(|it| it.is_some())
    };
    assert_eq!(code(node.config(), 1).await, Err(Code::Unauthenticated));
    let known = || RemoteConfig { token: token("s3cret"), ..node.config() };
    assert_eq!(code(known(), 1).await, Ok(true));
    let narrow = RemoteConfig { max_message_bytes: 100, ..known() };
    assert_eq!(code(narrow, 200).await, Err(Code::MessageTooLarge));
}
