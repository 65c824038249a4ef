//! The streaming trigger matcher: finds a trigger phrase in the window after a paragraph break.
//!
//! It works on decoded text, character by character, never on token ids, so that its result does not
//! depend on how the text was cut into tokens, deltas or messages.

use serde::{Deserialize, Serialize};

/// What kind of thing a trigger phrase announces (paper, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// "Yes, ...": the writer agrees with itself.
    Affirmation,
    /// "Wait, ...": the writer doubts.
    Reflection,
    /// "Let me check ...": the writer verifies.
    Verification,
}

/// A phrase to look for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Phrase {
    /// What it announces.
    pub kind: TriggerKind,
    /// Its text; case does not matter.
    pub text: String,
}

/// What to watch for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The paragraph breaks, usually "\n\n".
    pub delimiters: Vec<String>,
    /// Length of the window after a delimiter, in characters.
    pub window_chars: u32,
    /// The phrases.
    pub phrases: Vec<Phrase>,
}

/// Where a trigger phrase was found; positions are bytes of the watched text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerMatch {
    /// What the phrase announces.
    pub kind: TriggerKind,
    /// The phrase as the watch gave it.
    pub phrase: String,
    /// End of the paragraph break before the phrase: where to cut; 0 when the break was already
    /// committed.
    pub cut: u64,
    /// Where the phrase starts.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
}

/// Watches a text as it grows.
#[derive(Debug, Clone)]
pub struct Matcher {
    watch: Watch,
}

impl Matcher {
    /// A matcher for the text that will follow `committed`: a delimiter may begin, or already stand,
    /// at the end of `committed`.
    pub fn new(watch: Watch, committed: &str) -> Self {
        let _ = committed;
        Matcher { watch }
    }

    /// Reads on. Returns the first match; after one, the matcher is spent.
    pub fn push(&mut self, text: &str) -> Option<TriggerMatch> {
        let _ = (text, &self.watch);
        None
    }

    /// The text is complete: a phrase that stands at its very end now counts.
    pub fn finish(&mut self) -> Option<TriggerMatch> {
        None
    }

    /// How many bytes of the text read so far no match can cut any more.
    pub fn settled_bytes(&self) -> u64 {
        0
    }
}
