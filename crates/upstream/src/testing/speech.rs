//! The routes, bodies and events of each kind of server, as observed on real ones.

use serde_json::{Value, json};

use super::{
    FakeOptions, FakeRequest,
    answer::{Answer, Made, error, made_behind, whole},
    cache::PromptCache,
    chat, model, odds,
};
use crate::config::ServerKind;

/// The block size of vLLM's prefix cache, in tokens; deliberately not the default.
const BLOCK_TOKENS: usize = 20;

pub(super) fn answer(options: &FakeOptions, cache: &PromptCache, request: &FakeRequest) -> Answer {
    let wanted = options.key.as_ref().map(|key| format!("Bearer {key}"));
    if wanted.is_some() && wanted != request.authorization {
        return error(401, "Invalid API Key", "authentication_error");
    }
    let body = &request.body;
    match (options.kind, request.path.as_str()) {
        (_, "/v1/models") => Answer::Json(200, models(options)),
        (ServerKind::LlamaCpp | ServerKind::Vllm | ServerKind::Sglang, "/health") => {
            Answer::Json(200, json!({}))
        }
        (ServerKind::Ollama, "/api/version") => Answer::Json(200, json!({ "version": "0.12.6" })),
        (ServerKind::Ollama, "/api/generate") => ollama_generate(options, cache, body),
        (ServerKind::LlamaCpp, "/props") => Answer::Json(200, json!({ "total_slots": 2 })),
        (ServerKind::LlamaCpp, "/apply-template") => {
            Answer::Json(200, json!({ "prompt": rendered(options, &body["messages"]) }))
        }
        (ServerKind::LlamaCpp, "/tokenize") => {
            let text = body["content"].as_str().unwrap_or_default();
            // True unless specified.
            let control = body["parse_special"].as_bool().unwrap_or(true);
            let ids = model::encode(text, control);
            if body["with_pieces"] == true {
                let piece = |id: &u32| String::from_utf8_lossy(&model::piece(*id)).into_owned();
                let tokens: Vec<Value> =
                    ids.iter().map(|id| json!({ "id": id, "piece": piece(id) })).collect();
                return Answer::Json(200, json!({ "tokens": tokens }));
            }
            Answer::Json(200, json!({ "tokens": ids }))
        }
        (ServerKind::LlamaCpp, "/completion") => llama_completion(options, cache, body),
        (ServerKind::Vllm, "/metrics") => Answer::Words(format!(
            "# TYPE vllm:cache_config_info gauge\n\
             vllm:cache_config_info{{block_size=\"{BLOCK_TOKENS}\",cache_dtype=\"auto\"}} 1.0\n"
        )),
        (ServerKind::Sglang, "/generate") => sglang_generate(cache, body),
        (ServerKind::Vllm | ServerKind::Sglang, "/tokenize") => {
            let messages = body.get("messages").filter(|_| options.renders_messages);
            let rendered = messages.map(|messages| rendered(options, messages));
            match rendered.as_deref().or(body["prompt"].as_str()) {
                Some(text) => Answer::Json(200, json!({ "tokens": model::encode(text, true) })),
                None => error(400, "prompt: Field required", "BadRequestError"),
            }
        }
        (ServerKind::Vllm | ServerKind::Sglang | ServerKind::Completions, "/v1/completions") => {
            openai_completion(options, cache, body)
        }
        (
            ServerKind::ChatContinue | ServerKind::ChatPrefix | ServerKind::ChatAssistant,
            "/v1/chat/completions",
        ) => chat::completion(options, cache, body),
        _ => error(404, "File Not Found", "not_found_error"),
    }
}

fn models(options: &FakeOptions) -> Value {
    let data = options.models.iter().map(|id| match options.kind {
        ServerKind::LlamaCpp => json!({
            "id": id, "owned_by": "llamacpp",
            "meta": {
                "n_ctx": options.context_tokens, "n_params": 918_912, "ftype": options.described,
                "architecture": options.described,
            },
        }),
        ServerKind::Vllm | ServerKind::Sglang => json!({
            "id": id, "owned_by": options.kind.name(), "max_model_len": options.context_tokens,
        }),
        ServerKind::Ollama => json!({ "id": id, "owned_by": "library" }),
        _ => json!({ "id": id, "owned_by": "somebody" }),
    });
    json!({ "object": "list", "data": data.collect::<Vec<_>>() })
}

fn rendered(options: &FakeOptions, messages: &Value) -> String {
    fn word(value: &Value) -> &str {
        value.as_str().unwrap_or_default()
    }
    let messages = messages.as_array().map(Vec::as_slice).unwrap_or_default();
    model::render(messages.iter().map(|one| (word(&one["role"]), word(&one["content"]))))
        + options.prompt_end
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().map(Vec::as_slice).unwrap_or_default();
    ids.iter().filter_map(Value::as_u64).map(|id| id as u32).collect()
}

/// Returns the tokens of a prompt, given as ids or as text.
fn prompt(body: &Value) -> Vec<u32> {
    match &body["prompt"] {
        Value::Array(_) => ids(&body["prompt"]),
        text => model::encode(text.as_str().unwrap_or_default(), true),
    }
}

/// Returns the tokens of a request's prompt, and those generated after it.
fn made(options: &FakeOptions, body: &Value, most: &str) -> Result<(Vec<u32>, Made), Answer> {
    let prompt = prompt(body);
    let tokens = made_behind(options, &prompt, body, most)?;
    Ok((prompt, tokens))
}

/// Streams like llama-server: nothing before a character is whole, and then only the last of its ids.
fn llama_completion(options: &FakeOptions, cache: &PromptCache, body: &Value) -> Answer {
    if body["repeat_last_n"].as_i64().is_some_and(|tokens| tokens < 0) {
        let message = "Field 'repeat_last_n': Value must be between 0 <= value";
        return error(400, message, "invalid_request_error");
    }
    let (prompt, tokens) = match made(options, body, "n_predict") {
        Ok(made) => made,
        Err(refusal) => return refusal,
    };
    let (total, cached) = (prompt.len(), cache.compute(body["id_slot"].as_u64(), &prompt, 1));
    let progress = json!({
        "content": "", "tokens": [0], "stop": false, "tokens_predicted": 0,
        "prompt_progress": { "total": total, "cache": cached, "processed": total },
    });
    let (mut held, mut count, mut ended) = (Vec::new(), 0, false);
    let mut tokens = tokens.map(Some).chain([None]);
    let events = std::iter::from_fn(move || {
        loop {
            if ended {
                return None;
            }
            let token = tokens.next().flatten();
            count += usize::from(token.is_some());
            let Some(id) = token.filter(|id| *id != model::END) else {
                ended = true;
                let kind = if token.is_some() { "eos" } else { "limit" };
                let last = json!({
                    "content": "", "tokens": [], "stop": true, "stop_type": kind, "tokens_predicted": count,
                });
                return Some((count + 1, last.to_string()));
            };
            let text = whole(&mut held, id);
            if !text.is_empty() {
                let event = json!({ "content": text, "tokens": [id], "stop": false, "tokens_predicted": count });
                return Some((count, event.to_string()));
            }
        }
    });
    let progress = Some((0, progress.to_string())).filter(|_| body["return_progress"] == true);
    Answer::Stream(Box::new(progress.into_iter().chain(events)))
}

/// Streams like vLLM: an event per token, with its id if requested, then the finish reason, the usage, and `[DONE]`.
fn openai_completion(options: &FakeOptions, cache: &PromptCache, body: &Value) -> Answer {
    if !options.models.iter().any(|model| body["model"] == model.as_str()) {
        return error(404, "The model does not exist.", "NotFoundError");
    }
    let (prompt, tokens) = match made(options, body, "max_tokens") {
        Ok(made) => made,
        Err(refusal) => return refusal,
    };
    if options.kind == ServerKind::Vllm && !body["prompt_logprobs"].is_null() {
        return odds::vllm(body, &prompt);
    }
    if body["max_tokens"] == 0 {
        return error(400, "max_tokens must be at least 1, got 0.", "BadRequestError");
    }
    let asked = body["max_tokens"].as_u64().unwrap_or(16) as usize + prompt.len();
    if options.kind != ServerKind::Completions && asked > options.context_tokens {
        let message = "you asked for more than the model's maximum context length";
        return error(400, message, "BadRequestError");
    }
    let block_tokens = if options.kind == ServerKind::Sglang { 1 } else { BLOCK_TOKENS };
    let cached = cache.compute(None, &prompt, block_tokens);
    let details = if cached > 0 { json!({ "cached_tokens": cached }) } else { Value::Null };
    let with_ids = body["return_token_ids"] == true;
    let with_usage = body["stream_options"]["include_usage"] == true;
    let choice = move |text: &str, id: Option<u32>, why: Option<&str>| {
        let mut choice = json!({ "index": 0, "text": text, "finish_reason": why });
        if let Some(id) = id.filter(|_| with_ids) {
            choice["token_ids"] = json!([id]);
        }
        json!({ "object": "text_completion", "choices": [choice] }).to_string()
    };
    let (mut held, mut count, mut after) = (Vec::new(), 0, 0);
    let mut tokens = tokens.map(Some).chain([None]);
    let events = std::iter::from_fn(move || {
        loop {
            if after > 0 {
                after += 1;
                let usage = json!({
                    "prompt_tokens": prompt.len(), "completion_tokens": count,
                    "prompt_tokens_details": details,
                });
                return match after {
                    2 => Some((count + 1, json!({ "choices": [], "usage": usage }).to_string())),
                    3 => Some((count + 1, "[DONE]".to_owned())),
                    _ => None,
                };
            }
            let token = tokens.next().flatten();
            count += usize::from(token.is_some());
            let Some(id) = token.filter(|id| *id != model::END) else {
                after = if with_usage { 1 } else { 2 };
                let why = if token.is_some() { "stop" } else { "length" };
                return Some((count + 1, choice("", token, Some(why))));
            };
            let text = whole(&mut held, id);
            if with_ids || !text.is_empty() {
                return Some((count, choice(&text, Some(id), None)));
            }
        }
    });
    Answer::Stream(Box::new(events))
}

/// Answers like SGLang's own route when nothing is to be generated.
fn sglang_generate(cache: &PromptCache, body: &Value) -> Answer {
    if body["sampling_params"]["max_new_tokens"] != 0 {
        return error(400, "only max_new_tokens 0 is supported here", "BadRequestError");
    }
    let prompt = ids(&body["input_ids"]);
    if body["return_logprob"] == true {
        return odds::sglang(cache, body, &prompt);
    }
    let cached = cache.compute(None, &prompt, 1);
    let event = json!({
        "text": "", "output_ids": [],
        "meta_info": {
            "prompt_tokens": prompt.len(), "cached_tokens": cached, "completion_tokens": 0,
            "finish_reason": { "type": "length", "length": 0 },
        },
    });
    Answer::Stream(Box::new([(0, event.to_string()), (0, "[DONE]".to_owned())].into_iter()))
}

/// Streams like Ollama: a line for each whole character, and a last line with counts.
fn ollama_generate(options: &FakeOptions, cache: &PromptCache, body: &Value) -> Answer {
    if !options.models.iter().any(|model| body["model"] == model.as_str()) {
        return error(404, "model 'x' not found", "api_error");
    }
    if body["raw"] != true {
        return error(400, "a template would be put around the text", "api_error");
    }
    let mut asked = body["options"].clone();
    asked["prompt"] = body["prompt"].clone();
    let (prompt, tokens) = match made(options, &asked, "num_predict") {
        Ok(made) => made,
        Err(refusal) => return refusal,
    };
    cache.compute(None, &prompt, 1);
    let (mut held, mut count, mut ended) = (Vec::new(), 0, false);
    let mut tokens = tokens.map(Some).chain([None]);
    let events = std::iter::from_fn(move || {
        loop {
            if ended {
                return None;
            }
            let token = tokens.next().flatten();
            count += usize::from(token.is_some());
            let Some(id) = token.filter(|id| *id != model::END) else {
                ended = true;
                let last = json!({
                    "model": "fake", "response": "", "done": true,
                    "done_reason": if token.is_some() { "stop" } else { "length" },
                    "prompt_eval_count": prompt.len(), "eval_count": count,
                });
                return Some((count + 1, last.to_string()));
            };
            let text = whole(&mut held, id);
            if !text.is_empty() {
                let event = json!({ "model": "fake", "response": text, "done": false });
                return Some((count, event.to_string()));
            }
        }
    });
    Answer::Lines(Box::new(events))
}
