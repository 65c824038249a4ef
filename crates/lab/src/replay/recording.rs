//! What replay keeps of a journal: who was asked in which order, what each step cost, and how much text there was.
//!
//! Plain values. What does not live here: how a journal is read and judged (`reader`), links and simulated time.

use std::{sync::Arc, time::Duration};

use answer::{Question, Settings};
use thinking::{
    policy::{End, Limited, Limits, Role},
    thinker::{FinishReason, ModelCard, Timing},
};

use super::{
    policy::{RecordedPolicy, Turn},
    warming::Warming,
};

/// What a journal was recorded over, which says what the time is that no node accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedOver {
    /// Loopback: that time is the programs' own handling of messages, which every link has too. It is kept.
    Loopback,
    /// Any other link: it is that link's, and is left out, with what the programs took to handle messages.
    Link,
}

/// A recorded answer, ready to be re-timed over any link, any number of times.
#[derive(Debug, Clone)]
pub struct Recording {
    pub(super) question: Question,
    /// Tells its draws from those of other questions.
    pub(super) draw: u64,
    pub(super) settings: Settings,
    /// What its takeovers may cost, as far as time decides it.
    pub(super) limits: Limits,
    /// What the policy did.
    pub(super) turns: Arc<[Turn]>,
    pub(super) end: End,
    pub(super) prompt_bytes: usize,
    /// The size of the small node's watch in a message.
    pub(super) watch_bytes: usize,
    /// Both nodes have the same tokenizer, so that ids travel with text.
    pub(super) share_ids: bool,
    pub(super) small: NodeCosts,
    /// Absent where the policy had no use for one.
    pub(super) large: Option<NodeCosts>,
    /// In the order in which they were made.
    pub(super) asks: Vec<RecordedAsk>,
}

/// What a node's session cost beside its proposals.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeCosts {
    pub(super) name: String,
    /// From the question's arrival until it was accepted.
    pub(super) accept_us: u64,
    pub(super) card: ModelCard,
    pub(super) prompt_tokens: u32,
    pub(super) cached_tokens: u32,
    pub(super) warming: Warming,
}

/// An ask, what came of it and what it cost.
#[derive(Debug, Clone)]
pub(super) struct RecordedAsk {
    pub(super) number: u32,
    pub(super) role: Role,
    pub(super) max_tokens: u32,
    pub(super) ended: AskEnd,
    /// All of the proposal; what was not kept is filler of its length.
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
    pub(super) reason: FinishReason,
    pub(super) tokens: u32,
    pub(super) prefill_tokens: u32,
    pub(super) timing: Timing,
    /// From the moment when the node turns to it to its first text, and from there to its end; with the handling of
    /// messages where that is kept.
    pub(super) first_us: u64,
    pub(super) rest_us: u64,
    /// The handling in the two.
    pub(super) handling_us: u64,
}

/// What became of an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskEnd {
    /// Its node came to its end.
    Finished,
    /// It was an overlap, and the large node was first, so long after the ask.
    Overtaken { after_us: u64 },
    /// It was given up, because its first text was late.
    GivenUp,
}

/// A piece of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Time since the first text.
    pub(super) after_us: u64,
    /// Where it ends, in bytes of the proposal.
    pub(super) end: usize,
    pub(super) tokens: u32,
    /// The first bytes of the proposal that no rule could cut any more.
    pub(super) settled: usize,
}

impl Recording {
    /// The question's id.
    pub fn question(&self) -> &str {
        &self.question.id
    }

    /// What in it was decided by the time that something took, if anything was.
    pub(crate) fn decided_by_time(&self) -> Option<&'static str> {
        let Limits { deadline, overlap_tokens, targets, .. } = self.limits;
        let limits = [
            (deadline.is_some(), "a takeover's deadline"),
            (overlap_tokens.is_some(), "an overlap"),
            (targets.latency.is_some(), "a target for the latency"),
        ];
        limits.into_iter().find(|(is_set, _)| *is_set).map(|(_, what)| what)
    }

    /// How long the whole answer may take.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.question.deadline
    }

    /// The recorded policy, within the limits that time decides.
    pub(super) fn policy(&self) -> Limited {
        let inner = RecordedPolicy::new(Arc::clone(&self.turns));
        Limited::new(Box::new(inner), self.limits, self.question.max_tokens)
    }
}
