//! How a policy handles a review's objections.

use serde::{Deserialize, Serialize};

/// How a policy handles a review's objections. [`crate::session::review`] defines what is judged and what a gap is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReviewConfig {
    /// The gap over which a token is objected to, in nats.
    #[serde(rename = "review_gap")]
    pub gap: f32,
    /// How many tokens the large writer puts where it objects. With 1 the token comes with the verdict and costs no
    /// ask. With more the large writer is asked for that many, or up to the paragraph's end.
    #[serde(rename = "review_tokens")]
    pub tokens: u32,
    /// How often the small writer may try again at a place before the large one writes it.
    #[serde(rename = "review_resample")]
    pub resample: u32,
    /// Do not judge a paragraph's first token.
    #[serde(rename = "review_skip_openings")]
    pub skip_openings: bool,
    /// Draw what the large writer puts where it objects, like its other tokens, instead of taking its likeliest token.
    #[serde(rename = "review_draw", skip_serializing_if = "std::ops::Not::not")]
    pub draw: bool,
    /// How many tokens are collected before they are sent to be judged.
    #[serde(rename = "review_piece_tokens")]
    pub piece_tokens: u32,
    /// After how many tokens the small writer stops until they are judged; `None` if it does not stop. Has no effect
    /// where the small writer's turns are watched for triggers, since those stop it.
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
    /// Returns what is wrong with the values, as (key, what it must be).
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
