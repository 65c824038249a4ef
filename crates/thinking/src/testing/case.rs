//! A case of the conformance kit: what it may know of a Thinker, and the rule that it found broken.

use std::{pin::Pin, sync::Arc, time::Duration};

use crate::thinker::{Message, Prompt, Sampling, Thinker};

/// What the kit may know of the Thinker at hand.
#[derive(Clone)]
pub struct KitSettings {
    /// The question that is asked.
    pub prompt: Prompt,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Tokens of an ordinary proposal; a session of the kit stays below four times as many, beside
    /// the prompt and a few dozen appended words.
    pub proposal_tokens: u32,
    /// The longest wait for any event.
    pub wait: Duration,
    /// Reads a counter of computed tokens, where the Thinker has one: the kit then also checks that
    /// compute stops when a session is dropped.
    pub computed_tokens: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
    /// Whether a session re-opened with text that the Thinker itself wrote goes on exactly as the
    /// old one. False where own tokens are kept as generated and text may encode to others.
    pub exact_resume: bool,
    /// By how many nats the gap of one token may differ between two ways in which its text came: 0 where what is
    /// computed does not depend on that.
    pub gap_tolerance: f32,
    /// Whether it reviews, so that a card that has lost that is found out, and not its cases passed over.
    pub reviews: bool,
}

impl Default for KitSettings {
    fn default() -> Self {
        let question = Message { role: "user".into(), content: "What is 7 times 8?".into() };
        KitSettings {
            prompt: Prompt::Messages(vec![question]),
            sampling: Sampling::default(),
            proposal_tokens: 24,
            wait: Duration::from_secs(60),
            computed_tokens: None,
            exact_resume: false,
            gap_tolerance: 0.0,
            reviews: true,
        }
    }
}

/// A rule that a Thinker broke.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{case}: {what}")]
pub struct Violation {
    /// The case that found it.
    pub case: &'static str,
    /// What was expected and what came.
    pub what: String,
}

pub(super) type Outcome = Result<(), String>;
pub(super) type Pending<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// One named check.
pub struct Case {
    /// What it checks.
    pub name: &'static str,
    pub(super) run: for<'a> fn(&'a dyn Thinker, &'a KitSettings) -> Pending<'a>,
}

impl Case {
    /// Runs it.
    pub async fn check(
        &self,
        thinker: &dyn Thinker,
        settings: &KitSettings,
    ) -> Result<(), Violation> {
        (self.run)(thinker, settings).await.map_err(|what| Violation { case: self.name, what })
    }
}
