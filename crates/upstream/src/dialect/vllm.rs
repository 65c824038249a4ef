//! vLLM: `/tokenize` with messages and texts, `/v1/completions` with token ids.

use serde_json::{Value, json};
use thinking::thinker::{Message, Sampling};

use super::{
    Dialect, LIKELIEST, Place, Rendered, Stretch, Told, completions::openai_chunk, count, exact,
    ids, repetition_penalty, with,
};
use crate::{chunk::Chunk, http::Call, odds::TokenOdds};

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

    /// The log-probabilities are the model's own, whatever the temperature. It computes the whole text for them, cached
    /// or not, and cannot stream them.
    fn odds(&self, model: &str, ids: &[u32], _from: usize) -> Option<Call> {
        let body = json!({
            "model": model,
            "prompt": ids,
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": LIKELIEST,
        });
        Some(Call::post("/v1/completions", body))
    }

    fn odds_told(&self, answer: &Value, ids: &[u32], from: usize) -> Option<Told> {
        let places = answer["choices"][0]["prompt_logprobs"].as_array()?;
        let places = ids.iter().zip(places).skip(from);
        let odds: Option<_> = places.map(|(id, told)| token_odds(*id, told)).collect();
        Some((odds?, openai_chunk(answer)?.usage?))
    }

    fn chunk(&self, event: &Value) -> Option<Chunk> {
        openai_chunk(event)
    }

    fn knows(&self) -> &'static [&'static str] {
        &["top_k", "min_p", "repetition_penalty"]
    }
}

/// The fields that vLLM and SGLang have in addition to OpenAI's, on all routes.
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

/// Reads the odds of a token from a map of token ids to log-probabilities, which contains that token.
fn token_odds(id: u32, told: &Value) -> Option<TokenOdds> {
    let log_p = |told: &Value| told["logprob"].as_f64().map(|log_p| log_p as f32);
    let stands = &told[id.to_string()];
    let others = told.as_object()?.iter();
    let likeliest = others.map(|(id, told)| Some((id.parse().ok()?, log_p(told)?)));
    let mut likeliest: Vec<(u32, f32)> = likeliest.collect::<Option<_>>()?;
    likeliest.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let rank = count(&stands["rank"]).map(|rank| rank.saturating_sub(1));
    Some(TokenOdds { log_p: log_p(stands)?, likeliest, rank })
}
