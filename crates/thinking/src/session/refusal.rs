//! Why a command is refused, as one line. When it is refused is in [`super::protocol`] and [`super::limits`].

use crate::thinker::{Code, Failure};

/// Why a command is refused. Every refusal is a [`Failure`] with [`Code::InvalidArgument`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Any command except `Open` or `Cancel` before `Open`.
    #[error("the session is not open; send open first")]
    NotOpen,
    /// A second `Open`.
    #[error("the session is already open; start another one")]
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
    /// A list or value over its limit ([`super::limits`]).
    #[error("{field} holds {found} {unit}, more than the limit of {most}; send fewer")]
    TooMany {
        /// The protocol's name for it.
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
        "cannot commit {bytes} of the proposal's {proposal_bytes} bytes: that is past its end or inside a character; \
         count its bytes"
    )]
    NoCharacterEdge {
        /// How many bytes were to be kept.
        bytes: u64,
        /// The proposal's length in bytes.
        proposal_bytes: u64,
    },
    /// `Cut` inside a character or beyond the committed text's end.
    #[error(
        "cannot cut to {bytes} of the committed text's {committed_bytes} bytes: that is past its end or inside a \
         character; count its bytes"
    )]
    NoTextEdge {
        /// How many bytes were to be kept.
        bytes: u64,
        /// The committed text's length in bytes.
        committed_bytes: u64,
    },
    /// `Cut` with `accept` where there is no open objection with a text at that place.
    #[error("there is no objection at byte {bytes} to accept; cut without accept")]
    NoObjection {
        /// The place.
        bytes: u64,
    },
    /// A gap that is not a finite number of 0 or more.
    #[error("the review's gap is not a finite number of 0 or more; give it in nats")]
    BadGap,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::new(Code::InvalidArgument, refusal.to_string())
    }
}
