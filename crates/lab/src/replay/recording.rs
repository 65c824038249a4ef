//! What replay keeps of a journal: which model was asked in which order, what each step cost, and how much text there
//! was.
//!
//! Plain values. Reading and judging journals is in `reader`; links and simulated time are elsewhere.

use std::{sync::Arc, time::Duration};

use answer::{Question, Settings};
use machines::SpeedCurve;
use thinking::{
    policy::{End, Limited, Limits, Role},
    thinker::{FinishReason, ModelCard, Timing},
};

use super::{
    policy::{RecordedPolicy, Turn},
    warming::Warming,
};

/// The kind of link that a journal was recorded over, which explains the time that no node accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedOver {
    /// Loopback: that time is the programs' own handling of messages, which occurs over every link. It is kept.
    Loopback,
    /// Any other link: that time is the link's. It is left out, together with the programs' handling of messages.
    Link,
}

/// A recorded answer, ready to be re-timed over any link, any number of times.
#[derive(Debug, Clone)]
pub struct Recording {
    pub(super) question: Question,
    /// Makes its random draws differ from those of other questions.
    pub(super) draw: u64,
    pub(super) settings: Settings,
    /// The limits on takeovers that depend on time.
    pub(super) limits: Limits,
    /// The actions of the policy.
    pub(super) turns: Arc<[Turn]>,
    pub(super) end: End,
    pub(super) prompt_bytes: usize,
    /// The size of the small node's watch in a message.
    pub(super) watch_bytes: usize,
    /// Whether both nodes have the same tokenizer, so that token ids are sent with text.
    pub(super) share_ids: bool,
    pub(super) small: NodeCosts,
    /// Absent if the policy did not use a large node.
    pub(super) large: Option<NodeCosts>,
    /// In the order in which they were made.
    pub(super) asks: Vec<RecordedAsk>,
}

/// What a node's session cost in addition to its proposals.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeCosts {
    pub(super) name: String,
    /// From the question's arrival until it was accepted.
    pub(super) accept_us: u64,
    pub(super) card: ModelCard,
    pub(super) prompt_tokens: u32,
    pub(super) cached_tokens: u32,
    pub(super) warming: Warming,
    /// How fast it computes; absent: as recorded.
    pub(super) speeds: Option<SpeedCurve>,
}

/// An ask, its result and its cost.
#[derive(Debug, Clone)]
pub(super) struct RecordedAsk {
    pub(super) number: u32,
    pub(super) role: Role,
    pub(super) max_tokens: u32,
    pub(super) ended: AskEnd,
    /// The whole proposal; discarded text is replaced by filler of the same length.
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
    pub(super) reason: FinishReason,
    pub(super) tokens: u32,
    pub(super) prefill_tokens: u32,
    pub(super) timing: Timing,
    /// From when the node starts on it to its first text, and from there to its end, including the handling of messages
    /// if that is kept.
    pub(super) first_us: u64,
    pub(super) rest_us: u64,
    /// The handling of messages in these two times.
    pub(super) handling_us: u64,
}

/// How an ask ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskEnd {
    /// Its node finished.
    Finished,
    /// It was an overlap, and the large node was first, this long after the ask.
    Overtaken { after_us: u64 },
    /// It was given up because its first text was late.
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
    /// How many bytes of the proposal were settled.
    pub(super) settled: usize,
}

impl Recording {
    /// Returns the question's id.
    pub fn question(&self) -> &str {
        &self.question.id
    }

    /// Returns what in the answer was decided by elapsed time, if anything was.
    pub(crate) fn decided_by_time(&self) -> Option<&'static str> {
        let Limits { deadline, overlap_tokens, targets, .. } = self.limits;
        let limits = [
            (deadline.is_some(), "a takeover's deadline"),
            (overlap_tokens.is_some(), "an overlap"),
            (targets.latency.is_some(), "a target for the latency"),
        ];
        limits.into_iter().find(|(is_set, _)| *is_set).map(|(_, what)| what)
    }

    /// Returns how long the whole answer may take.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.question.deadline
    }

    /// Returns the recorded policy, within the limits that depend on time.
    pub(super) fn policy(&self) -> Limited {
        let inner = RecordedPolicy::new(Arc::clone(&self.turns));
        Limited::new(Box::new(inner), self.limits, self.question.max_tokens)
    }
}
