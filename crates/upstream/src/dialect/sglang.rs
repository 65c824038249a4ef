//! SGLang: `/tokenize` with messages and texts, `/v1/completions` with token ids, and its own `/generate` to compute
//! text ahead and to report log-probabilities.

use serde_json::{Value, json};
use thinking::thinker::Message;

use super::{
    Dialect, LIKELIEST, Place, Rendered, Stretch, Told,
    completions::openai_chunk,
    count,
    vllm::{Vllm, own_fields},
    with,
};
use crate::{
    chunk::{Chunk, ServerEnd, Usage},
    http::Call,
    odds::TokenOdds,
};

#[derive(Debug)]
pub(super) struct Sglang;

impl Dialect for Sglang {
    /// The same fields as for its chats: fields that say how to apply the template are refused with some templates.
    fn render(&self, model: &str, messages: &[Message]) -> Option<Call> {
        Some(Call::post("/tokenize", json!({ "model": model, "messages": messages })))
    }

    /// Older versions tokenize texts only.
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

    /// `/v1/completions` refuses a request to generate nothing.
    fn ahead(&self, stretch: &Stretch<'_>) -> Call {
        let body = json!({
            "input_ids": stretch.prompt.json(),
            "sampling_params": { "max_new_tokens": 0 },
            "stream": true,
        });
        Call::post("/generate", body)
    }

    /// The log-probabilities are the model's own, whatever the temperature. The text before them stays cached.
    fn odds(&self, _model: &str, ids: &[u32], from: usize) -> Option<Call> {
        let body = json!({
            "input_ids": ids,
            "sampling_params": { "max_new_tokens": 0 },
            "return_logprob": true,
            "logprob_start_len": from.saturating_sub(1),
            "top_logprobs_num": LIKELIEST,
        });
        Some(Call::post("/generate", body))
    }

    /// The first of the requested tokens has no log-probability.
    fn odds_told(&self, answer: &Value, _ids: &[u32], _from: usize) -> Option<Told> {
        let told = &answer["meta_info"];
        let (own, likeliest) = (&told["input_token_logprobs"], &told["input_top_logprobs"]);
        let places = own.as_array()?.iter().zip(likeliest.as_array()?).skip(1);
        let odds = places.map(|(own, likeliest)| {
            let likeliest = likeliest.as_array()?.iter().map(token_and_log_p);
            let likeliest = likeliest.collect::<Option<_>>()?;
            Some(TokenOdds { log_p: token_and_log_p(own)?.1, likeliest, rank: None })
        });
        Some((odds.collect::<Option<_>>()?, usage(told)?))
    }

    fn chunk(&self, event: &Value) -> Option<Chunk> {
        let Some(told) = event.get("meta_info") else { return openai_chunk(event) };
        let usage = usage(told)?;
        let end = told["finish_reason"].is_object().then_some(ServerEnd::Length);
        Some(Chunk { usage: Some(usage), end, ..Chunk::default() })
    }

    fn knows(&self) -> &'static [&'static str] {
        &["top_k", "min_p", "repetition_penalty"]
    }
}

/// Reads the cost of a request.
fn usage(told: &Value) -> Option<Usage> {
    Some(Usage {
        prompt_tokens: count(&told["prompt_tokens"])?,
        cached_tokens: count(&told["cached_tokens"]),
    })
}

/// Reads a token with its log-probability, which are reported in the opposite order.
fn token_and_log_p(told: &Value) -> Option<(u32, f32)> {
    let log_p = told[0].as_f64()? as f32;
    Some((u32::try_from(told[1].as_u64()?).ok()?, log_p))
}
