//! What a simulated node computes with. Plain values.

use std::time::Duration;

use thinking::thinker::ThoughtStart;

/// The model of a simulated node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// How long one prefilled token takes.
    pub prefill: Duration,
    /// How long one generated token takes.
    pub decode: Duration,
    /// The longest session, in tokens.
    pub context_tokens: u32,
    /// The prompt's length in tokens.
    pub prompt_tokens: u32,
    /// One in this many tokens ends the text.
    pub length: u64,
    /// One in this many tokens ends a paragraph.
    pub paragraph: u64,
    /// Within a stretch it repeats a cycle of this many tokens; 0 if it does not.
    pub cycle: u64,
    /// Which tokenizer it has.
    pub tokenizer: u8,
    /// The state of the thought in which its template starts an answer.
    pub thought: ThoughtStart,
    /// Whether it can judge what others write.
    pub can_review: bool,
    /// Whether it reports the entropy of paragraphs' first tokens.
    pub can_report_entropy: bool,
    /// It objects to one in this many tokens of others; with 1 it objects to all.
    pub objects_to: u64,
}
