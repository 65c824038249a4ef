//! What is to be answered, and how the nodes are treated. Plain values.

use std::time::Duration;

use serde::{Deserialize, Serialize};
pub use thinking::thinker::Traffic;
use thinking::{
    beginning::AnswerBeginning,
    policy::PolicyKind,
    stops::StopTexts,
    thinker::{Prompt, Sampling},
};

/// What is to be answered, and within which limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Appears in the nodes' logs.
    pub id: String,
    /// The conversation or raw text.
    pub prompt: Prompt,
    /// What is given of the answer to a conversation: the models go on from it. It is no part of the answer.
    pub beginning: AnswerBeginning,
    /// How tokens are drawn, on both nodes.
    pub sampling: Sampling,
    /// Every ask's seed follows from it.
    pub seed: u64,
    /// Greatest number of tokens of the whole answer, both models together.
    pub max_tokens: u32,
    /// Texts that end the answer, before the first of them. Those in its beginning do not count.
    pub stop: StopTexts,
    /// Time for the whole answer.
    pub deadline: Option<Duration>,
}

/// How the nodes are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Send each node the other's text while it is written, so that it finds a warm prefix. When
    /// off, a node gets it when it must write.
    pub keep_warm: bool,
    /// Open a session anew for every takeover, with the whole text so far, as systems without sessions do. A baseline:
    /// it shows what sessions are worth.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resend: bool,
    /// How long the small node may be silent while it is waited for.
    pub small_timeout: Duration,
    /// How long a large node may be silent while it is waited for; then another one, or the small
    /// one, goes on without it.
    pub large_timeout: Duration,
    /// How long after its loss a large node is tried again, when no other one is left; then twice as
    /// long each time. Without, never, as in journals of before it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin_after: Option<Duration>,
    /// How long the first text of a takeover is waited for before a second large node is asked for it, too. Without,
    /// none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge_after: Option<Duration>,
}

impl Settings {
    /// The same for a policy of this kind, where some of it makes no sense for that.
    #[must_use]
    pub fn suited_to(self, kind: PolicyKind) -> Self {
        Settings {
            // The small model has no part in `large-only`: it shall not read along.
            // A review is of what is sent ahead.
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
