//! vLLM: `/tokenize` with messages and texts, `/v1/completions` with token ids.

use serde_json::{Value, json};
use thinking::thinker::{Message, Sampling};

use super::{
    Dialect, Place, Rendered, Stretch, completions::openai_chunk, exact, ids, repetition_penalty,
    with,
};
use crate::{chunk::Chunk, http::Call};

#[derive(Debug)]
pub(super) struct Vllm;

impl Dialect for Vllm {
    fn render(&self, model: &str, messages: &[Message]) -> Option<Call> {
        let body = json!({ "model": model, "messages": messages, "add_generation_prompt": true });
        Some(Call::post("/tokenize", body))
    }

    fn rendered(&self, answer: &Value) -> Option<Rendered> {
        ids(&answer["tokens"]).map(Rendered::Ids)
    }

    fn encode(&self, model: &str, text: &str, place: Place) -> Option<Call> {
        let add_special_tokens = place == Place::Prompt;
        let body =
            json!({ "model": model, "prompt": text, "add_special_tokens": add_special_tokens });
        Some(Call::post("/tokenize", body))
    }

    fn encoded(&self, answer: &Value) -> Option<Vec<u32>> {
        ids(&answer["tokens"])
    }

    fn stretch(&self, stretch: &Stretch<'_>) -> Call {
        let own = with(
            own_fields(stretch.sampling),
            json!({ "return_token_ids": true, "spaces_between_special_tokens": false }),
        );
        Call::post("/v1/completions", with(stretch.openai(), own))
    }

    fn chunk(&self, event: &Value) -> Option<Chunk> {
        openai_chunk(event)
    }

    fn knows(&self) -> &'static [&'static str] {
        &["top_k", "min_p", "repetition_penalty"]
    }
}

/// The fields that vLLM and SGLang have beside OpenAI's, on all routes.
pub(super) fn own_fields(sampling: &Sampling) -> Value {
    let top_k = if sampling.top_k == 0 { -1 } else { i64::from(sampling.top_k) };
    json!({
        "top_k": top_k,
        "min_p": exact(sampling.min_p),
        "repetition_penalty": repetition_penalty(sampling),
        "skip_special_tokens": false,
        "ignore_eos": false,
    })
}
