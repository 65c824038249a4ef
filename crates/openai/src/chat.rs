//! The answers of `POST /v1/chat/completions`, whole and in chunks.

use serde::{Deserialize, Serialize};

use crate::{lenient::or_default, usage::TokenUsage};

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatCompletion {
    /// The id of this answer.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// Always "chat.completion".
    #[serde(default, deserialize_with = "or_default")]
    pub object: String,
    /// When it was requested, in seconds since 1970-01-01 UTC.
    #[serde(default, deserialize_with = "or_default")]
    pub created: u64,
    /// The name of the model, as requested.
    #[serde(default, deserialize_with = "or_default")]
    pub model: String,
    /// As many as were requested.
    pub choices: Vec<ChatChoice>,
    /// How many tokens it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<TokenUsage>,
}

/// One of the answers to a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatChoice {
    /// Its number, from 0.
    pub index: u32,
    /// The answer.
    pub message: ReplyMessage,
    /// Always null.
    #[serde(default, deserialize_with = "or_default")]
    pub logprobs: Option<()>,
    /// Why it ended.
    #[serde(default)]
    pub finish_reason: Option<FinishReply>,
}

/// The assistant's message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyMessage {
    /// Always "assistant".
    pub role: String,
    /// The answer proper.
    pub content: Option<String>,
    /// The reasoning before it, under the name that DeepSeek, llama.cpp and SGLang use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// The same, under the name that vLLM uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

/// A chunk of a streamed answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatChunk {
    /// The id of this answer.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// Always "chat.completion.chunk".
    #[serde(default, deserialize_with = "or_default")]
    pub object: String,
    /// When it was requested, in seconds since 1970-01-01 UTC.
    #[serde(default, deserialize_with = "or_default")]
    pub created: u64,
    /// The name of the model, as requested.
    #[serde(default, deserialize_with = "or_default")]
    pub model: String,
    /// Empty in the chunk that holds the usage.
    pub choices: Vec<ChunkChoice>,
    /// Absent unless requested; null in all chunks but the last.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<TokenUsage>>,
}

/// What a chunk adds to a choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkChoice {
    /// The index of the choice.
    #[serde(default, deserialize_with = "or_default")]
    pub index: u32,
    /// What to append.
    #[serde(default, deserialize_with = "or_default")]
    pub delta: ChatDelta,
    /// Always null.
    #[serde(default, deserialize_with = "or_default")]
    pub logprobs: Option<()>,
    /// Why it ended, in its last chunk.
    #[serde(default)]
    pub finish_reason: Option<FinishReply>,
}

/// What is added to a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatDelta {
    /// "assistant", in the first chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// A piece of the answer proper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// A piece of the reasoning, under the name that DeepSeek, llama.cpp and SGLang use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// The same, under the name that vLLM uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReply {
    /// The model ended it, or a stop text was found.
    Stop,
    /// It was cut off by a limit. Mistral has a value of its own for the limit of the context.
    #[serde(alias = "model_length")]
    Length,
    /// The server gave it up. The aliases are those of vLLM and SGLang, of others, and of DeepSeek. Only read, never
    /// written.
    #[serde(alias = "abort", alias = "error", alias = "insufficient_system_resource")]
    GivenUp,
    /// A value that is not known here. Only read, never written.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_of_a_chunk_is_absent_or_null_or_there() {
        let chunk = |usage| ChatChunk {
            id: "a".to_owned(),
            object: "chat.completion.chunk".to_owned(),
            created: 1,
            model: "m".to_owned(),
            choices: Vec::new(),
            usage,
        };
        for (usage, written) in [
            (None, ""),
            (Some(None), ",\"usage\":null"),
            (
                Some(Some(TokenUsage { prompt_tokens: 1, ..TokenUsage::default() })),
                ",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":0,\"total_tokens\":0}",
            ),
        ] {
            let json = serde_json::to_string(&chunk(usage)).unwrap();
            assert!(json.ends_with(&format!("\"choices\":[]{written}}}")), "{json}");
        }
    }

    #[test]
    fn what_servers_fill_in_differently_is_read() {
        let read = |json: &str| serde_json::from_str::<ChatChunk>(json).unwrap();
        let vllm = read(
            r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,
            "delta":{"reasoning":"Hm"},"logprobs":null,"finish_reason":null,"token_ids":null}],"usage":{}}"#,
        );
        assert_eq!(vllm.choices[0].delta.reasoning.as_deref(), Some("Hm"));
        assert_eq!(vllm.usage, None, "it has no prompt tokens");
        let bare = read(
            r#"{"id":null,"created":1.5,"choices":[{"delta":null,"logprobs":{"content":[]},"finish_reason":"eos"}],
            "usage":{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":null},"completion_tokens":1}}"#,
        );
        assert_eq!(bare.choices[0].finish_reason, Some(FinishReply::Other));
        let usage = bare.usage.flatten().unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (3, 1));
        assert_eq!(usage.prompt_tokens_details.unwrap().cached_tokens, None);
        serde_json::from_str::<ChatChunk>(r#"{"content":"x"}"#).unwrap_err();
    }
}
