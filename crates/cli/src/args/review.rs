//! How the large model reviews what the small one writes, for the policies that have a review.

/// How the large model reviews.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ReviewArgs {
    /// Correct a token where the large model holds another one for more likely by more than this many nats (a factor of
    /// e each). Lower is safer: an error that passes is believed by what follows. [default: 1]
    #[arg(long, value_name = "NATS", allow_negative_numbers = true, help_heading = "Review")]
    pub review_gap: Option<f32>,
    /// Tokens that the large model writes at each correction. 1 is in its verdict already and costs no further wait;
    /// with more it is asked to go on, to the paragraph's end at most. [default: 1]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        allow_negative_numbers = true,
        help_heading = "Review"
    )]
    pub review_tokens: Option<u32>,
    /// Let the small model try again so often at a place before the large one corrects it. [default: 0]
    #[arg(long, value_name = "N", help_heading = "Review")]
    pub review_resample: Option<u32>,
    /// Do not correct the first token of a paragraph: how it begins is style more often than error.
    #[arg(long, help_heading = "Review")]
    pub review_skip_openings: bool,
    /// Put a token there that is drawn as the large model's others are, by --temperature and its like, in place of its
    /// likeliest one. A server behind a node puts its likeliest one all the same.
    #[arg(long, help_heading = "Review")]
    pub review_draw: bool,
    /// Gather so many tokens before they are sent to be reviewed. More are cheaper for the large node, which reads many
    /// in one pass; fewer are corrected sooner. [default: 16]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        allow_negative_numbers = true,
        help_heading = "Review"
    )]
    pub review_piece: Option<u32>,
    /// Let the small model stop after N tokens until they are reviewed, so that it writes little that is cut off. For
    /// `review`. [default: it writes on]
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
    /// The first flag that is given.
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
