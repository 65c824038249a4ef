//! The `Thinker` port: anything that holds sessions of text and continues them.
//!
//! The local engine, a remote node, an upstream server and the scripted fake all implement it, and all pass the same
//! conformance kit. It is the only seam of the system: the coordinator drives every implementation in the same way.
//!
//! # Contract
//!
//! A session is a pair of ordered channels: [`Command`]s in, [`Event`]s out. [`crate::session`] implements what points
//! 1 to 5 require of every Thinker.
//!
//! 1. The first command is [`Command::Open`]. When the prompt is accepted, the Thinker answers with [`Event::Opened`]
//!    and then one [`Event::Warmed`].
//! 2. [`Command::Append`] and [`Command::Commit`] are answered by one `Warmed` each. [`Command::Propose`] is answered
//!    by any number of [`Event::Delta`]s and one [`Event::Finished`]. [`Command::Cancel`] has no answer of its own.
//! 3. Commands queue and are carried out in order; a caller may send several without waiting. The queue is bounded: a
//!    full one makes the sender wait. `Cancel` ends the `Propose` that directly precedes it, within one decode step.
//!    Anywhere else it does nothing.
//! 4. After `Finished` the proposal is open. `Commit` keeps its first N bytes, which must end on a character boundary,
//!    and forgets the rest. `Append` or `Propose` while a proposal is open, `Commit` while none is, and a second `Open`
//!    fail the session with [`Code::InvalidArgument`].
//! 5. The text is the only truth. The texts of the deltas, in order, are the proposal. No character is split. No rule
//!    of this proposal cuts bytes below [`Delta::settled_bytes`]. `Warmed` carries the length and the [`TextHash`] of
//!    the whole committed text.
//! 6. On the same Thinker, the same prompt, committed text, sampling and [`Propose::seed`] give the same proposal,
//!    whatever the session did before. This holds as long as the committed text has the same tokens: a session keeps
//!    its own text as it was generated, while one that is opened with that text encodes it.
//! 7. [`Event::Failed`] ends the session: no event follows, and the event channel closes.
//! 8. Dropping the event receiver gives the session up: compute stops within one decode step. If only the command
//!    sender is dropped, the queued commands complete and then the events end.
//! 9. A session opened with a [`Review`] judges what others write ([`crate::session::review`]). It sends
//!    [`Event::Objection`] for the first token over the gap, as soon as that is computed. From then until
//!    [`Command::Cut`] it computes nothing: appends are still answered, and a proposal ends at once as if cancelled.
//!    Verdicts depend on the text alone, never on the pieces in which it came.
//! 10. [`Command::Cut`], sent between proposals, forgets all committed text behind a place, whoever wrote it. It is
//!     answered by one `Warmed`, which comes before any verdict on text appended after the cut. An objection that
//!     arrives before that `Warmed` is therefore about text that no longer exists.
//! 11. A Thinker outside the caller's process gives signs of life ([`Session::signs`]) while it has nothing else to
//!     send, whether it computes or waits for its turn. One that hangs gives none ([`Thinker::pulse`]).

mod failure;
mod load;
mod review;
mod sampling;
mod tokens;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use tokio::sync::{mpsc, watch};

pub use self::{
    failure::{Code, Failure, Noticed},
    load::{Condition, Load, Serving},
    review::{Cut, Objection, Review, TextEnd},
    sampling::{BadSampling, Sampling},
    tokens::{TokenFuture, TokenInput, TokenQuery, TokenReply, TokenizerCard},
};
use crate::trigger::{TriggerMatch, Watch};

/// How many commands a session queues before its sender waits.
pub const COMMAND_QUEUE: usize = 64;
/// How many events a session queues before the Thinker holds its output back.
pub const EVENT_QUEUE: usize = 256;

/// Anything that holds sessions of text and continues them. The module documentation has the contract.
pub trait Thinker: Send + Sync + 'static {
    /// Starts a session. Never fails and never waits: a Thinker that cannot serve answers the first command with
    /// [`Event::Failed`].
    fn session(&self) -> Session;

    /// Starts a session for one of several clients. Sessions of the same client may share what was computed for them.
    /// Sessions of different clients must learn nothing of each other, neither from answers nor from timing. A Thinker
    /// that shares nothing needs no implementation of its own.
    fn session_of(&self, client: ClientId) -> Session {
        let _ = client;
        self.session()
    }

    /// Returns how many times the Thinker's own loop has run, if it has one. The number grows while the Thinker
    /// computes; while a session is open and there is nothing to do, it grows at least every few seconds. A server of
    /// the Thinker uses it to detect a hang.
    fn pulse(&self) -> Option<u64> {
        None
    }

    /// Returns how many more tokens its KV cache can hold before it drops anything; `None` if not known.
    fn free_cache_tokens(&self) -> Option<u64> {
        None
    }

    /// Asks its tokenizer, without a session. The answer is `None` if there is no tokenizer to ask.
    fn tokens(&self, query: TokenQuery) -> TokenFuture {
        let _ = query;
        Box::pin(async { Ok(None) })
    }

    /// Returns the bytes sent to and received from it so far, if it is reached over a network that counts them.
    fn traffic(&self) -> Option<Traffic> {
        None
    }
}

/// A client, as a server of a Thinker tells its clients apart. The default is the process itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClientId(pub u64);

/// What crossed the network to a Thinker. For a node this is everything, including framing, heartbeats and TLS. For an
/// upstream server it is what HTTP writes, without TLS and without the framing of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Requests to it, where one question takes many; 0 where it takes one stream.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub requests: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The caller's end of a session.
#[derive(Debug)]
pub struct Session {
    /// Where commands go in.
    pub commands: mpsc::Sender<Command>,
    /// Where events come out. Dropping it gives the session up.
    pub events: mpsc::Receiver<Event>,
    /// Changes with every sign of life that is not an event.
    pub signs: watch::Receiver<()>,
}

/// The Thinker's end of a session.
#[derive(Debug)]
pub struct SessionServer {
    /// The caller's commands, in order.
    pub commands: mpsc::Receiver<Command>,
    /// The events to send; closed when the caller gave the session up.
    pub events: mpsc::Sender<Event>,
    /// Where to signal life without sending an event.
    pub signs: watch::Sender<()>,
}

impl Session {
    /// Creates the two ends of a session, with bounded queues.
    pub fn channel() -> (Session, SessionServer) {
        let (commands_in, commands_out) = mpsc::channel(COMMAND_QUEUE);
        let (events_in, events_out) = mpsc::channel(EVENT_QUEUE);
        let (signs_in, signs_out) = watch::channel(());
        (
            Session { commands: commands_in, events: events_out, signs: signs_out },
            SessionServer { commands: commands_out, events: events_in, signs: signs_in },
        )
    }
}

/// What a caller asks a session to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Opens the session.
    Open(Open),
    /// Adds committed text that another writer wrote; it is prefilled at once.
    Append(Append),
    /// Continues the committed text.
    Propose(Propose),
    /// Keeps the first bytes of the open proposal and forgets the rest.
    Commit {
        /// How many bytes to keep; must end on a character boundary.
        bytes: u64,
    },
    /// Ends the proposal that directly precedes it.
    Cancel,
    /// Forgets the committed text behind a place, and its cache.
    Cut(Cut),
}

/// What a session answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The prompt is accepted.
    Opened(Box<Opened>),
    /// A piece of the proposal.
    Delta(Delta),
    /// The proposal is complete.
    Finished(Finished),
    /// Committed text is in the KV cache.
    Warmed(Warmed),
    /// Another writer's text departs from what the Thinker would have written.
    Objection(Box<Objection>),
    /// The session failed and is over.
    Failed(Failure),
}

/// Opens a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// Chosen by the caller; appears in logs.
    pub question_id: String,
    /// What to answer.
    pub prompt: Prompt,
    /// Committed text of the answer so far, to resume a session in the middle.
    pub committed: String,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Time left for the whole session; a proposal still running then finishes with [`FinishReason::Deadline`].
    pub deadline: Option<Duration>,
    /// The state of the answer's thought where its text begins; a prompt of messages is rendered to end that way. With
    /// [`ThoughtStart::Unknown`] the model's chat template decides.
    pub thought: ThoughtStart,
    /// Judge what others write. Requires [`ModelCard::can_review`].
    pub review: Option<Review>,
}

/// The state of an answer's thought where its text begins, that is, at the end of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThoughtStart {
    /// Not specified, or the prompt is raw.
    #[default]
    Unknown,
    /// The answer may begin with the mark that opens a thought.
    Unopened,
    /// The prompt ends inside a thought.
    Open,
    /// The prompt ends after a thought: the text is the answer proper.
    Over,
}

impl ThoughtStart {
    /// Returns whether the state is not specified.
    pub fn is_unknown(&self) -> bool {
        *self == ThoughtStart::Unknown
    }
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A conversation. The Thinker applies its model's own chat template and opens the assistant's turn.
    Messages(Vec<Message>),
    /// Text that is used unchanged.
    Raw(String),
}

impl Prompt {
    /// Builds the prompt of a user's question, with a system message if there is one.
    pub fn question(text: String, system: Option<String>) -> Self {
        let message = |role: &str, content| Message { role: role.to_owned(), content };
        let system = system.map(|system| message("system", system));
        Prompt::Messages(system.into_iter().chain([message("user", text)]).collect())
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// "system", "user" or "assistant".
    pub role: String,
    /// The message's text.
    pub content: String,
}

/// Committed text that another writer wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Append {
    /// The text.
    pub text: String,
    /// Its tokens, if the writer's tokenizer fingerprint equals this Thinker's; otherwise empty. A session that reviews
    /// makes its own.
    pub token_ids: Vec<u32>,
    /// Whether more text may follow; used by a review.
    pub end: TextEnd,
    /// Whether the text stands even if a review would object to it.
    pub exempt: bool,
}

impl Append {
    /// An append of text that may continue, without tokens.
    pub fn text(text: impl Into<String>) -> Self {
        Append { text: text.into(), ..Append::default() }
    }
}

/// Asks for a continuation of the committed text.
#[derive(Debug, Clone, PartialEq)]
pub struct Propose {
    /// The most tokens to generate; at least 1.
    pub max_tokens: u32,
    /// Texts that end the proposal. It ends with the token that completes one.
    pub stop: Vec<String>,
    /// Ends the proposal at the first trigger phrase after a paragraph break.
    pub watch: Option<Watch>,
    /// Seeds the draws of this proposal only.
    pub seed: u64,
    /// Report the entropy of each paragraph's first token. Requires [`ModelCard::can_report_entropy`].
    pub report_entropy: bool,
}

/// The session is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What serves the session.
    pub card: ModelCard,
    /// The prompt's length in tokens.
    pub prompt_tokens: u32,
    /// How many tokens of the prompt and the committed text were already cached.
    pub cached_tokens: u32,
}

/// What a Thinker serves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelCard {
    /// A name for people: that of the file or repository.
    pub name: String,
    /// "llama", "qwen2", "qwen3".
    pub family: String,
    /// Number of weights.
    pub parameters: u64,
    /// "f32", "bf16", "Q4_K", ...
    pub quantisation: String,
    /// The longest session, in tokens.
    pub context_tokens: u32,
    /// "cpu", "cuda:0", ...
    pub device: String,
    /// Two tokenizers with equal fingerprints give the same ids for the same text.
    pub tokenizer_fingerprint: String,
    /// The state of the thought in which its chat template starts an answer.
    #[serde(default, skip_serializing_if = "ThoughtStart::is_unknown")]
    pub thought: ThoughtStart,
    /// Whether it supports [`Open::review`] and [`Command::Cut`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_review: bool,
    /// Whether it supports [`Propose::report_entropy`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_report_entropy: bool,
}

/// A piece of a proposal.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Delta {
    /// The text, in whole characters.
    pub text: String,
    /// How many tokens it is.
    pub tokens: u32,
    /// Their ids, if there are any.
    pub token_ids: Vec<u32>,
    /// How many of the proposal's first bytes no rule of this proposal can cut any more.
    pub settled_bytes: u64,
    /// If the delta has a paragraph's first token: the entropy of the model's distribution for it, in nats, before the
    /// sampling rules.
    pub first_token_entropy: Option<f32>,
}

/// A proposal is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Why it ended.
    pub reason: FinishReason,
    /// Its length in tokens, including an end-of-text token.
    pub tokens: u32,
    /// Its length in bytes.
    pub bytes: u64,
    /// Tokens that had to be prefilled before the first one could be generated.
    pub prefill_tokens: u32,
    /// Tokens that requests of this session found cached since its last proposal, where each request sends the whole
    /// text to a server; 0 for a Thinker that keeps its sessions itself.
    pub cached_tokens: u32,
    /// Where the time went.
    pub timing: Timing,
    /// Passes through the model for this session since it last reported any, in thousandths. A pass that several
    /// sessions share is divided among them. 0 where passes are not counted.
    pub passes_milli: u32,
}

/// Why a proposal ended. The journal uses the same names.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its answer.
    EndOfText,
    /// `max_tokens` tokens were generated.
    MaxTokens,
    /// A stop text was completed.
    Stop {
        /// Where the stop text ends, in bytes of the proposal.
        end: u64,
    },
    /// The watch found a trigger phrase.
    Trigger(TriggerMatch),
    /// The caller cancelled.
    Cancelled,
    /// The session's deadline passed.
    Deadline,
    /// The session reached the model's context length.
    ContextFull,
}

/// Where the time of a proposal went on the node, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// Waiting for its turn.
    pub queue_us: u64,
    /// Prefilling what was not yet cached.
    pub prefill_us: u64,
    /// Generating tokens.
    pub decode_us: u64,
}

/// Committed text is in the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warmed {
    /// Length of the whole committed text, without the prompt.
    pub committed_bytes: u64,
    /// Its hash.
    pub hash: TextHash,
    /// Tokens of the newly committed text.
    pub tokens: u32,
    /// How many tokens were computed for this event.
    pub prefill_tokens: u32,
    /// How long that took, in microseconds.
    pub prefill_us: u64,
    /// How many of the committed text's first bytes a review can no longer object to, because they are judged or exempt
    /// from judgement. 0 without a review.
    pub reviewed_bytes: u64,
    /// See [`Finished::passes_milli`].
    pub passes_milli: u32,
}

/// FNV-1a, 64 bits, of committed text: cheap, incremental, the same in every language.
///
/// It detects drift between two ends that trust each other; it does not protect against forgery. Source:
/// <http://www.isthe.com/chongo/tech/comp/fnv/>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextHash(pub u64);

impl Default for TextHash {
    fn default() -> Self {
        TextHash(0xcbf2_9ce4_8422_2325)
    }
}

impl TextHash {
    /// Returns the hash of a whole text.
    pub fn of(text: &str) -> Self {
        let mut hash = TextHash::default();
        hash.push(text);
        hash
    }

    /// Adds text at the end.
    pub fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
