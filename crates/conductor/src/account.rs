//! What an answer cost: tokens, takeovers, time and bytes. Plain numbers; the ledger collects them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thinking::{
    policy::{End, Role, Why},
    shown::{deserialize_line, deserialize_optional_line},
    thinker::{Failure, ThoughtStart},
};

use crate::question::Traffic;

/// What an answer cost, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Why it ended; absent if it failed.
    pub end: Option<End>,
    /// The stop text that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why the large node had no part in some of it, in one line; the first reason.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "deserialize_optional_line"
    )]
    pub degraded: Option<String>,
    /// The state of the thought where the answer's text begins, as the small model's template leaves it.
    #[serde(default, skip_serializing_if = "ThoughtStart::is_unknown")]
    pub thought: ThoughtStart,
    /// Tokens of the given beginning of the answer, as the small node counted them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub given_tokens: u64,
    /// The small model's totals.
    pub small: ModelTotals,
    /// The large model's totals.
    pub large: ModelTotals,
    /// Tokens of the sentences that the policy inserted.
    pub inserted_tokens: u64,
    /// How often the large model was given up because its first text was late or its node unavailable; these are not
    /// counted as takeovers.
    #[serde(default)]
    pub abandoned: u32,
    /// How many takeovers were skipped without an ask because a target had no room for them.
    #[serde(default)]
    pub passed_over: u32,
    /// How often the large model's text replaced what the small one wrote.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub corrections: u32,
    /// How often the answer repeated itself in a loop and was cut off there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub loops: u32,
    /// Every takeover, in order.
    pub takeovers: Vec<Takeover>,
    /// Where the wall time went.
    pub time: TimeSplit,
    /// How often a node's text differed from ours and was sent again as a whole.
    pub hash_repairs: u32,
    /// How often another small node took the answer over.
    pub resumes: u32,
    /// How often another large node continued at once after one was lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub large_resumes: u32,
    /// How often a large node was lost with no other one left, and came back.
    #[serde(default)]
    pub rejoins: u32,
    /// How often a second large node was asked for a takeover because its first text was late. What that node read and
    /// wrote in addition must be paid for too, and not all of it is known here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hedges: u32,
    /// How often the second node had text first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hedges_won: u32,
}

/// One model's totals for an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelTotals {
    /// The node's name; empty if there is none.
    #[serde(deserialize_with = "deserialize_line")]
    pub node: String,
    /// The model's name; empty until the node has accepted the question.
    #[serde(deserialize_with = "deserialize_line")]
    pub model: String,
    /// How often it was asked to write.
    pub asks: u32,
    /// Tokens that are part of the answer.
    pub tokens: u64,
    /// Tokens that were generated and forgotten.
    pub discarded_tokens: u64,
    /// Bytes that are part of the answer.
    pub text_bytes: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens found cached when the question was opened; for a server without sessions, the total of all requests.
    pub cached_tokens: u64,
    /// Tokens prefilled while it was waited for.
    pub prefill_tokens: u64,
    /// Tokens prefilled ahead, while nobody waited for it.
    pub warm_tokens: u64,
    /// Bytes to and from the node, if they are counted.
    pub traffic: Option<Traffic>,
    /// Number of weights of the model; 0 if not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub parameters: u64,
    /// Passes through the model, in thousandths. A pass that several answers share is divided among them. 0 for a node
    /// that does not count them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passes_milli: u64,
}

impl ModelTotals {
    /// Returns how many tokens it read, whether anybody waited for that or not. Tokens found cached are not included.
    pub fn read_tokens(&self) -> u64 {
        self.prefill_tokens.saturating_add(self.warm_tokens)
    }

    /// Returns how many tokens it wrote, including those that were forgotten. A review's replacements are included,
    /// although they come from passes that were made for reading.
    pub fn written_tokens(&self) -> u64 {
        self.tokens.saturating_add(self.discarded_tokens)
    }

    /// Returns how many operations that took: two per weight and token, without attention. `None` if the number of
    /// weights is not known.
    pub fn operations(&self) -> Option<f64> {
        let tokens = self.read_tokens() as f64 + self.written_tokens() as f64;
        (self.parameters > 0).then_some(2.0 * self.parameters as f64 * tokens)
    }
}

/// A stretch that the large model wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// Number of the ask.
    pub ask: u32,
    /// Its reason.
    pub why: Why,
    /// Tokens kept.
    pub tokens: u32,
    /// Bytes kept.
    pub text_bytes: u64,
    /// Whether the node was lost before the takeover's end.
    pub interrupted: bool,
    /// How many tokens the node still had to prefill when it was asked.
    pub prefill_tokens: u32,
    /// Time from the ask to its first text, as seen here; absent if there was none.
    pub handoff_us: Option<u64>,
    /// Time from the ask to its end, as seen here.
    pub wall_us: u64,
    /// The node's own time.
    pub spent: Spent,
}

/// Where the time of one ask, or of several together, went; in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Waiting for its turn on the node.
    pub queue_us: u64,
    /// Prefilling on the node.
    pub prefill_us: u64,
    /// Generating tokens on the node.
    pub decode_us: u64,
    /// The rest of the time seen here: the network and whatever else lies between.
    pub network_us: u64,
}

impl Spent {
    /// Adds another's time.
    pub fn add(&mut self, other: &Spent) {
        self.queue_us = self.queue_us.saturating_add(other.queue_us);
        self.prefill_us = self.prefill_us.saturating_add(other.prefill_us);
        self.decode_us = self.decode_us.saturating_add(other.decode_us);
        self.network_us = self.network_us.saturating_add(other.network_us);
    }

    /// Returns the total.
    pub fn total_us(&self) -> u64 {
        self.queue_us + self.prefill_us + self.decode_us + self.network_us
    }
}

/// Where the wall time of an answer went, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSplit {
    /// From the question to the end of the answer.
    pub total_us: u64,
    /// From the question to the first text shown; absent if there was none.
    pub first_text_us: Option<u64>,
    /// While the small node was waited for.
    pub small: Spent,
    /// While the large node was waited for.
    pub large: Spent,
    /// While verdicts of a review were waited for, and nothing else.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub verdicts_us: u64,
    /// The rest: opening the sessions, and the work between asks.
    pub other_us: u64,
}

impl TimeSplit {
    /// Returns the time in which something was waited for: all but the rest.
    pub fn waited_us(&self) -> u64 {
        self.small.total_us() + self.large.total_us() + self.verdicts_us
    }

    /// Returns the time that neither node accounts for: both links, and whatever else lies between.
    pub fn network_us(&self) -> u64 {
        self.small.network_us + self.large.network_us
    }
}

fn is_zero<T: Default + PartialEq>(count: &T) -> bool {
    *count == T::default()
}

impl Summary {
    /// Returns one model's totals.
    pub fn model(&self, role: Role) -> &ModelTotals {
        match role {
            Role::Small => &self.small,
            Role::Large => &self.large,
        }
    }

    /// Returns the role of the node with this name: the small one's, if the node has both or neither.
    pub fn part_of(&self, node: &str) -> Role {
        if self.large.node == node && self.small.node != node { Role::Large } else { Role::Small }
    }

    /// Returns one model's totals, to add to.
    pub(crate) fn model_mut(&mut self, role: Role) -> &mut ModelTotals {
        match role {
            Role::Small => &mut self.small,
            Role::Large => &mut self.large,
        }
    }

    /// Returns one model's time, to add to.
    pub(crate) fn spent_mut(&mut self, role: Role) -> &mut Spent {
        match role {
            Role::Small => &mut self.time.small,
            Role::Large => &mut self.time.large,
        }
    }

    /// Returns the tokens of the whole answer.
    pub fn tokens(&self) -> u64 {
        self.small.tokens + self.large.tokens + self.inserted_tokens
    }

    /// Returns the share of the tokens that the large model wrote, from 0 to 1; 0 for an empty answer.
    pub fn takeover_share(&self) -> f64 {
        match self.tokens() {
            0 => 0.0,
            tokens => self.large.tokens as f64 / tokens as f64,
        }
    }

    /// Returns the number of takeovers by reason.
    pub fn takeovers_by_reason(&self) -> BTreeMap<Why, u32> {
        let mut counts = BTreeMap::new();
        for takeover in &self.takeovers {
            *counts.entry(takeover.why).or_insert(0) += 1;
        }
        counts
    }
}
