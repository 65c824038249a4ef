//! The texts that a request wants continued, or the token ids of them.

use serde_json::Value;
use thinking::thinker::Prompt;

use super::{
    fields::{wrong_type, wrong_value},
    tokens::token_ids,
};
use crate::error::ApiError;

const MUST_BE: &str =
    "a text that is not empty, a list of token ids, or a list of one or more of either";

/// The prompts, each continued separately.
#[derive(Debug, PartialEq)]
pub(crate) enum TextPrompts {
    Texts(Vec<Prompt>),
    Ids(Vec<Vec<u32>>),
}

/// Reads a text, a list of token ids, or a list of either.
pub(crate) fn prompts(value: &Value) -> Result<TextPrompts, ApiError> {
    let list = match value {
        Value::String(_) => return Ok(TextPrompts::Texts(vec![text(value)?])),
        Value::Array(list) => list,
        _ => return Err(wrong_type("prompt", value, MUST_BE)),
    };
    match list.first() {
        None => Err(wrong_value("prompt", value, MUST_BE)),
        Some(Value::Number(_)) => Ok(TextPrompts::Ids(vec![ids(value)?])),
        Some(Value::Array(_)) => {
            list.iter().map(ids).collect::<Result<_, _>>().map(TextPrompts::Ids)
        }
        Some(_) => list.iter().map(text).collect::<Result<_, _>>().map(TextPrompts::Texts),
    }
}

fn ids(value: &Value) -> Result<Vec<u32>, ApiError> {
    let ids = token_ids("prompt", value)?;
    if ids.is_empty() { Err(wrong_value("prompt", value, MUST_BE)) } else { Ok(ids) }
}

fn text(value: &Value) -> Result<Prompt, ApiError> {
    let text = value.as_str().ok_or_else(|| wrong_type("prompt", value, MUST_BE))?;
    if text.is_empty() {
        return Err(wrong_value("prompt", value, MUST_BE));
    }
    Ok(Prompt::Raw(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn prompts_are_texts_or_ids_or_lists_of_them() {
        let raw = |text: &str| Prompt::Raw(text.to_owned());
        for (value, expected) in [
            (json!("a"), TextPrompts::Texts(vec![raw("a")])),
            (json!(["a", "b"]), TextPrompts::Texts(vec![raw("a"), raw("b")])),
            (json!([1, 2]), TextPrompts::Ids(vec![vec![1, 2]])),
            (json!([[1], [2, 3]]), TextPrompts::Ids(vec![vec![1], vec![2, 3]])),
        ] {
            assert_eq!(prompts(&value), Ok(expected), "{value}");
        }
        for (value, code) in [
            (json!(""), ErrorCode::InvalidValue),
            (json!(["a", ""]), ErrorCode::InvalidValue),
            (json!([]), ErrorCode::InvalidValue),
            (json!([[]]), ErrorCode::InvalidValue),
            (json!([-1]), ErrorCode::InvalidValue),
            (json!([1, "a"]), ErrorCode::InvalidType),
            (json!([[1], 2]), ErrorCode::InvalidType),
            (json!(["a", [1]]), ErrorCode::InvalidType),
            (json!(7), ErrorCode::InvalidType),
            (json!([null]), ErrorCode::InvalidType),
        ] {
            assert_eq!(prompts(&value).map_err(|error| error.code), Err(code), "{value}");
        }
    }
}
