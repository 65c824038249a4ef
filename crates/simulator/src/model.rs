//! What a simulated node computes with. Plain values.

use std::time::Duration;

use thinking::thinker::ThoughtStart;

/// What a node computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// The time that one prefilled token takes.
    pub prefill: Duration,
    /// The time that one token takes.
    pub decode: Duration,
    /// Longest session in tokens.
    pub context_tokens: u32,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// One in so many tokens ends the text.
    pub length: u64,
    /// One in so many tokens ends a paragraph.
    pub paragraph: u64,
    /// Within a stretch it writes so many tokens over and over; 0: it does not.
    pub cycle: u64,
    /// Which tokenizer it has.
    pub tokenizer: u8,
    /// What its template leaves of an answer's thought.
    pub thought: ThoughtStart,
    /// Whether it can judge what others write.
    pub can_review: bool,
    /// Whether it tells the entropy of paragraphs' first tokens.
    pub can_report_entropy: bool,
    /// It objects to one in so many tokens of others; with a 1 it would write everything otherwise.
    pub objects_to: u64,
}
