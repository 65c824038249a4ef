//! The question to answer, and how the nodes are treated. Plain values.

use std::time::Duration;

use serde::{Deserialize, Serialize};
pub use thinking::thinker::Traffic;
use thinking::{
    beginning::AnswerBeginning,
    policy::PolicyKind,
    stops::StopTexts,
    thinker::{Prompt, Sampling},
};

/// The question to answer, and its limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Appears in the nodes' logs.
    pub id: String,
    /// The conversation or raw text.
    pub prompt: Prompt,
    /// The given beginning of the answer, for conversations: the models continue from it. It is not part of the answer.
    pub beginning: AnswerBeginning,
    /// How tokens are drawn, on both nodes.
    pub sampling: Sampling,
    /// Seeds the answer: the seed of every ask is derived from it.
    pub seed: u64,
    /// The most tokens of the whole answer, both models together.
    pub max_tokens: u32,
    /// Texts that end the answer, before the first of them. Those in its given beginning do not count.
    pub stop: StopTexts,
    /// Time limit for the whole answer.
    pub deadline: Option<Duration>,
}

/// How the nodes are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Send each node the other's text while it is written, so that the node finds a warm prefix. When off, a node gets
    /// the text when it must write.
    pub keep_warm: bool,
    /// Open a new session for every takeover, with the whole text so far, as systems without sessions do. This is a
    /// baseline that shows what sessions are worth.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resend: bool,
    /// How long the small node may be silent while it is waited for.
    pub small_timeout: Duration,
    /// How long a large node may be silent while it is waited for; then another one, or the small one, continues
    /// without it.
    pub large_timeout: Duration,
    /// How long after its loss a large node is tried again if no other one is left; the wait doubles each time. `None`:
    /// never, as in journals from before this setting existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin_after: Option<Duration>,
    /// How long to wait for the first text of a takeover before a second large node is asked for it too. `None`: never
    /// ask a second one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge_after: Option<Duration>,
}

impl Settings {
    /// Returns the settings without those that make no sense for a policy of this kind.
    #[must_use]
    pub fn suited_to(self, kind: PolicyKind) -> Self {
        Settings {
            // The small model has no part in `large-only`, so it must not read along. A review judges text that is sent
            // ahead.
            keep_warm: (self.keep_warm && kind != PolicyKind::LargeOnly) || kind.reviews(),
            resend: self.resend && kind.has_takeovers() && !kind.reviews(),
            ..self
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            keep_warm: true,
            resend: false,
            small_timeout: Duration::from_secs(120),
            large_timeout: Duration::from_secs(30),
            rejoin_after: Some(Duration::from_secs(1)),
            hedge_after: None,
        }
    }
}
