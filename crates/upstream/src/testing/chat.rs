//! The fake server's `/v1/chat/completions`, for the chat-only kinds.

use serde_json::{Value, json};

use super::{
    FakeOptions, FakePrefill, FakeThought,
    answer::{Answer, error, made_behind, whole},
    cache::PromptCache,
    model,
};
use crate::config::ServerKind;

/// The rendered conversation, and what the answer repeats of it.
struct Rendered {
    prompt: String,
    repeated: String,
}

/// Streams like vLLM: the role, an event for each whole character, then the finish reason, the usage, and `[DONE]`.
pub(super) fn completion(options: &FakeOptions, cache: &PromptCache, body: &Value) -> Answer {
    if !options.models.iter().any(|model| body["model"] == model.as_str()) {
        return error(404, "The model does not exist.", "NotFoundError");
    }
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_begun = messages.last().is_some_and(|last| last["role"] == "assistant");
    if options.prefill == FakePrefill::Refuses && is_begun {
        let message = "the final message does not appear in the chat after applying the template";
        return error(400, message, "BadRequestError");
    }
    let Rendered { prompt, repeated } = rendered(options, body);
    let is_thinking = opens_last(&prompt);
    let prompt = model::encode(&prompt, true);
    let tokens = match made_behind(options, &prompt, body, "max_tokens") {
        Ok(tokens) => tokens,
        Err(refusal) => return refusal,
    };
    let cached = cache.compute(None, &prompt, 1);
    let usage = json!({
        "prompt_tokens": prompt.len(), "prompt_tokens_details": { "cached_tokens": cached },
    });
    let is_counted = options.prefill != FakePrefill::CountsNothing
        && body["stream_options"]["include_usage"] == true;
    let is_told_apart = matches!(options.thought, FakeThought::ToldApart | FakeThought::Field);
    let mut place = ThoughtPlace { is_told_apart, is_thinking };
    let first = json!({ "role": "assistant", "content": repeated });
    let (mut held, mut count, mut after) = (Vec::new(), 0, 0);
    let mut tokens = tokens.map(Some).chain([None]);
    let events = std::iter::from_fn(move || {
        loop {
            if after > 0 {
                after += 1;
                let mut usage = usage.clone();
                usage["completion_tokens"] = count.into();
                let usage = if is_counted { usage } else { Value::Null };
                return match after {
                    2 => Some((count + 1, json!({ "choices": [], "usage": usage }).to_string())),
                    3 => Some((count + 1, "[DONE]".to_owned())),
                    _ => None,
                };
            }
            let token = tokens.next().flatten();
            count += usize::from(token.is_some());
            let Some(id) = token.filter(|id| *id != model::END) else {
                after = 1;
                let why = if token.is_some() { "stop" } else { "length" };
                return Some((count + 1, event(json!({}), Some(why))));
            };
            if let Some(delta) = place.delta(whole(&mut held, id)) {
                return Some((count, event(delta, None)));
            }
        }
    });
    Answer::Stream(Box::new([(0, event(first, None))].into_iter().chain(events)))
}

fn event(delta: Value, why: Option<&str>) -> String {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": why });
    json!({ "object": "chat.completion.chunk", "choices": [choice], "usage": null }).to_string()
}

/// Returns whether the answer in a prompt ends within a thought.
fn opens_last(prompt: &str) -> bool {
    let answer = prompt.rsplit_once("<|im_start|>assistant\n").map_or("", |(_, answer)| answer);
    answer.contains(model::THINK) && !answer.contains(model::THOUGHT)
}

/// Which field text goes into.
struct ThoughtPlace {
    is_told_apart: bool,
    is_thinking: bool,
}

impl ThoughtPlace {
    /// Returns the delta for a token's text; a mark switches the field.
    fn delta(&mut self, text: String) -> Option<Value> {
        match text.as_str() {
            "" => return None,
            model::THINK | model::THOUGHT if self.is_told_apart => {
                self.is_thinking = text == model::THINK;
                return None;
            }
            _ => {}
        }
        let field = if self.is_told_apart && self.is_thinking { "reasoning" } else { "content" };
        Some(json!({ field: text }))
    }
}

/// Renders the messages as the template does.
fn rendered(options: &FakeOptions, body: &Value) -> Rendered {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said: Vec<(String, String)> =
        messages.iter().map(|one| (word(&one["role"]), word(&one["content"]))).collect();
    let render = |said: &[(String, String)]| {
        model::render(said.iter().map(|(role, content)| (role.as_str(), content.as_str())))
    };
    let opens = matches!(options.thought, FakeThought::Field | FakeThought::Opened);
    let begun = if opens { "<think>\n" } else { "" };
    let anew = || Rendered { prompt: render(&said) + begun, repeated: String::new() };
    let (Some(last), Some((_, content))) = (messages.last(), said.last()) else { return anew() };
    let is_asked = match options.kind {
        ServerKind::ChatContinue => {
            body["continue_final_message"] == true && body["add_generation_prompt"] == false
        }
        ServerKind::ChatPrefix => last["prefix"] == true,
        _ => true,
    };
    if last["role"] != "assistant" || !is_asked || options.prefill == FakePrefill::NewTurn {
        return anew();
    }
    let before = render(&said[..said.len() - 1]);
    let thought = word(&last["reasoning_content"]);
    let mut answer = match (options.thought, thought.as_str(), content.as_str()) {
        (FakeThought::Field, "", _) => format!("<think>\n\n</think>\n\n{content}"),
        (FakeThought::Field, thought, "") => format!("<think>\n{thought}"),
        (FakeThought::Field, thought, _) => format!("<think>\n{thought}\n</think>\n\n{content}"),
        (FakeThought::CutOut, _, content) => {
            content.rsplit(model::THOUGHT).next().unwrap_or_default().to_owned()
        }
        _ => content.clone(),
    };
    match options.prefill {
        FakePrefill::Trims => answer = answer.trim().to_owned(),
        FakePrefill::TrimsIndented if answer.starts_with(char::is_whitespace) => {
            answer.truncate(answer.trim_end().len());
        }
        FakePrefill::Drops => answer.clear(),
        _ => {}
    }
    let repeated =
        if options.prefill == FakePrefill::Repeats { content.clone() } else { String::new() };
    Rendered { prompt: before + &answer, repeated }
}
