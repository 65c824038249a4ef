//! The answers of `POST /v1/responses`, whole and as events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::usage::CompletionDetails;

/// A whole answer, or what is known of one in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseObject {
    /// The id of this answer.
    pub id: String,
    /// Always "response".
    pub object: String,
    /// When it was requested, in seconds since 1970-01-01 UTC.
    pub created_at: u64,
    /// Its status.
    pub status: ResponseStatus,
    /// Why it failed.
    pub error: Option<ResponseError>,
    /// Why it is incomplete.
    pub incomplete_details: Option<IncompleteDetails>,
    /// The system message that came with the request.
    pub instructions: Option<String>,
    /// The maximum number of tokens, as requested.
    pub max_output_tokens: Option<u32>,
    /// The name of the model, as requested.
    pub model: String,
    /// The reasoning and the answer, in this order.
    pub output: Vec<OutputItem>,
    /// Always true: there are no tools.
    pub parallel_tool_calls: bool,
    /// Always null: nothing is stored.
    pub previous_response_id: Option<String>,
    /// Always false.
    pub store: bool,
    /// The sampling temperature.
    pub temperature: f32,
    /// Always plain text.
    pub text: TextFormat,
    /// Always "auto": there are no tools.
    pub tool_choice: String,
    /// Always empty.
    pub tools: Vec<()>,
    /// The probability of nucleus sampling.
    pub top_p: f32,
    /// Always "disabled".
    pub truncation: String,
    /// How many tokens it used, once it has ended.
    pub usage: Option<ResponseUsage>,
    /// Always empty.
    pub metadata: BTreeMap<String, String>,
}

/// The status of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    /// It is in progress.
    InProgress,
    /// It is complete.
    Completed,
    /// It was cut off by a limit.
    Incomplete,
    /// There is no answer.
    Failed,
}

/// Why an answer failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseError {
    /// The code of the error, for programs.
    pub code: String,
    /// One line for people.
    pub message: String,
}

/// Why an answer is incomplete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncompleteDetails {
    /// "max_output_tokens", whichever limit it was.
    pub reason: String,
}

/// The format of an answer's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextFormat {
    /// Always `{"type": "text"}`.
    pub format: BTreeMap<String, String>,
}

/// A part of an answer: its reasoning or its message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputItem {
    /// The reasoning before the answer proper.
    Reasoning {
        /// The id of this item.
        id: String,
        /// Its status.
        status: ResponseStatus,
        /// Always empty: the reasoning is in the content.
        summary: Vec<OutputPart>,
        /// Its text.
        content: Vec<OutputPart>,
    },
    /// The answer proper.
    Message {
        /// The id of this item.
        id: String,
        /// Its status.
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
    /// Text of the answer proper.
    OutputText {
        /// The text.
        text: String,
        /// Always empty.
        annotations: Vec<()>,
    },
    /// Text of the reasoning.
    ReasoningText {
        /// The text.
        text: String,
    },
}

/// How many tokens an answer used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseUsage {
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Details of those tokens.
    pub input_tokens_details: InputDetails,
    /// Tokens of the answer, including the reasoning.
    pub output_tokens: u64,
    /// Details of those tokens.
    pub output_tokens_details: CompletionDetails,
    /// The sum of both.
    pub total_tokens: u64,
}

/// Details of a prompt's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDetails {
    /// How many of them were cached.
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
    /// An item begins or ends.
    Item {
        /// The index of the item, from 0.
        output_index: u32,
        /// The item as it is now.
        item: OutputItem,
    },
    /// A text of an item begins or ends.
    Part {
        /// The id of the item.
        item_id: String,
        /// The index of the item, from 0.
        output_index: u32,
        /// The index of the text in the item, from 0.
        content_index: u32,
        /// The text as it is now.
        part: OutputPart,
    },
    /// More of a text.
    Delta {
        /// The id of the item.
        item_id: String,
        /// The index of the item, from 0.
        output_index: u32,
        /// The index of the text in the item, from 0.
        content_index: u32,
        /// The text to append.
        delta: String,
        /// Always empty; absent for reasoning.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        logprobs: Option<Vec<()>>,
    },
    /// A text is complete.
    Text {
        /// The id of the item.
        item_id: String,
        /// The index of the item, from 0.
        output_index: u32,
        /// The index of the text in the item, from 0.
        content_index: u32,
        /// All of it.
        text: String,
        /// Always empty; absent for reasoning.
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
