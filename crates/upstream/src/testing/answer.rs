//! The fake server's answers, whatever kind it imitates: errors, streams, and the tokens generated after a prompt.

use serde_json::{Value, json};

use super::{FakeOptions, model};

/// Events of a stream, each with how many tokens were generated before it and with it.
pub(super) type Events = Box<dyn Iterator<Item = (usize, String)> + Send>;

/// The answer to a request.
pub(super) enum Answer {
    Json(u16, Value),
    Words(String),
    Stream(Events),
    /// A stream whose events are lines.
    Lines(Events),
}

pub(super) fn error(status: u16, message: &str, kind: &str) -> Answer {
    let error = json!({ "message": message, "type": kind, "code": status });
    Answer::Json(status, json!({ "error": error }))
}

pub(super) type Made = Box<dyn Iterator<Item = u32> + Send>;

/// Returns the tokens generated after a prompt.
pub(super) fn made_behind(
    options: &FakeOptions,
    prompt: &[u32],
    body: &Value,
    most: &str,
) -> Result<Made, Answer> {
    let room = options.context_tokens.saturating_sub(prompt.len());
    if room == 0 {
        let message = "the request exceeds the available context size";
        return Err(error(400, message, "exceed_context_size_error"));
    }
    let fields = ["seed", "temperature", "top_k", "top_p", "min_p", "repetition_penalty"];
    let drawn: String = fields.iter().map(|field| body[*field].to_string()).collect();
    let tokens = model::tokens(prompt, &drawn, options.answer.as_deref());
    let most = body[most].as_u64().map_or(usize::MAX, |most| most as usize).min(room);
    Ok(Box::new(tokens.take(most)))
}

/// Returns the whole characters completed by a token's bytes and the bytes held back before; holds back the rest.
pub(super) fn whole(held: &mut Vec<u8>, id: u32) -> String {
    held.extend(model::piece(id));
    match String::from_utf8(std::mem::take(held)) {
        Ok(text) => text,
        Err(error) => {
            *held = error.into_bytes();
            String::new()
        }
    }
}
