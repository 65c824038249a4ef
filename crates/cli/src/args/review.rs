//! How the large model reviews the small model's text, for the policies that have a review.

/// How the large model reviews.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ReviewArgs {
    /// Correct a token if the large model finds another one more likely by more than this many nats (a factor of e
    /// each). Lower is safer: an error that passes is believed by what follows. [default: 1]
    #[arg(long, value_name = "NATS", allow_negative_numbers = true, help_heading = "Review")]
    pub review_gap: Option<f32>,
    /// How many tokens the large model writes at each correction. One is already in its verdict and costs no extra
    /// wait; for more it is asked to continue, to the paragraph's end at most. [default: 1]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        allow_negative_numbers = true,
        help_heading = "Review"
    )]
    pub review_tokens: Option<u32>,
    /// Let the small model retry N times at a place before the large one corrects it. [default: 0]
    #[arg(long, value_name = "N", help_heading = "Review")]
    pub review_resample: Option<u32>,
    /// Do not correct the first token of a paragraph: how it begins is more often style than error.
    #[arg(long, help_heading = "Review")]
    pub review_skip_openings: bool,
    /// Sample the correction with --temperature and the like, as the large model's other tokens are, instead of taking
    /// its most likely token. A server behind a node takes its most likely token all the same.
    #[arg(long, help_heading = "Review")]
    pub review_draw: bool,
    /// Collect N tokens before sending them to be reviewed. More are cheaper for the large node, which reads them in
    /// one pass; fewer are corrected sooner. [default: 16]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        allow_negative_numbers = true,
        help_heading = "Review"
    )]
    pub review_piece: Option<u32>,
    /// Make the small model wait after N tokens until they are reviewed, so that little of what it writes is cut off.
    /// For `review`. [default: it does not wait]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        allow_negative_numbers = true,
        help_heading = "Review"
    )]
    pub review_ahead: Option<u32>,
}

impl ReviewArgs {
    /// Returns the first of these flags that was given.
    pub(crate) fn first(&self) -> Option<&'static str> {
        let flags = [
            ("--review-gap", self.review_gap.is_some()),
            ("--review-tokens", self.review_tokens.is_some()),
            ("--review-resample", self.review_resample.is_some()),
            ("--review-skip-openings", self.review_skip_openings),
            ("--review-draw", self.review_draw),
            ("--review-piece", self.review_piece.is_some()),
            ("--review-ahead", self.review_ahead.is_some()),
        ];
        flags.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }
}
