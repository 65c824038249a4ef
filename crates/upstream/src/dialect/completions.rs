//! OpenAI's `/v1/completions` with text, as any server has it that serves a model for more than chats.

use serde_json::Value;

use super::{Dialect, Stretch, count, ids};
use crate::{
    chunk::{Chunk, ServerEnd, Usage},
    http::Call,
};

#[derive(Debug)]
pub(super) struct Completions;

impl Dialect for Completions {
    fn stretch(&self, stretch: &Stretch<'_>) -> Call {
        Call::post("/v1/completions", stretch.openai())
    }

    fn chunk(&self, event: &Value) -> Option<Chunk> {
        openai_chunk(event)
    }

    fn knows(&self) -> &'static [&'static str] {
        &[]
    }

    fn health(&self) -> &'static str {
        "/v1/models"
    }
}

/// An event of OpenAI's completions route. The last one has no choice and tells the usage.
pub(super) fn openai_chunk(event: &Value) -> Option<Chunk> {
    let choices = event["choices"].as_array()?;
    let usage = count(&event["usage"]["prompt_tokens"]).map(|prompt_tokens| {
        let cached_tokens = count(&event["usage"]["prompt_tokens_details"]["cached_tokens"]);
        Usage { prompt_tokens, cached_tokens }
    });
    let tokens_so_far = count(&event["usage"]["completion_tokens"]);
    let Some(choice) = choices.first() else {
        return Some(Chunk { usage, tokens_so_far, ..Chunk::default() });
    };
    let end = choice["finish_reason"].as_str().map(|reason| match reason {
        "length" => ServerEnd::Length,
        _ => ServerEnd::EndOfText,
    });
    Some(Chunk {
        text: choice["text"].as_str().unwrap_or_default().to_owned(),
        ids: ids(&choice["token_ids"]).unwrap_or_default(),
        tokens_so_far,
        end,
        usage,
    })
}
