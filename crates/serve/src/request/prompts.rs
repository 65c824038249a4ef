//! The texts that a request wants continued.

use serde_json::Value;
use thinking::thinker::Prompt;

use super::fields::{wrong_type, wrong_value};
use crate::error::{ApiError, ErrorCode};

/// Reads a text, or a list of texts.
pub(crate) fn prompts(value: &Value) -> Result<Vec<Prompt>, ApiError> {
    match value {
        Value::String(text) => Ok(vec![Prompt::Raw(text.clone())]),
        Value::Array(list) if list.is_empty() => {
            Err(wrong_value("prompt", value, "a text or a list of one text or more"))
        }
        Value::Array(list) => list.iter().map(text).collect(),
        _ => Err(wrong_type("prompt", value, "a text or a list of texts")),
    }
}

fn text(value: &Value) -> Result<Prompt, ApiError> {
    match value {
        Value::String(text) => Ok(Prompt::Raw(text.clone())),
        Value::Number(_) | Value::Array(_) => {
            let message = "prompt holds token ids, which are not taken here: send text";
            Err(ApiError::new(ErrorCode::UnsupportedField, message).about("prompt"))
        }
        _ => Err(wrong_type("prompt", value, "a text or a list of texts")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prompts_are_a_text_or_a_list_of_them() {
        let raw = |text: &str| Prompt::Raw(text.to_owned());
        assert_eq!(prompts(&json!("a")), Ok(vec![raw("a")]));
        assert_eq!(prompts(&json!(["a", ""])), Ok(vec![raw("a"), raw("")]));
        for (value, code) in [
            (json!([]), ErrorCode::InvalidValue),
            (json!([1, 2]), ErrorCode::UnsupportedField),
            (json!([[1, 2]]), ErrorCode::UnsupportedField),
            (json!(7), ErrorCode::InvalidType),
            (json!([null]), ErrorCode::InvalidType),
        ] {
            assert_eq!(prompts(&value).map_err(|error| error.code), Err(code), "{value}");
        }
    }
}
