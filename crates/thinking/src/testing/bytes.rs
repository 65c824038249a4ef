//! The tokenizer of a scripted Thinker: each byte is a token.

use crate::thinker::{Code, Failure, TokenInput, TokenQuery, TokenReply, TokenizerCard};

/// Answers a tokenizer query with one token per byte.
pub(super) fn byte_tokens(query: TokenQuery, context_tokens: u32) -> Result<TokenReply, Failure> {
    let of_text = |text: &str| text.bytes().map(u32::from).collect();
    let (ids, bytes): (Vec<u32>, Vec<u8>) = match query.input {
        TokenInput::Nothing => Default::default(),
        TokenInput::Text { text, .. } => (of_text(&text), Vec::new()),
        TokenInput::Messages { messages, .. } => {
            let texts: String = messages.into_iter().map(|message| message.content).collect();
            (of_text(&texts), Vec::new())
        }
        TokenInput::Ids(ids) => {
            let bytes = ids.iter().map(|id| u8::try_from(*id)).collect::<Result<_, _>>();
            let no_token =
                |_| Failure::new(Code::InvalidArgument, "an id is not a token; send bytes");
            let bytes = bytes.map_err(no_token)?;
            (ids, bytes)
        }
    };
    Ok(TokenReply {
        is_broken: std::str::from_utf8(&bytes).is_err(),
        text: String::from_utf8_lossy(&bytes).into_owned(),
        pieces: if query.wants_pieces { pieces_of(&ids) } else { Vec::new() },
        ids,
        context_tokens,
        card: query.wants_card.then(|| TokenizerCard {
            vocabulary_size: 256,
            fingerprint: "bytes".to_owned(),
            ..TokenizerCard::default()
        }),
    })
}

fn pieces_of(ids: &[u32]) -> Vec<String> {
    ids.iter().filter_map(|id| char::from_u32(*id)).map(String::from).collect()
}
