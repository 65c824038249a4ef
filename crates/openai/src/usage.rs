//! How many tokens a request used.

use serde::{Deserialize, Serialize};

use crate::lenient::or_default;

/// The tokens of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of all answers.
    #[serde(default, deserialize_with = "or_default")]
    pub completion_tokens: u64,
    /// The sum of both.
    #[serde(default, deserialize_with = "or_default")]
    pub total_tokens: u64,
    /// Details of the prompt's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptDetails>,
    /// Details of the answers' tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_tokens_details: Option<CompletionDetails>,
}

/// Details of a prompt's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptDetails {
    /// How many of them were cached, if the server says so.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
}

/// Details of an answer's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionDetails {
    /// How many of them are reasoning.
    #[serde(default, deserialize_with = "or_default")]
    pub reasoning_tokens: u64,
}
