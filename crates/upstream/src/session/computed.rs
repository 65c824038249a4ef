//! The result of a request that computed existing text and possibly judged it.

use thinking::{session::review::ReviewRules, thinker::Objection};

use crate::chunk::Usage;

/// The result of computing a text ahead.
#[derive(Debug)]
pub(crate) struct ComputedText {
    /// If some text had to be encoded: its length in bytes, and its tokens.
    pub(crate) encoded: Option<(usize, Vec<u32>)>,
    /// The estimated number of tokens, and the number as exactly as known now.
    pub(crate) about_tokens: u32,
    pub(crate) tokens: u32,
    /// What the request cost; `None`: no request was made, because it would not have filled a block.
    pub(crate) usage: Option<Usage>,
    /// How long it took, in microseconds.
    pub(crate) prefill_us: u64,
    /// The verdict, if the text was to be judged.
    pub(crate) judged: Option<Judged>,
}

/// The verdict on a judged text.
#[derive(Debug)]
pub(crate) struct Judged {
    /// How many bytes from the start passed the review.
    pub(crate) reviewed: usize,
    pub(crate) objection: Option<Objection>,
    /// The length of the text, if ending the answer there was judged and passed.
    pub(crate) stands_as_end: Option<usize>,
}

impl Judged {
    /// Passes the verdict on to a session's rules, whose text may have grown since. Returns the objection.
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
