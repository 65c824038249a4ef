//! OpenAI's `/v1/completions` with text, for any server that has this route.

use openai::{FinishReply, TextCompletion, TokenUsage};
use serde::Deserialize as _;
use serde_json::Value;

use super::{Dialect, Stretch};
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

/// Reads an event of OpenAI's completions route. The last event has no choice and reports the usage.
pub(super) fn openai_chunk(event: &Value) -> Option<Chunk> {
    let reply = TextCompletion::deserialize(event).ok()?;
    let chunk = told_usage(reply.usage.flatten());
    let Some(choice) = reply.choices.into_iter().next() else { return Some(chunk) };
    Some(Chunk {
        text: choice.text,
        ids: choice.token_ids.unwrap_or_default(),
        end: choice.finish_reason.and_then(server_end),
        ..chunk
    })
}

/// Returns an event's usage as a chunk without text.
pub(super) fn told_usage(usage: Option<TokenUsage>) -> Chunk {
    let count = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
    let cached = usage.and_then(|usage| usage.prompt_tokens_details?.cached_tokens);
    Chunk {
        tokens_so_far: usage.map(|usage| count(usage.completion_tokens)),
        usage: usage.map(|usage| Usage {
            prompt_tokens: count(usage.prompt_tokens),
            cached_tokens: cached.map(count),
        }),
        ..Chunk::default()
    }
}

/// Converts the reason why a choice ended. `None`: the server gave up before its end.
pub(super) fn server_end(reason: FinishReply) -> Option<ServerEnd> {
    match reason {
        FinishReply::Length => Some(ServerEnd::Length),
        FinishReply::Stop | FinishReply::Other => Some(ServerEnd::EndOfText),
        FinishReply::GivenUp => None,
    }
}
