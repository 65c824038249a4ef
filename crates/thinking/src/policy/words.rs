//! What is said between a policy and the conductor: events, actions, and why a stretch is written by whom.

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
    /// The other writer.
    pub fn other(self) -> Role {
        match self {
            Role::Small => Role::Large,
            Role::Large => Role::Small,
        }
    }
}

/// Why a stretch is written by whom it is written. It is displayed as marks and summaries spell it.
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
    /// Takeover because the small model reflects without end.
    #[strum(to_string = "excessive reflection")]
    ExcessiveReflection,
    /// Takeover by a baseline's schedule (random, periodic).
    Schedule,
    /// Takeover because the small model is unsure of a paragraph's first token.
    Entropy,
    /// What mark the large model gives a paragraph, and takeover because that is low.
    Score,
    /// Takeover because the answer goes round in a loop.
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
        /// Its tokens, an end-of-text token counted.
        tokens: u32,
        /// Why it ended.
        reason: &'a FinishReason,
    },
    /// The first text of the proposal that the large writer was last asked for is not here within
    /// [`Ask::first_text_within`], or the large writer is out and will send none. Nothing of it can be kept, and
    /// whoever asked goes on without it. [`Limited`](super::Limited) knows what to do then, whatever the policy inside.
    Late,
    /// The proposal last asked for is cut off here, because the answer's text goes round in a loop. It is still being
    /// written. Told where [`Limited::cuts_loops`](super::Limited::cuts_loops); it knows what to do then, whatever the
    /// policy inside.
    Looped {
        /// All of it that is shown.
        text: &'a str,
        /// Its tokens.
        tokens: u32,
    },
    /// The large writer objects to what the small one wrote for the proposal last asked for, which may be complete or
    /// still being written. Told where [`Limited::review`](super::Limited::review); it knows what to do then, whatever
    /// the policy inside.
    Objected {
        /// The proposal's text before the place; all of it is shown.
        text: &'a str,
        /// Its tokens.
        tokens: u32,
        /// What the large writer would have there. `None`: the end of the answer.
        instead: Option<&'a str>,
        /// The tokens of that.
        instead_tokens: u32,
    },
    /// The text last inserted is committed.
    Inserted {
        /// The tokens it took.
        tokens: u32,
    },
}

/// What to do; actions are carried out in order. A step's last action is `Insert`, `Ask`, `Overlap`, `Overrule` or
/// `End`; only after [`PolicyEvent::Late`] of an ask with an overlap may it be another, when what was written meanwhile
/// goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Keep the first bytes of this writer's open proposal and forget the rest; one that is still being written is
    /// cancelled. The other writer's session is given the kept text.
    Keep {
        /// Whose proposal.
        role: Role,
        /// How much of it.
        bytes: u64,
    },
    /// Keep the first bytes of the small writer's proposal, and put there what the large one would have, by its last
    /// objection.
    Correct {
        /// How much of the proposal.
        bytes: u64,
    },
    /// Let stand what the large writer objects to. The proposal goes on.
    Overrule,
    /// Commit text that no model wrote. Answered by [`PolicyEvent::Inserted`].
    Insert {
        /// The text.
        text: String,
        /// Why.
        why: Why,
    },
    /// Ask a writer to go on. Answered by [`PolicyEvent::Finished`], [`PolicyEvent::Late`] or [`PolicyEvent::Looped`].
    Ask(Ask),
    /// Let the small writer write on provisionally while the large one, just asked, has no text. If the large
    /// writer's first text (or its end) comes first, the provisional text is dropped and no event tells of it. If the
    /// provisional stretch ends first, the large writer is late: [`PolicyEvent::Late`] comes, and then, unless the text
    /// is dropped, the stretch's [`PolicyEvent::Finished`]. Where the large writer is late for
    /// [`Ask::first_text_within`], the stretch goes on after [`PolicyEvent::Late`] as an ask that is not provisional.
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
    /// Greatest number of tokens.
    pub max_tokens: u32,
    /// Texts that end it.
    pub stop: Vec<String>,
    /// The trigger watch.
    pub watch: Option<Watch>,
    /// Whether the policy may still forget all of it: nothing of a provisional stretch is shown or
    /// sent to the other writer before `Keep`, but with an aside. Of any other stretch the settled bytes are.
    pub provisional: bool,
    /// How long its first text may take; after that it is given up. Without, as long as its node gives signs.
    pub first_text_within: Option<Duration>,
    /// Tell the entropy of its first token, where that is a paragraph's: [`Measured::first_token_entropy`].
    pub report_entropy: bool,
    /// Only of the large writer, and provisional: it goes on from this text, behind the answer and what the small
    /// writer has in hand. Neither this text nor what it writes is of the answer; of that nothing can be kept.
    pub aside: Option<String>,
}

impl Ask {
    /// Asks for so many tokens without conditions.
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

/// What a policy needs that not every node can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The small node tells entropies: [`Ask::report_entropy`].
    Entropies,
    /// The large node takes text back that it was given: [`Ask::aside`].
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
    /// Its text goes round in a loop.
    Loop,
    /// A stop text followed.
    Stop,
}

/// What was measured of an answer up to an event, for policies that keep to a time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measured {
    /// Since the question was asked.
    pub elapsed: Duration,
    /// How long it took to open the session on the large node, or takes already.
    pub large_opened: Option<Duration>,
    /// Of the proposal whose end the event tells: from the ask to its first text, if it had any and nothing went wrong.
    pub first_text: Option<Duration>,
    /// Of the same proposal, or the one that is late: from the ask to now.
    pub wall: Duration,
    /// Of the same proposal: the entropy of its first token in nats, where it was asked for and is told.
    pub first_token_entropy: Option<f32>,
}

/// Decides who writes next and how far. Pure and total.
pub trait Policy: Send {
    /// Takes what was measured up to the event that comes next. Most policies look at text alone.
    fn measured(&mut self, _: &Measured) {}

    /// What it needs that not every node can.
    fn need(&self) -> Option<Need> {
        None
    }

    /// How many takeovers were skipped because they were beyond a target.
    fn passed_over(&self) -> u32 {
        0
    }

    /// Takes an event, returns the actions that follow from it.
    fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action>;
}
