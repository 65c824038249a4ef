//! Answers of `POST /v1/completions`: a text that is continued, whole and in chunks.

use serde::{Deserialize, Serialize};

use crate::{chat::FinishReply, lenient::or_default, usage::TokenUsage};

/// A whole answer, or a piece of a streamed one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextCompletion {
    /// Of this answer.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// Always "text_completion".
    #[serde(default, deserialize_with = "or_default")]
    pub object: String,
    /// When it was asked for, in seconds since 1970-01-01 UTC.
    #[serde(default, deserialize_with = "or_default")]
    pub created: u64,
    /// The model's name, as it was asked for.
    #[serde(default, deserialize_with = "or_default")]
    pub model: String,
    /// All of them, or in a stream the one that goes on; none where it is about the usage.
    pub choices: Vec<TextChoice>,
    /// Absent in a stream unless it was asked for; null but in the last chunk.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<TokenUsage>>,
}

/// One of the continuations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextChoice {
    /// Its text, or what is added to it.
    #[serde(default, deserialize_with = "or_default")]
    pub text: String,
    /// Its number, from 0: those of the first prompt come first.
    #[serde(default, deserialize_with = "or_default")]
    pub index: u32,
    /// Always null here.
    #[serde(default, deserialize_with = "or_default")]
    pub logprobs: Option<()>,
    /// The tokens of the text, where vLLM and SGLang are asked for them.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
    /// Why it ends, once it does.
    #[serde(default)]
    pub finish_reason: Option<FinishReply>,
}
