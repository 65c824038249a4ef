//! A conversation that ends with an assistant message: the answer continues it.

use serde_json::Value;
use thinking::{beginning::AnswerBeginning, thinker::Message};

use super::fields::{Fields, wrong_type};
use crate::error::{ApiError, ErrorCode};

/// Takes the beginning of the answer off the end of a conversation, if there is one. `field` names the field of the
/// conversation.
pub(crate) fn take_beginning(
    fields: &Fields,
    field: &str,
    messages: &mut Vec<Message>,
) -> Result<AnswerBeginning, ApiError> {
    let goes_on = fields.flag("continue_final_message")?;
    let Some(last) = messages.pop_if(|last| last.role == "assistant") else {
        return Ok(AnswerBeginning::default());
    };
    let given = fields.list(field)?.map(Vec::as_slice).unwrap_or_default();
    let at = given.iter().rposition(|item| item["role"] == "assistant").unwrap_or(messages.len());
    let path = format!("{field}[{at}]");
    if messages.is_empty() {
        let message = format!(
            "{path} is an assistant message and the only message: put the user's message before it"
        );
        return Err(ApiError::new(ErrorCode::InvalidValue, message).about(path));
    }
    if goes_on == Some(false) {
        let message = format!(
            "continue_final_message is false, but {path} is an assistant message, which is always continued here: end \
             with a user message"
        );
        return Err(
            ApiError::new(ErrorCode::UnsupportedField, message).about("continue_final_message")
        );
    }
    let own = given.get(at).map(|message| reasoning(&path, message)).transpose()?.flatten();
    let before = at.checked_sub(1).and_then(|before| given.get(before)).map(thought);
    let reasoning = own.or(before).unwrap_or_default();
    Ok(AnswerBeginning { reasoning, content: last.content })
}

/// Returns the reasoning of an assistant message, under either of the names that clients use.
fn reasoning(path: &str, message: &Value) -> Result<Option<String>, ApiError> {
    let fields = Fields::at(path, message)?;
    for name in ["reasoning_content", "reasoning"] {
        if let Some(value) = fields.get(name) {
            let text = value.as_str().map(str::to_owned);
            return text.map(Some).ok_or_else(|| wrong_type(&fields.path(name), value, "a text"));
        }
    }
    Ok(None)
}

/// Returns the reasoning in an item of a response, or an empty text for other items.
fn thought(item: &Value) -> String {
    let parts = item["content"].as_array().filter(|_| item["type"] == "reasoning");
    let texts = parts.into_iter().flatten().filter(|part| part["type"] == "reasoning_text");
    texts.filter_map(|part| part["text"].as_str()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::messages::messages;

    fn taken(body: &Value) -> Result<(usize, AnswerBeginning), ApiError> {
        let fields = Fields::of(body)?;
        let mut messages = messages(fields.required("messages")?)?;
        let beginning = take_beginning(&fields, "messages", &mut messages)?;
        Ok((messages.len(), beginning))
    }

    #[test]
    fn the_assistants_last_message_is_the_beginning_of_the_answer() {
        let user = json!({ "role": "user", "content": "Is 221 prime?" });
        let given = |message: Value| taken(&json!({ "messages": [user, message] })).unwrap();
        let beginning = |reasoning: &str, content: &str| AnswerBeginning {
            reasoning: reasoning.to_owned(),
            content: content.to_owned(),
        };
        for (message, expected) in [
            (json!({ "role": "assistant", "content": " No,\n" }), (1, beginning("", " No,\n"))),
            (
                json!({ "role": "assistant", "content": [{ "type": "text", "text": "No," }] }),
                (1, beginning("", "No,")),
            ),
            (
                json!({ "role": "assistant", "content": "", "reasoning_content": "13 * 1" }),
                (1, beginning("13 * 1", "")),
            ),
            (
                json!({ "role": "assistant", "content": "No", "reasoning": "221" }),
                (1, beginning("221", "No")),
            ),
            (json!({ "role": "assistant", "content": "" }), (1, beginning("", ""))),
            (user.clone(), (2, beginning("", ""))),
        ] {
            assert_eq!(given(message.clone()), expected, "{message}");
        }
    }

    #[test]
    fn what_cannot_be_continued_is_refused() {
        let user = json!({ "role": "user", "content": "x" });
        let assistant = json!({ "role": "assistant", "content": "No" });
        for (body, param, code) in [
            (json!({ "messages": [assistant] }), "messages[0]", ErrorCode::InvalidValue),
            (
                json!({ "messages": [user, assistant], "continue_final_message": false }),
                "continue_final_message",
                ErrorCode::UnsupportedField,
            ),
            (
                json!({ "messages": [user, { "role": "assistant", "content": "", "reasoning": 7 }] }),
                "messages[1].reasoning",
                ErrorCode::InvalidType,
            ),
        ] {
            let error = taken(&body).expect_err(&body.to_string());
            assert_eq!((error.param.as_deref(), error.code), (Some(param), code), "{error}");
        }
    }
}
