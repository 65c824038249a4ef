//! What a review is asked to do and what it reports: which tokens it objects to, where text ends, and what is cut.

/// Which tokens of other writers to object to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Review {
    /// Object to a token if the Thinker's likeliest token is more likely by more than this gap, in nats. The gap is the
    /// difference of their log-probabilities at temperature 1, which equals the difference of their logits. 0 or more.
    pub gap: f32,
    /// Committed text before this byte is not judged.
    pub from_byte: u64,
    /// Do not judge a paragraph's first token.
    pub skip_openings: bool,
    /// If set, the replacement is drawn with the session's sampling and a seed for each place that is derived from this
    /// one, and differs from the rejected token. If `None`, and on a Thinker that does not support draws, the
    /// replacement is the likeliest token.
    pub draw: Option<u64>,
}

/// Whether more text may follow the end of a text. How the last tokens are cut depends on what follows, so a review
/// does not judge them while more may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TextEnd {
    /// More may follow, and may change the last tokens.
    #[default]
    Open,
    /// The writer stops here for now: the last tokens are judged as they are.
    Stretch,
    /// The writer ended the answer here. The end is judged as if it were a token, but it is not appended.
    Answer,
}

/// Forgets committed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many bytes to keep; must end on a character boundary.
    pub bytes: u64,
    /// Append the Thinker's own tokens that the open objection, which must be at this place, proposes instead.
    pub accept: bool,
}

/// Another writer's text departs from what the Thinker would have written.
#[derive(Debug, Clone, PartialEq)]
pub struct Objection {
    /// Where the rejected token begins, in bytes of the committed text; on a character boundary.
    pub at_byte: u64,
    /// The token's length in bytes; 0 if the objection is to the end of the answer.
    pub bytes: u32,
    /// By how much the Thinker's likeliest token is more likely, in nats.
    pub gap: f32,
    /// How many tokens are more likely than the rejected one.
    pub rank: u32,
    /// The log-probability of the rejected token, in nats, at temperature 1.
    pub log_p: f32,
    /// What the Thinker would write instead: its likeliest token or the one drawn, followed by as many likeliest tokens
    /// as it takes to make whole characters. `None` if it would end the answer.
    pub instead: Option<String>,
    /// How many tokens that is.
    pub tokens: u32,
    /// Their ids, if there are any.
    pub token_ids: Vec<u32>,
}
