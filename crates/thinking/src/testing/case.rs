//! A case of the conformance kit, its settings, and the violation that it reports.

use std::{pin::Pin, sync::Arc, time::Duration};

use crate::thinker::{Message, Prompt, Sampling, Thinker};

/// What the kit may know of the Thinker under test.
#[derive(Clone)]
pub struct KitSettings {
    /// The question to ask.
    pub prompt: Prompt,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Tokens of an ordinary proposal. A session of the kit stays below four times this number, plus the prompt and a
    /// few dozen appended words.
    pub proposal_tokens: u32,
    /// The longest wait for any event.
    pub wait: Duration,
    /// Reads a counter of computed tokens, if the Thinker has one. The kit then also checks that compute stops when a
    /// session is dropped.
    pub computed_tokens: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
    /// Whether a session reopened with the Thinker's own text continues exactly like the old one. False if the Thinker
    /// keeps its own tokens as generated and the text may encode to others.
    pub exact_resume: bool,
    /// By how many nats the gap of a token may differ when its text came in other pieces: 0 if the computation does not
    /// depend on that.
    pub gap_tolerance: f32,
    /// Whether the Thinker reviews. If its card wrongly says that it does not, the kit fails instead of skipping the
    /// cases.
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
    /// The case that found the violation.
    pub case: &'static str,
    /// What was expected, and what came instead.
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
    /// Runs the check.
    pub async fn check(
        &self,
        thinker: &dyn Thinker,
        settings: &KitSettings,
    ) -> Result<(), Violation> {
        (self.run)(thinker, settings).await.map_err(|what| Violation { case: self.name, what })
    }
}
