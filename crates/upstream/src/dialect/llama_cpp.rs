//! llama.cpp's `llama-server`, through its own routes: `/apply-template`, `/tokenize`, `/completion` with token ids.

use serde_json::{Value, json};
use thinking::thinker::Message;

use super::{Dialect, Place, Rendered, Stretch, count, exact, ids, repetition_penalty, top_p};
use crate::{
    chunk::{Chunk, ServerEnd, Usage},
    http::Call,
};

/// The repetition penalty covers at most this many tokens.
const MOST_PENALISED: u32 = 1 << 20;

#[derive(Debug)]
pub(super) struct LlamaCpp;

impl Dialect for LlamaCpp {
    fn render(&self, _model: &str, messages: &[Message]) -> Option<Call> {
        Some(Call::post("/apply-template", json!({ "messages": messages })))
    }

    fn rendered(&self, answer: &Value) -> Option<Rendered> {
        answer["prompt"].as_str().map(|prompt| Rendered::Text(prompt.to_owned()))
    }

    fn encode(&self, _model: &str, text: &str, place: Place) -> Option<Call> {
        let is_prompt = place == Place::Prompt;
        // `add_special` adds the begin-of-text token that /apply-template leaves out.
        let body = json!({ "content": text, "add_special": is_prompt, "parse_special": is_prompt });
        Some(Call::post("/tokenize", body))
    }

    fn encoded(&self, answer: &Value) -> Option<Vec<u32>> {
        ids(&answer["tokens"])
    }

    fn stretch(&self, stretch: &Stretch<'_>) -> Call {
        let sampling = stretch.sampling;
        let body = json!({
            "prompt": stretch.prompt.json(),
            "n_predict": stretch.max_tokens,
            "cache_prompt": true,
            // Pinned, because the session's text is cached in its slot; -1 means any slot.
            "id_slot": stretch.slot.map_or(-1, i64::from),
            "stream": true,
            "return_tokens": true,
            // Without it, a cancel takes effect only after the whole prompt is computed.
            "return_progress": true,
            "seed": stretch.seed(),
            // The order of our own sampler.
            "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"],
            "temperature": exact(sampling.temperature),
            "top_k": sampling.top_k,
            "top_p": top_p(sampling),
            "min_p": exact(sampling.min_p),
            "repeat_penalty": repetition_penalty(sampling),
            // Cover all tokens. Negative numbers are refused, and memory is allocated for this many.
            "repeat_last_n": stretch.context_tokens.min(MOST_PENALISED),
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "dynatemp_range": 0,
            "mirostat": 0,
            "ignore_eos": false,
            "stop": [],
        });
        Call::post("/completion", body)
    }

    fn chunk(&self, event: &Value) -> Option<Chunk> {
        let text = event["content"].as_str()?.to_owned();
        let progress = &event["prompt_progress"];
        if progress.is_object() {
            // The token in a progress event is a placeholder.
            let usage = Usage {
                prompt_tokens: count(&progress["total"])?,
                cached_tokens: Some(count(&progress["cache"])?),
            };
            return Some(Chunk { usage: Some(usage), ..Chunk::default() });
        }
        let end = event["stop"].as_bool()?.then(|| match event["stop_type"].as_str() {
            Some("limit") => ServerEnd::Length,
            _ => ServerEnd::EndOfText,
        });
        Some(Chunk {
            text,
            ids: ids(&event["tokens"]).unwrap_or_default(),
            tokens_so_far: count(&event["tokens_predicted"]),
            end,
            ..Chunk::default()
        })
    }

    fn knows(&self) -> &'static [&'static str] {
        &["top_k", "min_p", "repetition_penalty"]
    }
}
