//! The progress reports that an observer of an answer receives, in order. The journal writes them and the renderer
//! shows them; a replayed journal and a live answer look the same to both.

use serde::{Deserialize, Serialize};
pub use thinking::transcript::{Correction, Writer};
use thinking::{
    policy::{Role, Why},
    thinker::{Code, FinishReason, ModelCard, Timing},
    trigger::TriggerMatch,
};

pub use crate::delta_log::{DeltaLog, LoggedDelta};
use crate::{account::Summary, proposal::FIRST_OVERLAP};

/// Watches an answer being written.
pub trait Observer: Send {
    /// Takes a report. Must not block, since the answer waits for it.
    fn see(&mut self, stamped: &Stamped);
}

/// A report with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Microseconds since the question was asked; never decreases.
    pub at_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub progress: Progress,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Progress {
    /// A node accepted the question.
    Opened(Box<NodeOpened>),
    /// A node was asked to write.
    Ask(Asked),
    /// Committed text, shown once and never changed. Pieces follow each other without gaps.
    Text(Text),
    /// A node finished what it was asked for.
    Finished(Box<NodeFinished>),
    /// A proposal was cut to what is kept; the rest is forgotten.
    Kept(Kept),
    /// A node has committed text in its cache.
    Warmed(NodeWarmed),
    /// A takeover's first text was late, or no large node is available; the small node continues in its place.
    Abandoned(Abandoned),
    /// The large node objects to what the small one wrote.
    Objected(Box<Objected>),
    /// Verdicts were late: what was written was accepted without them.
    Unreviewed(Abandoned),
    /// No large node is left; the small one continues without it.
    Degraded {
        /// One line for a person.
        reason: String,
    },
    /// A large node is back.
    Rejoined(Rejoined),
    /// A node's text differed from ours and was sent again as a whole.
    Repaired {
        /// Whose text it was.
        role: Role,
        /// How much text was sent.
        committed_bytes: u64,
    },
    /// A node was lost, and the next one of its role continues.
    Resumed(Box<Resumed>),
    /// A second large node was asked for a takeover whose first text is late.
    Hedged(Hedged),
    /// The second node had text first, and continues.
    HedgeWon(Hedged),
    /// The answer is over.
    Ended(Box<Summary>),
}

/// A node accepted the question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeOpened {
    /// Its role.
    pub role: Role,
    /// Its name, usually its URL.
    pub node: String,
    /// What it serves.
    pub card: ModelCard,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// How many tokens were cached.
    pub cached_tokens: u32,
    /// Time from our request to its answer.
    pub open_us: u64,
}

/// A node was asked to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Number of the ask, from 0.
    pub ask: u32,
    /// Who was asked.
    pub role: Role,
    /// Why.
    pub why: Why,
    /// The most tokens to write.
    pub max_tokens: u32,
    /// Whether all of it may be forgotten.
    pub provisional: bool,
    /// Seeds its draws.
    pub seed: u64,
    /// Length of the committed text that it continues.
    pub committed_bytes: u64,
}

impl Asked {
    /// Returns whether it is written while the large node is waited for.
    pub fn is_overlap(&self) -> bool {
        self.ask >= FIRST_OVERLAP
    }
}

/// Committed text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// Who wrote it.
    pub writer: Writer,
    /// Why its writer wrote it.
    pub why: Why,
    /// The text.
    pub text: String,
    /// The text of the small model that it replaces, if a correction begins with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
}

impl Text {
    /// Text that is not a correction.
    pub fn new(writer: Writer, why: Why, text: impl Into<String>) -> Self {
        Text { writer, why, text: text.into(), correction: None }
    }

    /// Returns whether more text continues this text: it does if writer and reason are the same. A correction starts a
    /// new text.
    pub fn goes_on(&self, more: &Text) -> bool {
        (self.writer, self.why) == (more.writer, more.why) && more.correction.is_none()
    }
}

/// A node finished what it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFinished {
    /// Number of the ask.
    pub ask: u32,
    /// Who wrote it.
    pub role: Role,
    /// "end_of_text", "max_tokens", "stop", "trigger", "cancelled", "deadline", "context_full".
    pub reason: String,
    /// The trigger, if that was the reason; positions are in bytes of the proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerMatch>,
    /// How many tokens were generated.
    pub tokens: u32,
    /// Bytes of the proposal.
    pub bytes: u64,
    /// Tokens that had to be prefilled after it was asked.
    pub prefill_tokens: u32,
    /// Where the time went on the node.
    pub timing: Timing,
    /// Time from the ask to its first text, as seen here; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_text_us: Option<u64>,
    /// Time from the ask to its end, as seen here.
    pub wall_us: u64,
    /// The pieces in which it arrived. Empty in journals from before they were recorded, or if a node was lost
    /// meanwhile.
    #[serde(default, skip_serializing_if = "DeltaLog::is_empty")]
    pub deltas: DeltaLog,
}

impl NodeFinished {
    /// Returns why it ended, as its node reported it; `None` if the name is unknown. A stop text is assumed to end
    /// where the proposal does.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        Some(match self.reason.as_str() {
            "end_of_text" => FinishReason::EndOfText,
            "max_tokens" => FinishReason::MaxTokens,
            "stop" => FinishReason::Stop { end: self.bytes },
            "trigger" => FinishReason::Trigger(self.trigger.clone()?),
            "cancelled" => FinishReason::Cancelled,
            "deadline" => FinishReason::Deadline,
            "context_full" => FinishReason::ContextFull,
            _ => return None,
        })
    }
}

/// The large node objects to what the small one wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Objected {
    /// Number of the ask that wrote the text.
    pub ask: u32,
    /// Where the rejected token begins, in bytes of the committed text.
    pub at_byte: u64,
    /// The rejected token, cut short if it is long; empty if the objection is to the end of the answer.
    pub stood: String,
    /// The large model's replacement; absent if it would have ended the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// By how much the large model's likeliest token is more likely, in nats.
    pub gap: f32,
    /// How many tokens are more likely than the rejected one.
    pub rank: u32,
    /// The rejected token's log-probability, in nats.
    pub log_p: f32,
    /// How many tokens the replacement has.
    pub tokens: u32,
}

/// A takeover was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Abandoned {
    /// Number of the ask.
    pub ask: u32,
    /// Time since the ask.
    pub waited_us: u64,
}

/// A takeover was asked of a second node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hedged {
    /// Number of the ask.
    pub ask: u32,
    /// The second node's name.
    pub node: String,
    /// Time since the ask.
    pub waited_us: u64,
}

/// A proposal was cut to what is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Number of the ask.
    pub ask: u32,
    /// Whose proposal.
    pub role: Role,
    /// Bytes kept.
    pub bytes: u64,
    /// Tokens kept.
    pub tokens: u32,
    /// Tokens forgotten.
    pub discarded_tokens: u32,
}

/// A node has committed text in its cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeWarmed {
    /// Which node.
    pub role: Role,
    /// Length of its committed text.
    pub committed_bytes: u64,
    /// How many tokens the new text has.
    pub tokens: u32,
    /// How many of them were computed.
    pub prefill_tokens: u32,
    /// How long that took.
    pub prefill_us: u64,
}

/// A large node that was lost has accepted a session again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejoined {
    /// Its name.
    pub node: String,
    /// Time since its loss.
    pub away_us: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Length of the committed text that it was given.
    pub committed_bytes: u64,
}

/// A node was lost, and the next one of its role continues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// The role. Not written for the small one, as in journals from before large nodes had successors.
    #[serde(default = "small", skip_serializing_if = "is_small")]
    pub role: Role,
    /// The node that was lost.
    pub from: String,
    /// What kind of failure it was.
    pub code: Code,
    /// The failure in one line.
    pub reason: String,
    /// The node that continues.
    pub to: String,
    /// Length of the committed text that it was given, or will be when it is asked.
    pub committed_bytes: u64,
}

fn small() -> Role {
    Role::Small
}

fn is_small(role: &Role) -> bool {
    *role == Role::Small
}

#[cfg(test)]
mod tests {
    use thinking::{
        thinker::FinishReason::{self, *},
        trigger::{TriggerKind, TriggerMatch},
    };

    #[test]
    fn reasons_have_the_names_that_journals_of_before_have() {
        let kind = TriggerKind::Reflection;
        let found = TriggerMatch { kind, phrase: "wait".to_owned(), cut: 0, start: 0, end: 4 };
        let reasons: [FinishReason; 7] = [
            EndOfText,
            MaxTokens,
            Stop { end: 4 },
            Trigger(found),
            Cancelled,
            Deadline,
            ContextFull,
        ];
        assert_eq!(
            reasons.each_ref().map(<&str>::from).join(" "),
            "end_of_text max_tokens stop trigger cancelled deadline context_full"
        );
    }
}
