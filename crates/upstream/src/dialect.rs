//! What one kind of server is asked, and what its answers mean. Pure: nothing is sent here.

mod chat;
mod completions;
mod llama_cpp;
mod ollama;
mod sglang;
mod vllm;

use std::fmt;

use serde_json::{Value, json};
use thinking::thinker::{Message, Sampling};

use crate::{
    chat::AnswerSoFar,
    chunk::{Chunk, Usage},
    config::ServerKind,
    http::Call,
    odds::TokenOdds,
};

/// A kind of server.
pub(crate) trait Dialect: fmt::Debug + Send + Sync {
    /// Asks for the prompt of a conversation, by the template of the server's model. `None`: it has no such route.
    fn render(&self, _model: &str, _messages: &[Message]) -> Option<Call> {
        None
    }

    /// Whether all versions that are in use have that route. Our own template goes before one that may not be there.
    fn always_renders(&self) -> bool {
        true
    }

    /// The prompt in the answer.
    fn rendered(&self, _answer: &Value) -> Option<Rendered> {
        None
    }

    /// Asks for the tokens of a text. `None`: prompts are continued as text.
    fn encode(&self, _model: &str, _text: &str, _place: Place) -> Option<Call> {
        None
    }

    /// The tokens in the answer.
    fn encoded(&self, _answer: &Value) -> Option<Vec<u32>> {
        None
    }

    /// Asks for a continuation, as a stream.
    fn stretch(&self, stretch: &Stretch<'_>) -> Call;

    /// Asks, as a stream, that a text is computed ahead. What it makes is not used; a server that takes it may be asked
    /// to make nothing.
    fn ahead(&self, stretch: &Stretch<'_>) -> Call {
        self.stretch(stretch)
    }

    /// Asks what its model holds of these tokens from the one at this place on. `None`: it does not tell.
    fn odds(&self, _model: &str, _ids: &[u32], _from: usize) -> Option<Call> {
        None
    }

    /// That, as the answer tells it, and what it cost.
    fn odds_told(&self, _answer: &Value, _ids: &[u32], _from: usize) -> Option<Told> {
        None
    }

    /// What an event of the stream says; `None` when it is none of this kind's.
    fn chunk(&self, event: &Value) -> Option<Chunk>;

    /// The fields of [`Sampling`] that it knows beside `temperature` and `top_p`.
    fn knows(&self) -> &'static [&'static str];

    /// What answers, at no cost, whether it lives.
    fn health(&self) -> &'static str {
        "/health"
    }
}

/// The dialect of a kind.
pub(crate) fn of(kind: ServerKind) -> Box<dyn Dialect> {
    match kind {
        ServerKind::LlamaCpp => Box::new(llama_cpp::LlamaCpp),
        ServerKind::Vllm => Box::new(vllm::Vllm),
        ServerKind::Sglang => Box::new(sglang::Sglang),
        ServerKind::Ollama => Box::new(ollama::Ollama),
        ServerKind::Completions => Box::new(completions::Completions),
        ServerKind::ChatContinue => Box::new(chat::Chat::Continue),
        ServerKind::ChatPrefix => Box::new(chat::Chat::Prefix),
        ServerKind::ChatAssistant => Box::new(chat::Chat::Assistant),
    }
}

/// The kind that a server says it is by whose its models are. Ollama says there who made them.
pub(crate) fn kind_of(owned_by: &str) -> Option<ServerKind> {
    match owned_by {
        "llamacpp" => Some(ServerKind::LlamaCpp),
        "vllm" => Some(ServerKind::Vllm),
        "sglang" => Some(ServerKind::Sglang),
        _ => None,
    }
}

/// The block of vLLM's prefix cache in tokens, in the metrics that it tells.
pub(crate) fn block_in_metrics(metrics: &str) -> Option<u32> {
    let labels = metrics.lines().find_map(|line| line.strip_prefix("vllm:cache_config_info{"))?;
    let size = labels.split(',').find_map(|label| label.strip_prefix("block_size=\""))?;
    let tokens = size.split('"').next()?.parse().ok()?;
    (tokens > 0).then_some(tokens)
}

/// How many of the likeliest tokens are asked for at each place: control tokens, which nobody may write, may be among
/// them.
const LIKELIEST: usize = 5;

/// What a server's model holds of some tokens, and what it cost to say so.
pub(crate) type Told = (Vec<TokenOdds>, Usage);

/// A prompt as a server renders it.
#[derive(Debug, PartialEq)]
pub(crate) enum Rendered {
    Text(String),
    Ids(Vec<u32>),
}

/// Where a text stands, which decides what is added before it and whether control tokens in it are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the beginning.
    Prompt,
    /// Behind other text.
    Committed,
}

/// What a session's text is continued from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PromptForm<'a> {
    Ids(&'a [u32]),
    Text(&'a str),
    /// A conversation, and the answer to it so far.
    Chat {
        messages: &'a [Message],
        answer: Option<&'a AnswerSoFar>,
    },
}

impl PromptForm<'_> {
    fn json(self) -> Value {
        match self {
            PromptForm::Ids(ids) => ids.into(),
            PromptForm::Text(text) => text.into(),
            PromptForm::Chat { messages, .. } => json!(messages),
        }
    }
}

/// A continuation that is asked for.
#[derive(Debug)]
pub(crate) struct Stretch<'a> {
    pub(crate) model: &'a str,
    pub(crate) prompt: PromptForm<'a>,
    pub(crate) max_tokens: u32,
    /// The longest session in tokens.
    pub(crate) context_tokens: u32,
    pub(crate) seed: u64,
    pub(crate) sampling: &'a Sampling,
    /// The server's slot that the session has, where it has one.
    pub(crate) slot: Option<u32>,
}

impl Stretch<'_> {
    /// A seed that every server takes: 31 bits, none of which means "by chance".
    fn seed(&self) -> u32 {
        ((self.seed ^ (self.seed >> 32)) as u32) & 0x7fff_ffff
    }

    /// What is sent to OpenAI's route for completions.
    fn openai(&self) -> Value {
        with(self.openai_fields(), json!({ "prompt": self.prompt.json() }))
    }

    /// What all of OpenAI's completions routes share. All of it is sent, since servers fill gaps by themselves.
    fn openai_fields(&self) -> Value {
        json!({
            "model": self.model,
            "max_tokens": self.max_tokens,
            "stream": true,
            "stream_options": { "include_usage": true },
            "seed": self.seed(),
            "temperature": exact(self.sampling.temperature),
            "top_p": top_p(self.sampling),
            "presence_penalty": 0,
            "frequency_penalty": 0,
        })
    }
}

/// A number as a person wrote it: 0.6, and not what its 32 bits come to.
fn exact(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

/// 1 is off everywhere.
fn top_p(sampling: &Sampling) -> f64 {
    if sampling.top_p == 0.0 { 1.0 } else { exact(sampling.top_p) }
}

/// 1 is off everywhere.
fn repetition_penalty(sampling: &Sampling) -> f64 {
    if sampling.repetition_penalty == 0.0 { 1.0 } else { exact(sampling.repetition_penalty) }
}

/// The first field that is not neutral and that a server does not know.
pub(crate) fn unknown_field(dialect: &dyn Dialect, sampling: &Sampling) -> Option<&'static str> {
    let used = [
        ("top_k", sampling.top_k != 0),
        ("min_p", sampling.min_p != 0.0),
        ("repetition_penalty", repetition_penalty(sampling) != 1.0),
    ];
    let unknown = |(name, used): &(&'static str, bool)| *used && !dialect.knows().contains(name);
    used.into_iter().find(unknown).map(|(name, _)| name)
}

/// A list of token ids.
fn ids(value: &Value) -> Option<Vec<u32>> {
    let id = |id: &Value| u32::try_from(id.as_u64()?).ok();
    value.as_array()?.iter().map(id).collect()
}

/// A count, where there is one.
fn count(value: &Value) -> Option<u32> {
    value.as_u64().map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

/// Adds fields to a body.
fn with(mut body: Value, more: Value) -> Value {
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

#[cfg(test)]
mod tests;
