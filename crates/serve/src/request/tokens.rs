//! Requests to the tokenizer, read from their JSON, in vLLM's format.

use serde_json::Value;
use thinking::thinker::{TokenInput, TokenQuery};

use super::{
    fields::{Fields, wrong_type, wrong_value},
    json,
    messages::messages,
};
use crate::error::{ApiError, ErrorCode};

/// A request to the tokenizer.
#[derive(Debug, PartialEq)]
pub(crate) struct TokensWanted {
    pub(crate) model: Option<String>,
    pub(crate) query: TokenQuery,
    /// The request field that it is about.
    pub(crate) param: &'static str,
}

/// Reads the body of `/tokenize`: a text in `prompt`, or a conversation in `messages`.
pub(crate) fn read_tokenize(body: &[u8]) -> Result<TokensWanted, ApiError> {
    let body = json(body)?;
    let fields = Fields::of(&body)?;
    let (input, param) = match fields.get("messages") {
        Some(value) => {
            let messages = messages(value)?;
            if fields.flag("continue_final_message")? == Some(true) {
                let name = "continue_final_message";
                let message = format!("{name} is true, which is not supported: leave it out");
                return Err(ApiError::new(ErrorCode::UnsupportedField, message).about(name));
            }
            let opens_turn = fields.flag("add_generation_prompt")?.unwrap_or(true);
            (TokenInput::Messages { messages, opens_turn }, "messages")
        }
        None => {
            let prompt = fields.required("prompt")?;
            let text = prompt.as_str().map(str::to_owned);
            let text = text.ok_or_else(|| wrong_type("prompt", prompt, "a text"))?;
            let with_special = fields.flag("add_special_tokens")?.unwrap_or(true);
            (TokenInput::Text { text, with_special }, "prompt")
        }
    };
    let wants_pieces = fields.flag("return_token_strs")?.unwrap_or(false);
    let query = TokenQuery { wants_pieces, ..TokenQuery::new(input) };
    Ok(TokensWanted { model: fields.text("model")?.map(str::to_owned), query, param })
}

/// Reads the body of `/detokenize`: ids in `tokens`.
pub(crate) fn read_detokenize(body: &[u8]) -> Result<TokensWanted, ApiError> {
    let body = json(body)?;
    let fields = Fields::of(&body)?;
    let ids = token_ids("tokens", fields.required("tokens")?)?;
    let query = TokenQuery::new(TokenInput::Ids(ids));
    Ok(TokensWanted { model: fields.text("model")?.map(str::to_owned), query, param: "tokens" })
}

/// Reads a list of token ids.
pub(crate) fn token_ids(path: &str, value: &Value) -> Result<Vec<u32>, ApiError> {
    let must_be = "a list of token ids, which are whole numbers from 0 to 4294967295";
    let list = value.as_array().ok_or_else(|| wrong_type(path, value, must_be))?;
    let id = |value: &Value| match value.as_u64().map(u32::try_from) {
        Some(Ok(id)) => Ok(id),
        None if !value.is_number() => Err(wrong_type(path, value, must_be)),
        _ => Err(wrong_value(path, value, must_be)),
    };
    list.iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<TokensWanted, ApiError> {
        read_tokenize(&serde_json::to_vec(body).unwrap())
    }

    #[test]
    fn a_text_or_a_conversation_is_read_as_vllm_reads_it() {
        let text =
            |text: &str, with_special| TokenInput::Text { text: text.to_owned(), with_special };
        for (body, input) in [
            (json!({ "prompt": "a" }), text("a", true)),
            (
                json!({ "prompt": "", "add_special_tokens": false, "model": "small" }),
                text("", false),
            ),
        ] {
            assert_eq!(read(&body).unwrap().query, TokenQuery::new(input));
        }
        let user = json!([{ "role": "user", "content": "x" }]);
        for (generation, expected) in [(Value::Null, true), (json!(false), false)] {
            let body = json!({ "messages": user, "add_generation_prompt": generation, "return_token_strs": true });
            let wanted = read(&body).unwrap();
            let TokenInput::Messages { opens_turn, .. } = wanted.query.input else {
                panic!("{body}")
            };
            assert_eq!((opens_turn, wanted.query.wants_pieces), (expected, true));
        }
    }

    #[test]
    fn what_is_neither_is_refused_by_its_name() {
        for (body, param, code) in [
            (json!({}), "prompt", ErrorCode::MissingField),
            (json!({ "prompt": ["a"] }), "prompt", ErrorCode::InvalidType),
            (
                json!({ "prompt": "a", "add_special_tokens": 1 }),
                "add_special_tokens",
                ErrorCode::InvalidType,
            ),
            (
                json!({ "messages": [{ "role": "user", "content": "x" }], "continue_final_message": true }),
                "continue_final_message",
                ErrorCode::UnsupportedField,
            ),
        ] {
            let error = read(&body).expect_err(&body.to_string());
            assert_eq!((error.param.as_deref(), error.code), (Some(param), code), "{error}");
        }
        for (tokens, code) in [
            (json!("a"), ErrorCode::InvalidType),
            (json!([1, "a"]), ErrorCode::InvalidType),
            (json!([1, -1]), ErrorCode::InvalidValue),
            (json!([0.5]), ErrorCode::InvalidValue),
            (json!([4_294_967_296_u64]), ErrorCode::InvalidValue),
        ] {
            let body = serde_json::to_vec(&json!({ "tokens": tokens })).unwrap();
            assert_eq!(read_detokenize(&body).map_err(|error| error.code), Err(code), "{tokens}");
        }
    }
}
