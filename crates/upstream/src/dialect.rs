//! The requests and answers of each kind of server. Pure: nothing is sent here.

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
    /// Requests the prompt of a conversation, by the template of the server's model. `None`: there is no such route.
    fn render(&self, _model: &str, _messages: &[Message]) -> Option<Call> {
        None
    }

    /// Returns whether all versions in use have that route. If not, our own template is preferred over it.
    fn always_renders(&self) -> bool {
        true
    }

    /// Reads the prompt from the answer.
    fn rendered(&self, _answer: &Value) -> Option<Rendered> {
        None
    }

    /// Requests the tokens of a text. `None`: prompts are sent as text.
    fn encode(&self, _model: &str, _text: &str, _place: Place) -> Option<Call> {
        None
    }

    /// Reads the tokens from the answer.
    fn encoded(&self, _answer: &Value) -> Option<Vec<u32>> {
        None
    }

    /// Requests a continuation, as a stream.
    fn stretch(&self, stretch: &Stretch<'_>) -> Call;

    /// Requests, as a stream, that a text be computed ahead. The generated text is not used; a server that allows it is
    /// asked to generate none.
    fn ahead(&self, stretch: &Stretch<'_>) -> Call {
        self.stretch(stretch)
    }

    /// Requests the model's probabilities of the tokens `ids[from..]`. `None`: the server does not report them.
    fn odds(&self, _model: &str, _ids: &[u32], _from: usize) -> Option<Call> {
        None
    }

    /// Reads them from the answer, with their cost.
    fn odds_told(&self, _answer: &Value, _ids: &[u32], _from: usize) -> Option<Told> {
        None
    }

    /// Reads an event of the stream. Returns `None` if the event is not in this dialect.
    fn chunk(&self, event: &Value) -> Option<Chunk>;

    /// The fields of [`Sampling`] that it knows besides `temperature` and `top_p`.
    fn knows(&self) -> &'static [&'static str];

    /// A path that answers, at no cost, whether the server is alive.
    fn health(&self) -> &'static str {
        "/health"
    }
}

/// Returns the dialect of a kind.
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

/// Returns the kind of a server from the owner that it lists for its models. Ollama lists the model's maker there.
pub(crate) fn kind_of(owned_by: &str) -> Option<ServerKind> {
    match owned_by {
        "llamacpp" => Some(ServerKind::LlamaCpp),
        "vllm" => Some(ServerKind::Vllm),
        "sglang" => Some(ServerKind::Sglang),
        _ => None,
    }
}

/// Reads the block size of vLLM's prefix cache, in tokens, from its metrics.
pub(crate) fn block_in_metrics(metrics: &str) -> Option<u32> {
    let labels = metrics.lines().find_map(|line| line.strip_prefix("vllm:cache_config_info{"))?;
    let size = labels.split(',').find_map(|label| label.strip_prefix("block_size=\""))?;
    let tokens = size.split('"').next()?.parse().ok()?;
    (tokens > 0).then_some(tokens)
}

/// How many of the likeliest tokens are requested for each position. Several, because control tokens, which must not be
/// written, may be among them.
const LIKELIEST: usize = 5;

/// A model's probabilities of some tokens, and the cost of the request.
pub(crate) type Told = (Vec<TokenOdds>, Usage);

/// A prompt as the server rendered it.
#[derive(Debug, PartialEq)]
pub(crate) enum Rendered {
    Text(String),
    Ids(Vec<u32>),
}

/// The position of a text, which decides whether a begin-of-text token is added and whether control tokens in it are
/// parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the start.
    Prompt,
    /// After other text.
    Committed,
}

/// The text of a session that is to be continued.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PromptForm<'a> {
    Ids(&'a [u32]),
    Text(&'a str),
    /// A conversation, and the answer so far.
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

/// A requested continuation.
#[derive(Debug)]
pub(crate) struct Stretch<'a> {
    pub(crate) model: &'a str,
    pub(crate) prompt: PromptForm<'a>,
    pub(crate) max_tokens: u32,
    /// The longest session in tokens.
    pub(crate) context_tokens: u32,
    pub(crate) seed: u64,
    pub(crate) sampling: &'a Sampling,
    /// The session's slot on the server, if it has one.
    pub(crate) slot: Option<u32>,
}

impl Stretch<'_> {
    /// Returns a seed that every server accepts: 31 bits, so it never has the value that means "random".
    fn seed(&self) -> u32 {
        ((self.seed ^ (self.seed >> 32)) as u32) & 0x7fff_ffff
    }

    /// The body for OpenAI's completions route.
    fn openai(&self) -> Value {
        with(self.openai_fields(), json!({ "prompt": self.prompt.json() }))
    }

    /// The fields that all of OpenAI's completion routes share. All are sent, because servers choose their own
    /// defaults.
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

/// Converts a number to the decimal that a person wrote: 0.6, and not its exact 32-bit value.
fn exact(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

/// 1 turns it off on every server.
fn top_p(sampling: &Sampling) -> f64 {
    if sampling.top_p == 0.0 { 1.0 } else { exact(sampling.top_p) }
}

/// 1 turns it off on every server.
fn repetition_penalty(sampling: &Sampling) -> f64 {
    if sampling.repetition_penalty == 0.0 { 1.0 } else { exact(sampling.repetition_penalty) }
}

/// Returns the first field that is set and that the server does not know.
pub(crate) fn unknown_field(dialect: &dyn Dialect, sampling: &Sampling) -> Option<&'static str> {
    let used = [
        ("top_k", sampling.top_k != 0),
        ("min_p", sampling.min_p != 0.0),
        ("repetition_penalty", repetition_penalty(sampling) != 1.0),
    ];
    let unknown = |(name, used): &(&'static str, bool)| *used && !dialect.knows().contains(name);
    used.into_iter().find(unknown).map(|(name, _)| name)
}

/// Reads a list of token ids.
fn ids(value: &Value) -> Option<Vec<u32>> {
    let id = |id: &Value| u32::try_from(id.as_u64()?).ok();
    value.as_array()?.iter().map(id).collect()
}

/// Reads a count, if there is one.
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
