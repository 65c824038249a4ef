//! What a review is asked for and says: which tokens are objected to, where text ends, and what is cut.

/// Which tokens of others are objected to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Review {
    /// A token is objected to where the Thinker's likeliest one is more likely by more than this, in nats: the
    /// difference of their log-probabilities at temperature 1, which is that of their logits. 0 or more.
    pub gap: f32,
    /// Committed text before this byte is not judged.
    pub from_byte: u64,
    /// A paragraph's first token is not judged.
    pub skip_openings: bool,
    /// What would stand instead is drawn, by the session's sampling and a seed for each place that follows from this
    /// one, and is not what is objected to. Without, it is the likeliest token, as it is wherever a Thinker knows no
    /// draws.
    pub draw: Option<u64>,
}

/// What is known of the place where a text ends. How its last tokens are cut depends on what follows, so that a review
/// leaves them alone while more may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TextEnd {
    /// More may follow, and may change the last tokens.
    #[default]
    Open,
    /// The writer stops here for now: the last tokens are judged as they are.
    Stretch,
    /// The writer ended the answer here. That is judged as a token is, and is not appended.
    Answer,
}

/// Forgets committed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How much is kept, in bytes; on a character's edge.
    pub bytes: u64,
    /// Put what the open objection, which is to this place, would have there: the Thinker's own tokens.
    pub accept: bool,
}

/// Somebody else's text departs from what the Thinker would have written.
#[derive(Debug, Clone, PartialEq)]
pub struct Objection {
    /// Where the token begins that is objected to, in bytes of the committed text; on a character's edge.
    pub at_byte: u64,
    /// The token's length in bytes; 0 where the end of the answer is objected to.
    pub bytes: u32,
    /// By how much the Thinker's likeliest token is more likely, in nats.
    pub gap: f32,
    /// How many tokens are more likely than the one that stands there.
    pub rank: u32,
    /// The log-probability of the one that stands there, in nats, at temperature 1.
    pub log_p: f32,
    /// What the Thinker would write instead: its likeliest token, or the one drawn, and as many likeliest ones more as
    /// make whole characters. `None`: it would end the answer.
    pub instead: Option<String>,
    /// The tokens of that.
    pub tokens: u32,
    /// Their ids, where there are any.
    pub token_ids: Vec<u32>,
}
