//! Tokenizer queries and replies, to and from the wire.

use proto::v1 as wire;
use thinking::{
    shown::one_line,
    thinker::{Message, TokenInput, TokenQuery, TokenReply, TokenizerCard},
};

/// A query, as it is sent on the wire.
pub(crate) fn query_to_wire(query: TokenQuery) -> wire::TokenizeRequest {
    use wire::tokenize_request::Input as To;
    let TokenQuery { input, wants_pieces, wants_card } = query;
    let (input, with_special) = match input {
        TokenInput::Nothing => (None, false),
        TokenInput::Text { text, with_special } => (Some(To::Text(text)), with_special),
        TokenInput::Messages { messages, opens_turn } => {
            let messages = messages.into_iter();
            let messages =
                messages.map(|Message { role, content }| wire::Message { role, content }).collect();
            (Some(To::Conversation(wire::Conversation { messages, opens_turn })), false)
        }
        TokenInput::Ids(ids) => (Some(To::TokenIds(wire::TokenIds { ids })), false),
    };
    wire::TokenizeRequest {
        input,
        with_special,
        with_pieces: wants_pieces,
        with_tokenizer: wants_card,
    }
}

/// Reads a client's query.
pub(crate) fn query_from_wire(request: wire::TokenizeRequest) -> TokenQuery {
    use wire::tokenize_request::Input as From;
    let wire::TokenizeRequest { input, with_special, with_pieces, with_tokenizer } = request;
    let input = match input {
        None => TokenInput::Nothing,
        Some(From::Text(text)) => TokenInput::Text { text, with_special },
        Some(From::Conversation(wire::Conversation { messages, opens_turn })) => {
            let messages = messages.into_iter();
            let messages =
                messages.map(|wire::Message { role, content }| Message { role, content }).collect();
            TokenInput::Messages { messages, opens_turn }
        }
        Some(From::TokenIds(wire::TokenIds { ids })) => TokenInput::Ids(ids),
    };
    TokenQuery { input, wants_pieces: with_pieces, wants_card: with_tokenizer }
}

/// A tokenizer's reply, as it is sent on the wire.
pub(crate) fn reply_to_wire(reply: TokenReply) -> wire::TokenizeResponse {
    let TokenReply { ids, text, is_broken, pieces, context_tokens, card } = reply;
    let tokenizer = card.map(|card| {
        let TokenizerCard { vocabulary_size, special_tokens, chat_template, fingerprint } = card;
        let special_tokens = special_tokens.into_iter().collect();
        wire::Tokenizer { vocabulary_size, special_tokens, chat_template, fingerprint }
    });
    wire::TokenizeResponse { ids, text, broken: is_broken, pieces, context_tokens, tokenizer }
}

/// Reads the reply of a node's tokenizer.
pub(crate) fn reply_from_wire(response: wire::TokenizeResponse) -> TokenReply {
    let wire::TokenizeResponse { ids, text, broken, pieces, context_tokens, tokenizer } = response;
    let card = tokenizer.map(|tokenizer| {
        let wire::Tokenizer { vocabulary_size, special_tokens, chat_template, fingerprint } =
            tokenizer;
        let mut special_tokens: Vec<(String, String)> = special_tokens.into_iter().collect();
        special_tokens.sort_unstable();
        let fingerprint = one_line(&fingerprint);
        TokenizerCard { vocabulary_size, special_tokens, chat_template, fingerprint }
    });
    TokenReply { ids, text, is_broken: broken, pieces, context_tokens, card }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_replies_are_the_same_behind_the_wire() {
        let message = Message { role: "user".to_owned(), content: "é".to_owned() };
        for input in [
            TokenInput::Nothing,
            TokenInput::Text { text: "a".to_owned(), with_special: true },
            TokenInput::Text { text: String::new(), with_special: false },
            TokenInput::Messages { messages: vec![message], opens_turn: true },
            TokenInput::Ids(vec![1, 2]),
        ] {
            for (wants_pieces, wants_card) in [(false, true), (true, false)] {
                let query = TokenQuery { input: input.clone(), wants_pieces, wants_card };
                assert_eq!(query_from_wire(query_to_wire(query.clone())), query);
            }
        }
        let card = TokenizerCard {
            vocabulary_size: 9,
            special_tokens: vec![("bos_token".to_owned(), "<s>".to_owned())],
            chat_template: Some("{{ messages }}".to_owned()),
            fingerprint: "f".to_owned(),
        };
        let reply = TokenReply {
            ids: vec![1],
            text: "a\u{fffd}".to_owned(),
            is_broken: true,
            pieces: vec!["a".to_owned()],
            context_tokens: 512,
            card: Some(card),
        };
        assert_eq!(reply_from_wire(reply_to_wire(reply.clone())), reply);
        let mut hostile = reply_to_wire(reply);
        hostile.tokenizer.as_mut().unwrap().fingerprint = "f\u{1b}[2J".to_owned();
        assert_eq!(reply_from_wire(hostile).card.unwrap().fingerprint, "f\u{fffd}[2J");
    }
}
