//! How the fake server reports log-probabilities.

use serde_json::{Value, json};

use super::{
    answer::{Answer, error},
    cache::PromptCache,
    model,
};

/// Answers like SGLang: reports every token from `logprob_start_len` on, with no values for the first of them.
pub(super) fn sglang(cache: &PromptCache, body: &Value, prompt: &[u32]) -> Answer {
    let start = body["logprob_start_len"].as_u64().unwrap_or(0) as usize;
    let most = body["top_logprobs_num"].as_u64().unwrap_or(0) as usize;
    // The tokens asked about are computed, cached or not.
    let cached = cache.compute(None, prompt, 1).min(start);
    let (mut own, mut likeliest) = (Vec::new(), Vec::new());
    for (at, id) in prompt.iter().enumerate().skip(start) {
        if at == start {
            own.push(json!([null, id, null]));
            likeliest.push(Value::Null);
            continue;
        }
        let odds = model::log_odds(&prompt[..at]);
        let told = |(id, log_p): (u32, f32)| json!([log_p, id, null]);
        own.push(told((*id, odds[*id as usize])));
        likeliest.push(model::likeliest(&odds, most).into_iter().map(told).collect());
    }
    let told = json!({
        "prompt_tokens": prompt.len(), "cached_tokens": cached, "completion_tokens": 0,
        "finish_reason": { "type": "length", "length": 0 },
        "input_token_logprobs": own, "input_top_logprobs": likeliest,
    });
    Answer::Json(200, json!({ "text": "", "output_ids": [], "meta_info": told }))
}

/// Answers like vLLM: reports every token except the first, and lists the token in the text among the likeliest.
pub(super) fn vllm(body: &Value, prompt: &[u32]) -> Answer {
    if body["stream"] == true {
        let message = "prompt_logprobs are not available when stream=True.";
        return error(400, message, "BadRequestError");
    }
    let most = body["prompt_logprobs"].as_u64().unwrap_or(0) as usize;
    let told = |at: usize| {
        let odds = model::log_odds(&prompt[..at]);
        let own = odds[prompt[at] as usize];
        let rank = odds.iter().filter(|log_p| **log_p > own).count() + 1;
        let others = model::likeliest(&odds, most).into_iter().zip(1..);
        let others = others.map(|((id, log_p), rank)| (id, log_p, rank));
        let all = others.chain([(prompt[at], own, rank)]);
        all.map(|(id, log_p, rank)| (id.to_string(), json!({ "logprob": log_p, "rank": rank })))
            .collect::<serde_json::Map<_, _>>()
    };
    let places = (1..prompt.len()).map(|at| Value::Object(told(at)));
    let places: Vec<Value> = [Value::Null].into_iter().chain(places).collect();
    let choice = json!({
        "index": 0, "text": "x", "finish_reason": "length", "prompt_logprobs": places,
    });
    let usage = json!({ "prompt_tokens": prompt.len(), "completion_tokens": 1 });
    Answer::Json(200, json!({ "choices": [choice], "usage": usage }))
}
