//! The answers of `POST /v1/completions`, which continues a text: whole and in chunks.

use serde::{Deserialize, Serialize};

use crate::{chat::FinishReply, lenient::or_default, usage::TokenUsage};

/// A whole answer, or a chunk of a streamed one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextCompletion {
    /// The id of this answer.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// Always "text_completion".
    #[serde(default, deserialize_with = "or_default")]
    pub object: String,
    /// When it was requested, in seconds since 1970-01-01 UTC.
    #[serde(default, deserialize_with = "or_default")]
    pub created: u64,
    /// The name of the model, as requested.
    #[serde(default, deserialize_with = "or_default")]
    pub model: String,
    /// All continuations, or in a stream the one that continues; empty in the chunk that holds the usage.
    pub choices: Vec<TextChoice>,
    /// Absent in a stream unless requested; null in all chunks but the last.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<TokenUsage>>,
}

/// One of the continuations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextChoice {
    /// Its text, or what to append to it.
    #[serde(default, deserialize_with = "or_default")]
    pub text: String,
    /// Its index, from 0: those of the first prompt come first.
    #[serde(default, deserialize_with = "or_default")]
    pub index: u32,
    /// Always null.
    #[serde(default, deserialize_with = "or_default")]
    pub logprobs: Option<()>,
    /// The tokens of the text, which vLLM and SGLang return on request.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
    /// Why it ended, once it has.
    #[serde(default)]
    pub finish_reason: Option<FinishReply>,
}
