//! What a policy and the conductor exchange: events, actions, and the reason for each stretch.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::Display;

use crate::{thinker::FinishReason, trigger::Watch};

/// The two writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// The small model, near the user.
    Small,
    /// The large model, on the server.
    Large,
}

impl Role {
    /// Returns the other writer.
    pub fn other(self) -> Role {
        match self {
            Role::Small => Role::Large,
            Role::Large => Role::Small,
        }
    }
}

/// Why a stretch is written by its writer. Displays as marks and summaries spell it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "lowercase")]
pub enum Why {
    /// The writer's ordinary turn.
    Turn,
    /// A probe: what would the small model write after this paragraph break?
    Probe,
    /// Takeover: the first stretch of an answer, for a small model that does not reason.
    Begin,
    /// Takeover after an affirmation.
    Affirmation,
    /// Takeover after a reflection.
    Reflection,
    /// Takeover after, or extended by, a verification.
    Verification,
    /// Takeover because the small model reflects too often.
    #[strum(to_string = "excessive reflection")]
    ExcessiveReflection,
    /// Takeover by a baseline's schedule (random, periodic).
    Schedule,
    /// Takeover because the small model is unsure of a paragraph's first token.
    Entropy,
    /// The large model's mark for a paragraph, and a takeover because that mark is low.
    Score,
    /// Takeover because the answer repeats itself in a loop.
    Loop,
    /// The large model would have written something else there.
    Review,
    /// The sentence a policy inserts; no model wrote it.
    Recap,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PolicyEvent<'a> {
    /// Both sessions are open. Always the first event.
    Started {
        /// Tokens of the prompt.
        prompt_tokens: u32,
    },
    /// The proposal last asked for is complete.
    Finished {
        /// Its text.
        text: &'a str,
        /// Its tokens, including an end-of-text token.
        tokens: u32,
        /// Why it ended.
        reason: &'a FinishReason,
    },
    /// The first text of the proposal last asked of the large writer did not arrive within [`Ask::first_text_within`],
    /// or the large writer is unreachable and will send none. Nothing of it can be kept, and the answer continues
    /// without it. [`Limited`](super::Limited) handles this event for every inner policy.
    Late,
    /// The proposal last asked for is cut off here because the answer's text repeats itself in a loop. The proposal is
    /// still being written. Sent only if [`Limited::cuts_loops`](super::Limited::cuts_loops); `Limited` handles this
    /// event for every inner policy.
    Looped {
        /// The proposal's text so far; all of it is shown.
        text: &'a str,
        /// Its tokens.
        tokens: u32,
    },
    /// The large writer objects to what the small one wrote for the proposal last asked for, which may be complete or
    /// still being written. Sent only if [`Limited::review`](super::Limited::review) is set; `Limited` handles this
    /// event for every inner policy.
    Objected {
        /// The proposal's text before the objection's place; all of it is shown.
        text: &'a str,
        /// Its tokens.
        tokens: u32,
        /// What the large writer would have written there; `None` if it would have ended the answer.
        instead: Option<&'a str>,
        /// How many tokens that is.
        instead_tokens: u32,
    },
    /// The text last inserted is committed.
    Inserted {
        /// How many tokens it took.
        tokens: u32,
    },
}

/// What to do. Actions are carried out in order. The last action of a step is `Insert`, `Ask`, `Overlap`, `Overrule` or
/// `End`. The one exception is a step after [`PolicyEvent::Late`] for an ask with an overlap: if the overlap's text
/// continues, the step may end with another action.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Keep the first bytes of this writer's open proposal and forget the rest; a proposal that is still being written
    /// is cancelled. The kept text is sent to the other writer's session.
    Keep {
        /// Whose proposal.
        role: Role,
        /// How much of it to keep, in bytes.
        bytes: u64,
    },
    /// Keep the first bytes of the small writer's proposal, and append what the large writer's last objection would
    /// have there.
    Correct {
        /// How much of the proposal to keep.
        bytes: u64,
    },
    /// Accept the text that the large writer objects to. The proposal continues.
    Overrule,
    /// Commit text that no model wrote. Answered by [`PolicyEvent::Inserted`].
    Insert {
        /// The text.
        text: String,
        /// Why.
        why: Why,
    },
    /// Ask a writer to continue. Answered by [`PolicyEvent::Finished`], [`PolicyEvent::Late`] or
    /// [`PolicyEvent::Looped`].
    Ask(Ask),
    /// Let the small writer write on provisionally until the large one, which was just asked, has text. If the large
    /// writer's first text (or its end) comes first, the provisional text is dropped without an event. If the
    /// provisional stretch ends first, the large writer is late: [`PolicyEvent::Late`] follows and then, unless the
    /// text is dropped, the stretch's [`PolicyEvent::Finished`]. If the large writer is late because of
    /// [`Ask::first_text_within`], the stretch continues after [`PolicyEvent::Late`] as an ask that is not provisional.
    Overlap(Ask),
    /// The answer is complete.
    End(End),
}

/// A request for a stretch of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Who writes.
    pub role: Role,
    /// Why.
    pub why: Why,
    /// The most tokens to write.
    pub max_tokens: u32,
    /// Texts that end the stretch.
    pub stop: Vec<String>,
    /// The trigger watch.
    pub watch: Option<Watch>,
    /// Whether the policy may still forget all of it. A provisional stretch is neither shown nor sent to the other
    /// writer before `Keep`, except for an aside. Of any other stretch the settled bytes are.
    pub provisional: bool,
    /// How long its first text may take before the ask is given up. `None`: as long as its node gives signs of life.
    pub first_text_within: Option<Duration>,
    /// Report the entropy of its first token, if that token begins a paragraph: [`Measured::first_token_entropy`].
    pub report_entropy: bool,
    /// Only for the large writer, and provisional: it continues from this text, placed after the answer and the small
    /// writer's open proposal. Neither this text nor what it writes is part of the answer, and none of what it writes
    /// can be kept.
    pub aside: Option<String>,
}

impl Ask {
    /// Asks for this many tokens without conditions.
    pub fn new(role: Role, why: Why, max_tokens: u32) -> Self {
        Ask {
            role,
            why,
            max_tokens,
            stop: Vec::new(),
            watch: None,
            provisional: false,
            first_text_within: None,
            report_entropy: false,
            aside: None,
        }
    }
}

/// What a policy needs that not every node supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The small node must report entropies: [`Ask::report_entropy`].
    Entropies,
    /// The large node must take back text that it was given: [`Ask::aside`].
    Asides,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// A model ended it.
    EndOfText,
    /// The token budget is spent.
    MaxTokens,
    /// A model's context is full.
    ContextFull,
    /// The deadline passed.
    Deadline,
    /// The caller cancelled.
    Cancelled,
    /// Its text repeats itself in a loop.
    Loop,
    /// A stop text followed.
    Stop,
}

/// What was measured of an answer up to an event, for policies with a time limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measured {
    /// Time since the question was asked.
    pub elapsed: Duration,
    /// How long it took to open the session on the large node, or has taken so far.
    pub large_opened: Option<Duration>,
    /// For the proposal whose end the event reports: the time from the ask to its first text, if it had any and nothing
    /// failed.
    pub first_text: Option<Duration>,
    /// For the same proposal, or the one that is late: the time from the ask to now.
    pub wall: Duration,
    /// For the same proposal: the entropy of its first token in nats, if requested and reported.
    pub first_token_entropy: Option<f32>,
}

/// Decides who writes next and how far. Implementations are pure and total.
pub trait Policy: Send {
    /// Takes what was measured up to the event that comes next. Most policies need only the text.
    fn measured(&mut self, _: &Measured) {}

    /// Returns what the policy needs that not every node supports.
    fn need(&self) -> Option<Need> {
        None
    }

    /// Returns how many takeovers were skipped because they were beyond a target.
    fn passed_over(&self) -> u32 {
        0
    }

    /// Takes an event and returns the actions that follow from it.
    fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action>;
}
