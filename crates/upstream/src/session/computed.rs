//! What came of a request for text that is there: it is computed, and may be judged.

use thinking::{session::review::ReviewRules, thinker::Objection};

use crate::chunk::Usage;

/// What came of a text that was computed ahead.
#[derive(Debug)]
pub(crate) struct ComputedText {
    /// The length in bytes of the text that had to be encoded, and its tokens.
    pub(crate) encoded: Option<(usize, Vec<u32>)>,
    /// Its tokens as they were estimated, and as exactly as is known now.
    pub(crate) about_tokens: u32,
    pub(crate) tokens: u32,
    /// What the request cost; `None`: there was none, since it would have filled no block.
    pub(crate) usage: Option<Usage>,
    /// The time that took, in microseconds.
    pub(crate) prefill_us: u64,
    /// What was found, where it was to be judged.
    pub(crate) judged: Option<Judged>,
}

/// What was found of text that was judged.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The first bytes that stand.
    pub(crate) reviewed: usize,
    pub(crate) objection: Option<Objection>,
    /// That an answer ends with the text of this length, if that was judged and stands.
    pub(crate) stands_as_end: Option<usize>,
}

impl Judged {
    /// Tells a session's rules, whose text may have grown since. Returns what is objected to.
    pub(crate) fn tell(self, rules: &mut ReviewRules, committed: &str) -> Option<Objection> {
        rules.passed(self.reviewed);
        if self.stands_as_end == Some(committed.len()) && rules.judges_end() {
            rules.passed_end();
        }
        if let Some(objection) = &self.objection {
            rules.object(objection.clone());
        }
        self.objection
    }
}
