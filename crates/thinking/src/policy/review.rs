//! How a review's objections are dealt with.

use serde::{Deserialize, Serialize};

/// How a review's objections are dealt with. What is judged, and what a gap is, is in [`crate::session::review`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReviewConfig {
    /// The gap over which a token is objected to, in nats.
    #[serde(rename = "review_gap")]
    pub gap: f32,
    /// Tokens that the large writer puts where it objects. With 1 they are in its verdict and cost no ask; with more it
    /// is asked for so many, or to the paragraph's end.
    #[serde(rename = "review_tokens")]
    pub tokens: u32,
    /// How often the small writer may try again at a place before the large one has it.
    #[serde(rename = "review_resample")]
    pub resample: u32,
    /// A paragraph's first token is not judged.
    #[serde(rename = "review_skip_openings")]
    pub skip_openings: bool,
    /// What the large writer puts where it objects is drawn as its other tokens are, and not its likeliest token.
    #[serde(rename = "review_draw", skip_serializing_if = "std::ops::Not::not")]
    pub draw: bool,
    /// So many tokens are gathered before they are sent to be judged.
    #[serde(rename = "review_piece_tokens")]
    pub piece_tokens: u32,
    /// The small writer stops after so many tokens until they are judged. Without, it writes on. Not where its turns
    /// are watched for triggers: it stops at those.
    #[serde(rename = "review_ahead_tokens", skip_serializing_if = "Option::is_none")]
    pub ahead_tokens: Option<u32>,
}

impl Default for ReviewConfig {
    fn default() -> Self {
        ReviewConfig {
            gap: 1.0,
            tokens: 1,
            resample: 0,
            skip_openings: false,
            draw: false,
            piece_tokens: 16,
            ahead_tokens: None,
        }
    }
}

/// The names of its parameters.
pub(super) const KEYS: [&str; 7] = [
    "review_gap",
    "review_tokens",
    "review_resample",
    "review_skip_openings",
    "review_draw",
    "review_piece_tokens",
    "review_ahead_tokens",
];

impl ReviewConfig {
    /// What is wrong with the values, as (key, what it must be).
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let faults = [
            (!(0.0..=100.0).contains(&self.gap), ("review_gap", "a number of nats from 0 to 100")),
            (self.tokens == 0, ("review_tokens", "at least 1")),
            (self.piece_tokens == 0, ("review_piece_tokens", "at least 1")),
            (self.ahead_tokens == Some(0), ("review_ahead_tokens", "at least 1")),
        ];
        faults.into_iter().find(|(is_bad, _)| *is_bad).map(|(_, fault)| fault)
    }
}
