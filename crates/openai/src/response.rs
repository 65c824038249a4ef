//! Answers of `POST /v1/responses`, whole and as events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::usage::CompletionDetails;

/// A whole answer, or what is known of one that is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseObject {
    /// Of this answer.
    pub id: String,
    /// Always "response".
    pub object: String,
    /// When it was asked for, in seconds since 1970-01-01 UTC.
    pub created_at: u64,
    /// How far it is.
    pub status: ResponseStatus,
    /// Why there is no answer.
    pub error: Option<ResponseError>,
    /// Why it is not all of it.
    pub incomplete_details: Option<IncompleteDetails>,
    /// The system message that came with the request.
    pub instructions: Option<String>,
    /// Greatest number of tokens, as it was asked for.
    pub max_output_tokens: Option<u32>,
    /// The model's name, as it was asked for.
    pub model: String,
    /// What was thought and answered, in this order.
    pub output: Vec<OutputItem>,
    /// Always true: there are no tools.
    pub parallel_tool_calls: bool,
    /// Always null: nothing is stored.
    pub previous_response_id: Option<String>,
    /// Always false.
    pub store: bool,
    /// How freely tokens were drawn.
    pub temperature: f32,
    /// Always plain text.
    pub text: TextFormat,
    /// Always "auto": there are no tools.
    pub tool_choice: String,
    /// Always empty.
    pub tools: Vec<()>,
    /// The probability that the tokens drawn from reach together.
    pub top_p: f32,
    /// Always "disabled".
    pub truncation: String,
    /// What it cost, once it is over.
    pub usage: Option<ResponseUsage>,
    /// Always empty.
    pub metadata: BTreeMap<String, String>,
}

/// How far an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    /// It is made.
    InProgress,
    /// It is whole.
    Completed,
    /// It was cut off by a limit.
    Incomplete,
    /// There is none.
    Failed,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseError {
    /// Which error, for programs.
    pub code: String,
    /// One line for a person.
    pub message: String,
}

/// Why an answer is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncompleteDetails {
    /// "max_output_tokens", whichever limit it was.
    pub reason: String,
}

/// How the text of an answer is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextFormat {
    /// Always `{"type": "text"}`.
    pub format: BTreeMap<String, String>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputItem {
    /// What was thought before the answer proper.
    Reasoning {
        /// Of this item.
        id: String,
        /// How far it is.
        status: ResponseStatus,
        /// Always empty: what was thought is in the content.
        summary: Vec<OutputPart>,
        /// Its text.
        content: Vec<OutputPart>,
    },
    /// The answer proper.
    Message {
        /// Of this item.
        id: String,
        /// How far it is.
        status: ResponseStatus,
        /// Always "assistant".
        role: String,
        /// Its text.
        content: Vec<OutputPart>,
    },
}

/// A text in an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputPart {
    /// Of the answer proper.
    OutputText {
        /// The text.
        text: String,
        /// Always empty.
        annotations: Vec<()>,
    },
    /// Of what was thought.
    ReasoningText {
        /// The text.
        text: String,
    },
}

/// What an answer cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseUsage {
    /// Of the prompt.
    pub input_tokens: u64,
    /// More about those.
    pub input_tokens_details: InputDetails,
    /// Of the answer, what was thought too.
    pub output_tokens: u64,
    /// More about those.
    pub output_tokens_details: CompletionDetails,
    /// Both.
    pub total_tokens: u64,
}

/// More about a prompt's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDetails {
    /// Those that were cached.
    pub cached_tokens: u64,
}

/// One event of a streamed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseEvent<R = ResponseObject> {
    /// Its name, such as "response.output_text.delta".
    #[serde(rename = "type")]
    pub kind: String,
    /// Its number in the stream, from 0.
    pub sequence_number: u64,
    /// What happened.
    #[serde(flatten)]
    pub news: ResponseNews<R>,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ResponseNews<R = ResponseObject> {
    /// The answer as it is now.
    Response {
        /// The answer.
        response: Box<R>,
    },
    /// An item begins, or is over.
    Item {
        /// Which one, from 0.
        output_index: u32,
        /// The item as it is now.
        item: OutputItem,
    },
    /// A text of an item begins, or is over.
    Part {
        /// The item's.
        item_id: String,
        /// Which item, from 0.
        output_index: u32,
        /// Which text of it, from 0.
        content_index: u32,
        /// The text as it is now.
        part: OutputPart,
    },
    /// More of a text.
    Delta {
        /// The item's.
        item_id: String,
        /// Which item, from 0.
        output_index: u32,
        /// Which text of it, from 0.
        content_index: u32,
        /// What is added.
        delta: String,
        /// Always empty; absent for what is thought.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        logprobs: Option<Vec<()>>,
    },
    /// A text is over.
    Text {
        /// The item's.
        item_id: String,
        /// Which item, from 0.
        output_index: u32,
        /// Which text of it, from 0.
        content_index: u32,
        /// All of it.
        text: String,
        /// Always empty; absent for what is thought.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        logprobs: Option<Vec<()>>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_object_with_its_type_and_number() {
        let event: ResponseEvent = ResponseEvent {
            kind: "response.output_text.delta".to_owned(),
            sequence_number: 4,
            news: ResponseNews::Delta {
                item_id: "msg_1".to_owned(),
                output_index: 1,
                content_index: 0,
                delta: "It".to_owned(),
                logprobs: Some(Vec::new()),
            },
        };
        let written = "{\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"item_id\":\"msg_1\",\
                       \"output_index\":1,\"content_index\":0,\"delta\":\"It\",\"logprobs\":[]}";
        assert_eq!(serde_json::to_string(&event).unwrap(), written);
        assert_eq!(serde_json::from_str::<ResponseEvent>(written).unwrap(), event);
    }
}
