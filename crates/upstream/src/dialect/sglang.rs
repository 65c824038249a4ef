//! SGLang: `/tokenize` with messages and texts, `/v1/completions` with token ids, and its own `/generate` to compute
//! text ahead.

use serde_json::{Value, json};
use thinking::thinker::Message;

use super::{
    Dialect, Place, Rendered, Stretch,
    completions::openai_chunk,
    count,
    vllm::{Vllm, own_fields},
    with,
};
use crate::{
    chunk::{Chunk, ServerEnd, Usage},
    http::Call,
};

#[derive(Debug)]
pub(super) struct Sglang;

impl Dialect for Sglang {
    /// As for its own chats: fields that say how a template is applied are refused with some templates.
    fn render(&self, model: &str, messages: &[Message]) -> Option<Call> {
        Some(Call::post("/tokenize", json!({ "model": model, "messages": messages })))
    }

    /// Older ones take texts only.
    fn always_renders(&self) -> bool {
        false
    }

    fn rendered(&self, answer: &Value) -> Option<Rendered> {
        Vllm.rendered(answer)
    }

    fn encode(&self, model: &str, text: &str, place: Place) -> Option<Call> {
        Vllm.encode(model, text, place)
    }

    fn encoded(&self, answer: &Value) -> Option<Vec<u32>> {
        Vllm.encoded(answer)
    }

    fn stretch(&self, stretch: &Stretch<'_>) -> Call {
        let own = with(own_fields(stretch.sampling), json!({ "return_token_ids": true }));
        Call::post("/v1/completions", with(stretch.openai(), own))
    }

    /// `/v1/completions` refuses to make nothing.
    fn ahead(&self, stretch: &Stretch<'_>) -> Call {
        let body = json!({
            "input_ids": stretch.prompt.json(),
            "sampling_params": { "max_new_tokens": 0 },
            "stream": true,
        });
        Call::post("/generate", body)
    }

    fn chunk(&self, event: &Value) -> Option<Chunk> {
        let Some(told) = event.get("meta_info") else { return openai_chunk(event) };
        let usage = Usage {
            prompt_tokens: count(&told["prompt_tokens"])?,
            cached_tokens: count(&told["cached_tokens"]),
        };
        let end = told["finish_reason"].is_object().then_some(ServerEnd::Length);
        Some(Chunk { usage: Some(usage), end, ..Chunk::default() })
    }

    fn knows(&self) -> &'static [&'static str] {
        &["top_k", "min_p", "repetition_penalty"]
    }
}
