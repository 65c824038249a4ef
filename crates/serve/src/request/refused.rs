//! Fields of OpenAI's API that are known here but not supported: each is refused by name, unless its value asks for
//! nothing.

use serde_json::{Value, json};

use super::fields::{Fields, shown};
use crate::error::{ApiError, ErrorCode};

/// A field that is not supported.
pub(crate) struct NotDone {
    name: &'static str,
    /// Values that ask for nothing.
    neutral: fn(&Value) -> bool,
}

/// What is not supported for conversations.
pub(crate) const NOT_DONE_IN_CHATS: [NotDone; 15] = [
    NotDone { name: "tools", neutral: is_empty },
    NotDone { name: "functions", neutral: is_empty },
    NotDone { name: "tool_choice", neutral: is_no_call },
    NotDone { name: "function_call", neutral: is_no_call },
    NotDone { name: "response_format", neutral: |value| *value == json!({ "type": "text" }) },
    NotDone { name: "logit_bias", neutral: is_empty },
    NotDone { name: "logprobs", neutral: is_off },
    NotDone { name: "top_logprobs", neutral: is_off },
    NotDone { name: "echo", neutral: is_off },
    NotDone { name: "frequency_penalty", neutral: is_off },
    NotDone { name: "presence_penalty", neutral: is_off },
    NotDone { name: "modalities", neutral: |value| *value == json!(["text"]) },
    NotDone { name: "audio", neutral: |_| false },
    NotDone { name: "prediction", neutral: |_| false },
    NotDone { name: "web_search_options", neutral: |_| false },
];

/// What is not supported for texts.
pub(crate) const NOT_DONE_IN_TEXTS: [NotDone; 7] = [
    NotDone { name: "suffix", neutral: |value| value == "" },
    NotDone { name: "best_of", neutral: |value| value.as_u64() == Some(1) },
    NotDone { name: "logit_bias", neutral: is_empty },
    // On this route, 0 asks for the probability of the sampled token.
    NotDone { name: "logprobs", neutral: |value| *value == false },
    NotDone { name: "echo", neutral: is_off },
    NotDone { name: "frequency_penalty", neutral: is_off },
    NotDone { name: "presence_penalty", neutral: is_off },
];

/// What is not supported for responses.
pub(crate) const NOT_DONE_IN_RESPONSES: [NotDone; 17] = [
    NotDone { name: "previous_response_id", neutral: |_| false },
    NotDone { name: "conversation", neutral: |_| false },
    NotDone { name: "prompt", neutral: |_| false },
    NotDone { name: "tools", neutral: is_empty },
    NotDone { name: "tool_choice", neutral: is_no_call },
    NotDone { name: "background", neutral: |value| *value == false },
    NotDone { name: "include", neutral: is_empty },
    NotDone { name: "truncation", neutral: |value| value == "disabled" },
    NotDone { name: "text", neutral: is_plain },
    NotDone { name: "n", neutral: |value| value.as_u64() == Some(1) },
    NotDone { name: "modalities", neutral: |value| *value == json!(["text"]) },
    NotDone { name: "logit_bias", neutral: is_empty },
    NotDone { name: "logprobs", neutral: is_off },
    NotDone { name: "top_logprobs", neutral: is_off },
    NotDone { name: "frequency_penalty", neutral: is_off },
    NotDone { name: "presence_penalty", neutral: is_off },
    NotDone { name: "moderation", neutral: |_| false },
];

/// Fields that are known but have no effect on an answer, though their sender may expect one.
const NO_EFFECT: [&str; 3] = ["reasoning_effort", "reasoning", "chat_template_kwargs"];

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn is_no_call(value: &Value) -> bool {
    value == "none" || value == "auto"
}

fn is_off(value: &Value) -> bool {
    *value == false || value.as_f64() == Some(0.0)
}

/// Returns whether the format asked for is plain text.
fn is_plain(value: &Value) -> bool {
    let format = value.as_object().map(|text| text.get("format").unwrap_or(&Value::Null));
    format.is_some_and(|format| format.is_null() || *format == json!({ "type": "text" }))
}

/// Refuses the first field that asks for something unsupported.
pub(crate) fn refuse(not_done: &[NotDone], fields: &Fields) -> Result<(), ApiError> {
    for NotDone { name, neutral } in not_done {
        let Some(value) = fields.get(name).filter(|value| !neutral(value)) else { continue };
        let message = format!("{name} is {}, which is not supported: leave it out", shown(value));
        return Err(ApiError::new(ErrorCode::UnsupportedField, message).about(*name));
    }
    Ok(())
}

/// Returns the fields that are present but have no effect.
pub(crate) fn ignored(fields: &Fields) -> Vec<&'static str> {
    NO_EFFECT.into_iter().filter(|name| fields.get(name).is_some()).collect()
}
