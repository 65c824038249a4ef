//! Why a command is refused, as one line. When it is, is in [`super::protocol`] and [`super::limits`].

use crate::thinker::{Code, Failure};

/// Why a command is refused. Every refusal is a [`Failure`] with [`Code::InvalidArgument`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Any command but `Open` or `Cancel` before `Open`.
    #[error("the first command must be open")]
    NotOpen,
    /// A second `Open`.
    #[error("the session is open already; start another one")]
    AlreadyOpen,
    /// `Append`, `Propose` or `Cut` while a proposal is open.
    #[error("a proposal is open; commit it first")]
    ProposalOpen,
    /// `Commit` while no proposal is open.
    #[error("no proposal is open to commit; propose first")]
    NoProposal,
    /// `Propose` with `max_tokens` of 0.
    #[error("max_tokens is 0; ask for at least 1")]
    NoTokens,
    /// More of something than is taken ([`super::limits`]).
    #[error("{field} holds {found} {unit} and at most {most} are taken; send fewer")]
    TooMany {
        /// What the protocol calls it.
        field: &'static str,
        /// How many it holds.
        found: usize,
        /// The limit.
        most: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// `Commit` inside a character or beyond the proposal's end.
    #[error(
        "commit of {bytes} bytes does not end on a character's edge of the proposal's {proposal_bytes}; count its bytes"
    )]
    NoCharacterEdge {
        /// How many bytes were to be kept.
        bytes: u64,
        /// The proposal's length in bytes.
        proposal_bytes: u64,
    },
    /// `Cut` inside a character or beyond the committed text's end.
    #[error(
        "a cut to {bytes} bytes does not end on a character's edge of the committed {committed_bytes}; count its bytes"
    )]
    NoTextEdge {
        /// How many bytes were to be kept.
        bytes: u64,
        /// The committed text's length in bytes.
        committed_bytes: u64,
    },
    /// `Cut` with `accept` where no objection with a text is open to that place.
    #[error("there is no objection to byte {bytes} to accept; cut without accept")]
    NoObjection {
        /// The place.
        bytes: u64,
    },
    /// A gap that is no number from 0 on.
    #[error("the gap of a review is not a number from 0 on; ask for some nats")]
    BadGap,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::new(Code::InvalidArgument, refusal.to_string())
    }
}
