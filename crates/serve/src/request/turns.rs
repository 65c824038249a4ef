//! The conversation of a request for a response: its instructions and its input.

use serde_json::Value;
use thinking::{beginning::AnswerBeginning, thinker::Message};

use super::{
    continued::take_beginning,
    fields::{Fields, wrong_type, wrong_value},
    messages::{message, not_done},
};
use crate::error::ApiError;

/// Reads a text or a list of messages, and the beginning of the answer at its end. The instructions come first.
pub(crate) fn turns(fields: &Fields) -> Result<(Vec<Message>, AnswerBeginning), ApiError> {
    let said = |role: &str, text: &str| Message { role: role.to_owned(), content: text.to_owned() };
    let instructions = fields.text("instructions")?.map(|text| said("system", text));
    let input = fields.required("input")?;
    let mut turns = match input {
        Value::String(text) => vec![said("user", text)],
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            let read = numbered.map(|(number, value)| item(&format!("input[{number}]"), value));
            read.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?
        }
        _ => return Err(wrong_type("input", input, "a text or a list of messages")),
    };
    if turns.is_empty() {
        return Err(wrong_value("input", input, "a text or a list of one message or more"));
    }
    let beginning = take_beginning(fields, "input", &mut turns)?;
    Ok((instructions.into_iter().chain(turns).collect(), beginning))
}

/// Reads an item: a message, or `None` for earlier reasoning.
fn item(path: &str, value: &Value) -> Result<Option<Message>, ApiError> {
    let fields = Fields::at(path, value)?;
    match fields.text("type")? {
        None | Some("message") => message(path, value).map(Some),
        Some("reasoning") => Ok(None),
        Some(_) => Err(not_done(&fields.path("type"), "items other than messages are")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorCode;

    fn read(body: &Value) -> Result<Vec<(String, String)>, ApiError> {
        let (read, _) = turns(&Fields::of(body)?)?;
        Ok(read.into_iter().map(|it| (it.role, it.content)).collect())
    }

    fn said(turns: &[(&str, &str)]) -> Vec<(String, String)> {
        turns.iter().map(|(role, text)| ((*role).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn input_is_a_text_or_messages_as_a_response_gave_them() {
        assert_eq!(read(&json!({ "input": "2 + 3?" })), Ok(said(&[("user", "2 + 3?")])));
        let body = json!({ "instructions": "Be brief.", "input": [
            { "role": "user", "content": [{ "type": "input_text", "text": "2 + 3?" }] },
            { "type": "reasoning", "id": "rs_1", "summary": [] },
            { "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
              "content": [{ "type": "output_text", "text": "5", "annotations": [] }] },
            { "role": "user", "content": "And 4 + 4?" },
        ] });
        let expected = [
            ("system", "Be brief."),
            ("user", "2 + 3?"),
            ("assistant", "5"),
            ("user", "And 4 + 4?"),
        ];
        assert_eq!(read(&body), Ok(said(&expected)));
    }

    #[test]
    fn an_answer_at_the_end_of_the_input_is_the_beginning_of_the_answer() {
        let user = json!({ "role": "user", "content": "2 + 3?" });
        let said = json!({ "type": "message", "role": "assistant", "status": "incomplete",
            "content": [{ "type": "output_text", "text": "It is", "annotations": [] }] });
        let thought = json!({ "type": "reasoning", "id": "rs_1", "summary": [],
            "content": [{ "type": "reasoning_text", "text": "3 + 2" }] });
        let own = json!({ "role": "assistant", "content": "", "reasoning": "2 and 3" });
        for (input, reasoning, content) in [
            (json!([user, said]), "", "It is"),
            (json!([user, thought, said]), "3 + 2", "It is"),
            (json!([user, thought, said, thought]), "3 + 2", "It is"),
            (json!([user, thought, own]), "2 and 3", ""),
            (json!([user, thought, said, user]), "", ""),
            (json!([user, thought]), "", ""),
        ] {
            let body = json!({ "instructions": "Be brief.", "input": input });
            let (messages, beginning) = turns(&Fields::of(&body).unwrap()).unwrap();
            let begun = (beginning.reasoning.as_str(), beginning.content.as_str());
            assert_eq!(begun, (reasoning, content), "{input}");
            assert_ne!(messages.last().unwrap().role, "system", "{input}");
        }
    }

    #[test]
    fn input_that_is_no_conversation_is_refused_where_it_is_wrong() {
        for (input, param, code) in [
            (json!(7), "input", ErrorCode::InvalidType),
            (json!([]), "input", ErrorCode::InvalidValue),
            (json!([7]), "input[0]", ErrorCode::InvalidType),
            (json!([{ "type": "function_call" }]), "input[0].type", ErrorCode::UnsupportedField),
            (json!([{ "role": "user" }]), "input[0].content", ErrorCode::MissingField),
            (json!([{ "type": "reasoning", "summary": [] }]), "input", ErrorCode::InvalidValue),
            (
                json!([{ "type": "reasoning" }, { "role": "assistant", "content": "x" }]),
                "input[1]",
                ErrorCode::InvalidValue,
            ),
            (
                json!([{ "role": "user", "content": [{ "type": "input_image" }] }]),
                "input[0].content[0].type",
                ErrorCode::UnsupportedField,
            ),
        ] {
            let error = read(&json!({ "input": input })).expect_err(&input.to_string());
            assert_eq!((error.param.as_deref(), error.code), (Some(param), code), "{error}");
        }
        let missing = read(&json!({})).unwrap_err();
        assert_eq!(
            (missing.param.as_deref(), missing.code),
            (Some("input"), ErrorCode::MissingField)
        );
    }
}
