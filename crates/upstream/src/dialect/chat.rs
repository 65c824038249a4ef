//! OpenAI's `/v1/chat/completions`, for chat-only servers. The text so far is a last message of the assistant, which
//! the server is asked to continue in one of the known ways. Whether it does so exactly is tested in `exactness`.

use openai::ChatChunk;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{
    Dialect, PromptForm, Stretch,
    completions::{server_end, told_usage},
    vllm::own_fields,
    with,
};
use crate::{chunk::Chunk, http::Call};

/// How a server is asked to continue the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chat {
    /// By fields of the request, as in vLLM, SGLang and transformers.
    Continue,
    /// By a field of the message, as in DeepSeek and Mistral.
    Prefix,
    /// By nothing: it continues any last message of the assistant.
    Assistant,
}

impl Dialect for Chat {
    fn stretch(&self, stretch: &Stretch<'_>) -> Call {
        let PromptForm::Chat { messages, answer } = stretch.prompt else {
            return Call::post("/v1/chat/completions", stretch.openai());
        };
        let messages = messages.iter().map(|message| json!(message));
        let so_far = answer.map(|answer| {
            let mut message = json!({ "role": "assistant", "content": answer.text });
            if !answer.thought.is_empty() {
                message["reasoning_content"] = answer.thought.as_str().into();
            }
            if *self == Chat::Prefix {
                message["prefix"] = true.into();
            }
            message
        });
        let messages: Vec<Value> = messages.chain(so_far).collect();
        let mut body = with(stretch.openai_fields(), json!({ "messages": messages }));
        if *self == Chat::Continue {
            body = with(body, own_fields(stretch.sampling));
            if answer.is_some() {
                let goes_on =
                    json!({ "continue_final_message": true, "add_generation_prompt": false });
                body = with(body, goes_on);
            }
        }
        Call::post("/v1/chat/completions", body)
    }

    fn chunk(&self, event: &Value) -> Option<Chunk> {
        let reply = ChatChunk::deserialize(event).ok()?;
        let chunk = told_usage(reply.usage.flatten());
        let Some(choice) = reply.choices.into_iter().next() else { return Some(chunk) };
        let delta = choice.delta;
        Some(Chunk {
            text: delta.content.unwrap_or_default(),
            // Some servers send both fields with the same text.
            thought: delta.reasoning_content.or(delta.reasoning).unwrap_or_default(),
            end: choice.finish_reason.and_then(server_end),
            ..chunk
        })
    }

    fn knows(&self) -> &'static [&'static str] {
        match self {
            Chat::Continue => &["top_k", "min_p", "repetition_penalty"],
            Chat::Prefix | Chat::Assistant => &[],
        }
    }

    fn health(&self) -> &'static str {
        "/v1/models"
    }
}
