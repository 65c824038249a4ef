//! The `Thinker` port: anything that holds sessions of text and continues them.
//!
//! The local engine, a remote node, an upstream server and the scripted fake all implement it, and
//! all pass the same conformance kit. It is the one seam of the system: whatever stands behind it,
//! the coordinator drives it in the same way.
//!
//! # Contract
//!
//! A session is a pair of ordered channels: [`Command`]s in, [`Event`]s out. What is the same for
//! every implementation of points 1 to 5 is in [`crate::session`].
//!
//! 1. The first command is [`Command::Open`]. It is answered by [`Event::Opened`] when the prompt is
//!    accepted, and then by one [`Event::Warmed`].
//! 2. [`Command::Append`] and [`Command::Commit`] are answered by one `Warmed` each.
//!    [`Command::Propose`] is answered by any number of [`Event::Delta`]s and one
//!    [`Event::Finished`]. [`Command::Cancel`] has no answer of its own.
//! 3. Commands queue and are carried out in order; a caller may send several without waiting. The
//!    queue is bounded: a full one makes the sender wait. `Cancel` ends the `Propose` that it
//!    directly follows within one decode step; anywhere else it does nothing.
//! 4. After `Finished` the proposal is open. `Commit` keeps its first N bytes, on a character's
//!    edge, and forgets the rest. `Append` and `Propose` while a proposal is open, `Commit` while
//!    none is, or a second `Open`, fail the session with [`Code::InvalidArgument`].
//! 5. The text is the only truth. The deltas' texts in order are the proposal; no character is
//!    split; bytes below [`Delta::settled_bytes`] are never cut by a rule of this proposal.
//!    `Warmed` carries the length and the [`TextHash`] of the whole committed text.
//! 6. The same prompt, committed text, sampling and [`Propose::seed`] give the same proposal on the
//!    same Thinker, whatever the session went through before, as far as the committed text has the
//!    same tokens: own text is kept as it was generated, and a session opened anew encodes it.
//! 7. [`Event::Failed`] ends the session: no event follows, the event channel closes.
//! 8. Dropping the event receiver gives the session up: compute stops within one decode step.
//!    Dropping only the command sender lets the queued commands complete, then events end.
//! 9. A session opened with a [`Review`] judges what others write ([`crate::session::review`]). For the first token
//!    over the gap it says [`Event::Objection`], as soon as that is computed; from then on it computes nothing until
//!    [`Command::Cut`]: appends are answered, and a proposal ends at once as if it had been cancelled. Verdicts depend
//!    on the text alone, never on the pieces in which it came.
//! 10. [`Command::Cut`], between proposals, forgets all committed text behind a place, whoever wrote it. It is answered
//!     by one `Warmed`, before anything is judged that was appended behind it: what is objected to before that is about
//!     text that is gone.
//! 11. A Thinker that is not in the caller's process gives signs of life ([`Session::signs`]) while it has nothing else
//!     to tell: it computes, or waits for its turn. One that hangs gives none ([`Thinker::pulse`]).

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

/// Commands a session queues before its sender waits.
pub const COMMAND_QUEUE: usize = 64;
/// Events a session queues before the Thinker holds its output back.
pub const EVENT_QUEUE: usize = 256;

/// Anything that holds sessions of text and continues them. See the module for the contract.
pub trait Thinker: Send + Sync + 'static {
    /// Starts a session. Never fails and never waits: a Thinker that cannot serve answers the first
    /// command with [`Event::Failed`].
    fn session(&self) -> Session;

    /// The same for one of several clients: sessions of one may share what was computed for them, and
    /// those of two learn nothing of each other, from what they are told or from what is quick. Without
    /// sharing there is nothing to do.
    fn session_of(&self, client: ClientId) -> Session {
        let _ = client;
        self.session()
    }

    /// How often its own loop has gone round, where it has one: the number grows while it computes, and while it has
    /// nothing to do for an open session, at least every few seconds. Whoever serves it to others tells by this
    /// whether it hangs.
    fn pulse(&self) -> Option<u64> {
        None
    }

    /// Tokens that its key-value cache has room for, before it drops anything; `None` where that is not
    /// known.
    fn free_cache_tokens(&self) -> Option<u64> {
        None
    }

    /// What its tokenizer says, without a session; `None` where there is no tokenizer to ask.
    fn tokens(&self, query: TokenQuery) -> TokenFuture {
        let _ = query;
        Box::pin(async { Ok(None) })
    }

    /// The bytes to and from it so far, where it is reached over a network that counts them.
    fn traffic(&self) -> Option<Traffic> {
        None
    }
}

/// A client, as whoever serves a Thinker to others tells them apart. By default the process itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClientId(pub u64);

/// What crossed the network to a Thinker: of a node everything, with framing, heartbeats and TLS; of a server what HTTP
/// writes, without TLS and what a stream is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Towards it.
    pub sent_bytes: u64,
    /// From it.
    pub received_bytes: u64,
    /// Requests to it, where each question takes many; 0 where it takes one stream.
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
    /// Changes with every sign of life that is no event.
    pub signs: watch::Receiver<()>,
}

/// The Thinker's end of a session.
#[derive(Debug)]
pub struct SessionServer {
    /// Commands, in order.
    pub commands: mpsc::Receiver<Command>,
    /// Events; closed when the caller gave the session up.
    pub events: mpsc::Sender<Event>,
    /// Signs of life that are no events.
    pub signs: watch::Sender<()>,
}

impl Session {
    /// Makes the two ends of a session, with bounded queues.
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

/// What a caller asks of a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Opens the session.
    Open(Open),
    /// Adds committed text that somebody else wrote; prefilled at once.
    Append(Append),
    /// Continues the committed text.
    Propose(Propose),
    /// Keeps the first bytes of the open proposal and forgets the rest.
    Commit {
        /// How many bytes to keep; on a character's edge.
        bytes: u64,
    },
    /// Ends the proposal that it directly follows.
    Cancel,
    /// Forgets the committed text behind this place, and its cache.
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
    /// Committed text is in the cache.
    Warmed(Warmed),
    /// Somebody else's text departs from what the Thinker would have written.
    Objection(Box<Objection>),
    /// The session failed and is over.
    Failed(Failure),
}

/// Opens a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// Chosen by the caller; appears in logs.
    pub question_id: String,
    /// What the answer answers.
    pub prompt: Prompt,
    /// Committed text of the answer so far, to take a session up in the middle.
    pub committed: String,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Time left for the whole session; proposals still running then finish with
    /// [`FinishReason::Deadline`].
    pub deadline: Option<Duration>,
    /// How far the answer's thought is where its text begins: a prompt of messages is made to end so. Not known: as the
    /// model's chat template leaves it.
    pub thought: ThoughtStart,
    /// Judge what others write. Only where [`ModelCard::can_review`].
    pub review: Option<Review>,
}

/// How far the thought of an answer is where its text begins, which is what the prompt ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThoughtStart {
    /// Nobody said, or the prompt is raw.
    #[default]
    Unknown,
    /// The answer may begin with the mark that opens a thought.
    Unopened,
    /// The prompt ends within a thought.
    Open,
    /// The prompt ends behind a thought: the text is the answer proper.
    Over,
}

impl ThoughtStart {
    /// Whether nobody said.
    pub fn is_unknown(&self) -> bool {
        *self == ThoughtStart::Unknown
    }
}

/// What an answer answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A conversation; the Thinker applies its model's own chat template and opens the assistant's
    /// turn.
    Messages(Vec<Message>),
    /// Text that is used as it is.
    Raw(String),
}

impl Prompt {
    /// A user's question, after a system message where there is one.
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

/// Committed text that somebody else wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Append {
    /// The text.
    pub text: String,
    /// Its tokens, where the writer's tokenizer fingerprint equals this Thinker's; else empty. A session that reviews
    /// makes its own.
    pub token_ids: Vec<u32>,
    /// What is known of the place where the text ends; for a review.
    pub end: TextEnd,
    /// It stands, whatever a review would say of it.
    pub exempt: bool,
}

impl Append {
    /// A text of which more may follow, without tokens.
    pub fn text(text: impl Into<String>) -> Self {
        Append { text: text.into(), ..Append::default() }
    }
}

/// Asks for a continuation of the committed text.
#[derive(Debug, Clone, PartialEq)]
pub struct Propose {
    /// Greatest number of tokens; at least 1.
    pub max_tokens: u32,
    /// Texts that end the proposal, at the end of the token that completes one.
    pub stop: Vec<String>,
    /// Ends the proposal at the first trigger phrase after a paragraph break.
    pub watch: Option<Watch>,
    /// Seeds the draws of this proposal alone.
    pub seed: u64,
    /// Report the entropy of each paragraph's first token. Only where [`ModelCard::can_report_entropy`].
    pub report_entropy: bool,
}

/// The session is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What serves the session.
    pub card: ModelCard,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// How many tokens of the prompt and the committed text were already cached.
    pub cached_tokens: u32,
}

/// What a Thinker serves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelCard {
    /// A name for people: the file's or repository's.
    pub name: String,
    /// "llama", "qwen2", "qwen3".
    pub family: String,
    /// Number of weights.
    pub parameters: u64,
    /// "f32", "bf16", "Q4_K", ...
    pub quantisation: String,
    /// Longest session in tokens.
    pub context_tokens: u32,
    /// "cpu", "cuda:0", ...
    pub device: String,
    /// Equal where two tokenizers give the same ids for the same text.
    pub tokenizer_fingerprint: String,
    /// What its chat template leaves of an answer's thought.
    #[serde(default, skip_serializing_if = "ThoughtStart::is_unknown")]
    pub thought: ThoughtStart,
    /// Whether it takes [`Open::review`] and [`Command::Cut`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_review: bool,
    /// Whether it does what [`Propose::report_entropy`] asks for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_report_entropy: bool,
}

/// A piece of a proposal.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Delta {
    /// The text; whole characters.
    pub text: String,
    /// Tokens it stands for.
    pub tokens: u32,
    /// Their ids, where there are any.
    pub token_ids: Vec<u32>,
    /// The first bytes of the proposal that no rule of this proposal can cut any more.
    pub settled_bytes: u64,
    /// Entropy in nats of the model's distribution of a paragraph's first token, before the sampling
    /// rules.
    pub first_token_entropy: Option<f32>,
}

/// A proposal is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Why it ended.
    pub reason: FinishReason,
    /// Its length in tokens, an end-of-text token counted.
    pub tokens: u32,
    /// Its length in bytes.
    pub bytes: u64,
    /// Tokens that had to be prefilled before the first one could be made.
    pub prefill_tokens: u32,
    /// Tokens that were found cached by requests of this session since its last proposal, where each request gives a
    /// server the whole text; 0 of a Thinker that keeps its sessions itself.
    pub cached_tokens: u32,
    /// Where the time went.
    pub timing: Timing,
    /// Passes through the model for this session since it last told of any, in thousandths: one that several sessions
    /// share counts for each in part. 0 where they are not counted.
    pub passes_milli: u32,
}

/// Why a proposal ended. Its name is that of the journal.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its answer.
    EndOfText,
    /// `max_tokens` were made.
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
    /// Making tokens.
    pub decode_us: u64,
}

/// Committed text is in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warmed {
    /// Length of the whole committed text, the prompt not counted.
    pub committed_bytes: u64,
    /// Its hash.
    pub hash: TextHash,
    /// Tokens the newly committed text took.
    pub tokens: u32,
    /// How many were computed now.
    pub prefill_tokens: u32,
    /// The time that took, in microseconds.
    pub prefill_us: u64,
    /// The first bytes of the committed text that a review can no longer object to: they are judged, or not to be. 0
    /// without a review.
    pub reviewed_bytes: u64,
    /// As [`Finished::passes_milli`].
    pub passes_milli: u32,
}

/// FNV-1a, 64 bits, of committed text: cheap, incremental, the same in every language.
///
/// It tells drift from agreement between two ends that trust each other; it does not protect against
/// forgery. Source: <http://www.isthe.com/chongo/tech/comp/fnv/>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextHash(pub u64);

impl Default for TextHash {
    fn default() -> Self {
        TextHash(0xcbf2_9ce4_8422_2325)
    }
}

impl TextHash {
    /// The hash of a whole text.
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
