//! Converts texts to tokens and tokens to texts without a session. Runs on a thread of its own ([`crate::preparer`]).

use text::TokenizerError;
use thinking::{
    session::limits,
    thinker::{Code, Failure, TokenInput, TokenQuery, TokenReply, TokenizerCard},
};

use crate::encoder::{Encoder, check_fits};

/// Answers a request to the tokenizer of a model with a context of `context` tokens. Input that cannot fit the context
/// is refused before any work is done on it, as in a session.
///
/// # Errors
/// [`Code::ContextTooLong`]; [`Code::Template`] if the messages have no usable template or it refuses them;
/// [`Code::InvalidArgument`] for unknown ids and for text that cannot be encoded.
pub(crate) fn reply_to(
    query: &TokenQuery,
    encoder: &Encoder,
    context: usize,
) -> Result<TokenReply, Failure> {
    limits::check_tokens(query)?;
    let tokenizer = encoder.tokenizer();
    let mut reply = TokenReply { context_tokens: context as u32, ..TokenReply::default() };
    match &query.input {
        TokenInput::Nothing => {}
        TokenInput::Text { text, with_special } => {
            encoder.check_bytes(text.len(), context)?;
            reply.ids = encoder.text(text, *with_special)?;
        }
        TokenInput::Messages { messages, opens_turn } => {
            encoder.check_bytes(query.bytes(), context)?;
            let messages = messages.iter().map(|one| (one.role.as_str(), one.content.as_str()));
            let template = tokenizer.template();
            let rendered = match opens_turn {
                true => template.render(messages),
                false => template.render_closed(messages),
            };
            let rendered =
                rendered.map_err(|error| Failure::new(Code::Template, error.to_string()))?;
            encoder.check_bytes(rendered.len(), context)?;
            reply.ids = encoder.rendered(&rendered)?;
        }
        TokenInput::Ids(ids) => {
            check_fits(ids.len(), context, "the list of ids")?;
            let invalid =
                |error: TokenizerError| Failure::new(Code::InvalidArgument, error.to_string());
            let bytes = tokenizer.decode(ids).map_err(invalid)?;
            reply.ids.clone_from(ids);
            (reply.text, reply.is_broken) = match String::from_utf8(bytes) {
                Ok(text) => (text, false),
                Err(broken) => (String::from_utf8_lossy(broken.as_bytes()).into_owned(), true),
            };
        }
    }
    if query.wants_pieces {
        let piece = |id: &u32| String::from_utf8_lossy(&tokenizer.shown_piece(*id)).into_owned();
        reply.pieces = reply.ids.iter().map(piece).collect();
    }
    reply.card = query.wants_card.then(|| TokenizerCard {
        vocabulary_size: u32::try_from(tokenizer.vocabulary_size()).unwrap_or(u32::MAX),
        special_tokens: tokenizer
            .special_tokens()
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect(),
        chat_template: tokenizer.template_source().map(str::to_owned),
        fingerprint: tokenizer.fingerprint().to_owned(),
    });
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use text::{GgufMetadata, GgufValue, Tokenizer};
    use thinking::thinker::Message;

    use super::*;

    /// Makes a tokenizer with tokens for some letters, the bytes of "é", and a control token that begins every text.
    fn encoder() -> Encoder {
        let string = |text: &str| GgufValue::String(text.to_owned());
        let tokens = ["a", "b", "Ã", "©", "<s>", "u", "s", "e", "r"].map(string);
        let types = [1, 1, 1, 1, 3, 1, 1, 1, 1].map(GgufValue::Integer);
        let template = "{{ messages[0].content }}{% if add_generation_prompt %}b{% endif %}";
        let metadata = GgufMetadata::from([
            ("tokenizer.ggml.model".to_owned(), string("gpt2")),
            ("tokenizer.ggml.tokens".to_owned(), GgufValue::Array(tokens.into())),
            ("tokenizer.ggml.token_type".to_owned(), GgufValue::Array(types.into())),
            ("tokenizer.ggml.merges".to_owned(), GgufValue::Array(Vec::new())),
            ("tokenizer.ggml.bos_token_id".to_owned(), GgufValue::Integer(4)),
            ("tokenizer.ggml.add_bos_token".to_owned(), GgufValue::Bool(true)),
            ("tokenizer.chat_template".to_owned(), string(template)),
        ]);
        Encoder::new(Tokenizer::from_gguf(&metadata).unwrap(), Arc::default())
    }

    fn reply(input: TokenInput) -> Result<TokenReply, Failure> {
        let query = TokenQuery { wants_pieces: true, ..TokenQuery::new(input) };
        reply_to(&query, &encoder(), 8)
    }

    fn text(text: &str, with_special: bool) -> TokenInput {
        TokenInput::Text { text: text.to_owned(), with_special }
    }

    fn user(content: &str, opens_turn: bool) -> TokenInput {
        let message = Message { role: "user".to_owned(), content: content.to_owned() };
        TokenInput::Messages { messages: vec![message], opens_turn }
    }

    #[test]
    fn text_and_messages_become_the_tokens_that_a_prompt_of_them_has() {
        for (input, ids) in [
            (text("abé", false), vec![0, 1, 2, 3]),
            (text("ab", true), vec![4, 0, 1]),
            (text("<s>ab", true), vec![4, 0, 1]),
            (text("<s>a", false), vec![4, 0]),
            (text("", false), vec![]),
            (user("a", true), vec![0, 1]),
            (user("a", false), vec![0]),
        ] {
            assert_eq!(reply(input.clone()).unwrap().ids, ids, "{input:?}");
        }
        let pieces = reply(text("<s>aé", false)).unwrap().pieces;
        assert_eq!(pieces, ["<s>", "a", "\u{fffd}", "\u{fffd}"]);
    }

    #[test]
    fn tokens_become_the_text_that_they_stand_for_with_control_tokens_by_name() {
        for (ids, text, is_broken) in [
            (vec![4, 0, 2, 3], "<s>aé", false),
            (vec![], "", false),
            (vec![0, 2], "a\u{fffd}", true),
        ] {
            let reply = reply(TokenInput::Ids(ids)).unwrap();
            assert_eq!((reply.text.as_str(), reply.is_broken), (text, is_broken));
        }
        let failure = reply(TokenInput::Ids(vec![0, 9])).unwrap_err();
        assert_eq!(failure.code, Code::InvalidArgument);
        assert!(failure.message.contains("9 is not a token"), "{failure}");
    }

    #[test]
    fn what_cannot_fit_the_context_is_refused() {
        let long = "a".repeat(encoder().tokenizer().most_bytes(8) + 1);
        for input in [text(&long, false), user(&long, true), TokenInput::Ids(vec![0; 9])] {
            assert_eq!(reply(input).unwrap_err().code, Code::ContextTooLong);
        }
        let message = Message { role: "user".to_owned(), content: String::new() };
        let messages = vec![message; 1025];
        let failure = reply(TokenInput::Messages { messages, opens_turn: true }).unwrap_err();
        assert_eq!(failure.code, Code::InvalidArgument);
    }

    #[test]
    fn the_card_says_what_clients_render_conversations_with() {
        let query = TokenQuery { wants_card: true, ..TokenQuery::new(TokenInput::Nothing) };
        let reply = reply_to(&query, &encoder(), 8).unwrap();
        let card = reply.card.unwrap();
        assert!(card.special_tokens.contains(&("bos_token".to_owned(), "<s>".to_owned())));
        assert!(card.chat_template.is_some_and(|source| source.starts_with("{{ messages")));
        assert_eq!((card.vocabulary_size, reply.context_tokens), (9, 8));
    }
}
