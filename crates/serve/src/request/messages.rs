//! The conversation of a request.

use serde_json::Value;
use thinking::thinker::Message;

use super::fields::{Fields, wrong_type, wrong_value};
use crate::error::{ApiError, ErrorCode};

/// The types of parts that are text: in conversations, and in the input and output of responses.
const TEXT_PARTS: [&str; 3] = ["text", "input_text", "output_text"];

/// Reads the conversation.
pub(crate) fn messages(value: &Value) -> Result<Vec<Message>, ApiError> {
    let list = value.as_array().ok_or_else(|| wrong_type("messages", value, "a list"))?;
    let numbered = list.iter().enumerate();
    let messages = numbered
        .map(|(number, value)| message(&format!("messages[{number}]"), value))
        .collect::<Result<Vec<_>, _>>()?;
    if messages.is_empty() {
        return Err(wrong_value("messages", value, "a list of one message or more"));
    }
    Ok(messages)
}

pub(super) fn message(path: &str, value: &Value) -> Result<Message, ApiError> {
    let fields = Fields::at(path, value)?;
    let role = fields.required("role")?;
    let role = match role.as_str() {
        Some("system" | "developer") => "system",
        Some("user") => "user",
        Some("assistant") => "assistant",
        Some("tool" | "function") => {
            return Err(not_done(&fields.path("role"), "tool results are"));
        }
        _ => {
            let must_be = "system, developer, user or assistant";
            return Err(wrong_value(&fields.path("role"), role, must_be));
        }
    };
    for name in ["tool_calls", "function_call", "audio"] {
        let is_empty = |value: &&Value| value.as_array().is_some_and(Vec::is_empty);
        if fields.get(name).is_some_and(|value| !is_empty(&value)) {
            return Err(not_done(&fields.path(name), "calls and audio are"));
        }
    }
    let content = content(&fields.path("content"), fields.required("content")?)?;
    Ok(Message { role: role.to_owned(), content })
}

/// Reads a text, or a list of texts, which are joined.
fn content(path: &str, value: &Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let numbered = parts.iter().enumerate();
            numbered.map(|(number, part)| text_part(&format!("{path}[{number}]"), part)).collect()
        }
        _ => Err(wrong_type(path, value, "a text or a list of parts")),
    }
}

fn text_part(path: &str, part: &Value) -> Result<String, ApiError> {
    let fields = Fields::at(path, part)?;
    let kind = fields.required("type")?;
    if !TEXT_PARTS.iter().any(|name| kind == name) {
        return Err(not_done(&fields.path("type"), "parts other than text are"));
    }
    let text = fields.required("text")?;
    let read = text.as_str().map(str::to_owned);
    read.ok_or_else(|| wrong_type(&fields.path("text"), text, "a text"))
}

pub(super) fn not_done(path: &str, what: &str) -> ApiError {
    let message = format!("{path}: {what} not supported: send only text");
    ApiError::new(ErrorCode::UnsupportedField, message).about(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conversation_is_read_with_its_roles_and_parts() {
        let read = messages(&json!([
            { "role": "developer", "content": "Be brief." },
            { "role": "user", "content": [{ "type": "text", "text": "Is 221" }, { "type": "text", "text": " prime?" }] },
            { "role": "assistant", "content": "No.", "reasoning_content": "13 * 17", "reasoning": "13 * 17",
              "tool_calls": [] },
            { "role": "user", "content": "Why?", "name": "ann" },
        ]));
        let read: Vec<_> = read.unwrap().into_iter().map(|it| (it.role, it.content)).collect();
        let expected = [
            ("system", "Be brief."),
            ("user", "Is 221 prime?"),
            ("assistant", "No."),
            ("user", "Why?"),
        ];
        assert_eq!(read, expected.map(|(role, text)| (role.to_owned(), text.to_owned())));
    }

    #[test]
    fn what_is_no_conversation_is_refused_where_it_is_wrong() {
        let user = json!({ "role": "user", "content": "x" });
        for (value, param, code) in [
            (json!("hello"), "messages", ErrorCode::InvalidType),
            (json!([]), "messages", ErrorCode::InvalidValue),
            (json!([user, 7]), "messages[1]", ErrorCode::InvalidType),
            (json!([{ "content": "x" }]), "messages[0].role", ErrorCode::MissingField),
            (json!([{ "role": "user" }]), "messages[0].content", ErrorCode::MissingField),
            (
                json!([{ "role": "king", "content": "x" }]),
                "messages[0].role",
                ErrorCode::InvalidValue,
            ),
            (
                json!([{ "role": "tool", "content": "x" }]),
                "messages[0].role",
                ErrorCode::UnsupportedField,
            ),
            (
                json!([{ "role": "user", "content": 7 }]),
                "messages[0].content",
                ErrorCode::InvalidType,
            ),
            (
                json!([{ "role": "user", "content": [{ "type": "image_url" }] }]),
                "messages[0].content[0].type",
                ErrorCode::UnsupportedField,
            ),
            (
                json!([{ "role": "user", "content": [{ "type": "text", "text": 1 }] }]),
                "messages[0].content[0].text",
                ErrorCode::InvalidType,
            ),
            (
                json!([{ "role": "assistant", "content": "x", "tool_calls": [{}] }, user]),
                "messages[0].tool_calls",
                ErrorCode::UnsupportedField,
            ),
        ] {
            let error = messages(&value).expect_err(&value.to_string());
            assert_eq!((error.param.as_deref(), error.code), (Some(param), code), "{error}");
        }
    }
}
