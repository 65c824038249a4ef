//! Ollama, through its own `/api/generate` with `raw`: its `/v1/completions` applies a chat template to every text.

use serde_json::{Value, json};

use super::{Dialect, Stretch, count, exact, repetition_penalty, top_p};
use crate::{
    chunk::{Chunk, ServerEnd},
    http::Call,
};

#[derive(Debug)]
pub(super) struct Ollama;

impl Dialect for Ollama {
    fn stretch(&self, stretch: &Stretch<'_>) -> Call {
        let sampling = stretch.sampling;
        let mut options = json!({
            "num_predict": stretch.max_tokens,
            "seed": stretch.seed(),
            "temperature": exact(sampling.temperature),
            "top_k": sampling.top_k,
            "top_p": top_p(sampling),
            "min_p": exact(sampling.min_p),
            "repeat_penalty": repetition_penalty(sampling),
            // Cover all tokens.
            "repeat_last_n": -1,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "stop": [],
        });
        if stretch.context_tokens != u32::MAX {
            options["num_ctx"] = stretch.context_tokens.into();
        }
        let body = json!({
            "model": stretch.model,
            "prompt": stretch.prompt.json(),
            "raw": true,
            "stream": true,
            // A text that does not fit is refused, and a full one ends. Otherwise the start of the text would be
            // dropped.
            "truncate": false,
            "shift": false,
            "options": options,
        });
        Call::post("/api/generate", body)
    }

    fn chunk(&self, event: &Value) -> Option<Chunk> {
        let text = event["response"].as_str()?.to_owned();
        let end = event["done"].as_bool()?.then(|| match event["done_reason"].as_str() {
            Some("length") => ServerEnd::Length,
            _ => ServerEnd::EndOfText,
        });
        // Whether `prompt_eval_count` includes cached tokens depends on the version.
        let tokens_so_far = count(&event["eval_count"]);
        Some(Chunk { text, tokens_so_far, end, ..Chunk::default() })
    }

    fn knows(&self) -> &'static [&'static str] {
        &["top_k", "min_p", "repetition_penalty"]
    }

    fn health(&self) -> &'static str {
        "/api/version"
    }
}
