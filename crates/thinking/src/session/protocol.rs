//! Which command is allowed when, what it does to the committed text, and how one that is not
//! allowed fails. What ends a proposal is in [`super::proposal`].

use super::ProposalRules;
use crate::thinker::{Code, Failure, FinishReason, Finished, Propose, TextHash, Timing, Warmed};

/// The state of a session: what is committed, and whether a proposal is open.
///
/// Each command that changes the session has a method, which is called when it is the command's
/// turn: it checks that the command is allowed and then carries it out. A [`Refusal`] ends the
/// session. `Cancel` has no method: when its turn comes, it does nothing.
#[derive(Debug, Default)]
pub struct Protocol {
    state: State,
    committed: Committed,
}

/// The committed text and its hash.
#[derive(Debug, Default)]
struct Committed {
    text: String,
    hash: TextHash,
}

impl Committed {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.hash.push(text);
    }
}

#[derive(Debug, Default)]
enum State {
    /// Before `Open`.
    #[default]
    Unopened,
    /// No proposal is open.
    Idle,
    /// A proposal is being made.
    Proposing,
    /// A proposal with this text waits for its commit.
    Proposed(String),
}

/// Why a command is refused. Every refusal is a [`Failure`] with [`Code::InvalidArgument`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Any command but `Open` or `Cancel` before `Open`.
    #[error("the first command must be open")]
    NotOpen,
    /// A second `Open`.
    #[error("the session is open already; start another one")]
    AlreadyOpen,
    /// `Append` or `Propose` while a proposal is open.
    #[error("a proposal is open; commit it first")]
    ProposalOpen,
    /// `Commit` while no proposal is open.
    #[error("no proposal is open to commit; propose first")]
    NoProposal,
    /// `Propose` with `max_tokens` of 0.
    #[error("max_tokens is 0; ask for at least 1")]
    NoTokens,
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
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::new(Code::InvalidArgument, refusal.to_string())
    }
}

impl Protocol {
    /// Carries out `Open`: the session begins with this committed text.
    ///
    /// # Errors
    /// [`Refusal::AlreadyOpen`].
    pub fn open(&mut self, committed: &str) -> Result<(), Refusal> {
        let State::Unopened = self.state else { return Err(Refusal::AlreadyOpen) };
        self.state = State::Idle;
        self.committed.push(committed);
        Ok(())
    }

    /// Carries out `Append`: adds text that somebody else wrote.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`], [`Refusal::ProposalOpen`].
    pub fn append(&mut self, text: &str) -> Result<(), Refusal> {
        self.check_idle()?;
        self.committed.push(text);
        Ok(())
    }

    /// Begins `Propose`: returns the rules of the proposal, which go back with
    /// [`finish`](Self::finish) when it is complete.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`], [`Refusal::ProposalOpen`], [`Refusal::NoTokens`].
    pub fn propose(&mut self, propose: &Propose) -> Result<ProposalRules, Refusal> {
        self.check_idle()?;
        if propose.max_tokens == 0 {
            return Err(Refusal::NoTokens);
        }
        self.state = State::Proposing;
        Ok(ProposalRules::new(propose, &self.committed.text))
    }

    /// Completes the proposal: from now on it is open and waits for its commit. Its last delta must
    /// have been taken. Returns what [`Finished`] tells of it; `prefill_tokens`, `cached_tokens` and
    /// `timing` are 0 and for the Thinker to fill in.
    pub fn finish(&mut self, rules: ProposalRules, reason: FinishReason) -> Finished {
        let tokens = rules.tokens();
        let text = rules.into_text();
        let bytes = text.len() as u64;
        self.state = State::Proposed(text);
        let timing = Timing::default();
        Finished { reason, tokens, bytes, prefill_tokens: 0, cached_tokens: 0, timing }
    }

    /// Carries out `Commit`: keeps the first bytes of the open proposal and forgets the rest.
    /// Returns the text that was kept.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`], [`Refusal::NoProposal`], [`Refusal::NoCharacterEdge`].
    pub fn commit(&mut self, bytes: u64) -> Result<&str, Refusal> {
        let proposal = match &self.state {
            State::Unopened => return Err(Refusal::NotOpen),
            State::Idle | State::Proposing => return Err(Refusal::NoProposal),
            State::Proposed(text) => text,
        };
        let kept = usize::try_from(bytes).ok().and_then(|bytes| proposal.get(..bytes));
        let Some(kept) = kept else {
            let proposal_bytes = proposal.len() as u64;
            return Err(Refusal::NoCharacterEdge { bytes, proposal_bytes });
        };
        let start = self.committed.text.len();
        self.committed.push(kept);
        self.state = State::Idle;
        Ok(&self.committed.text[start..])
    }

    /// The whole committed text.
    pub fn committed(&self) -> &str {
        &self.committed.text
    }

    /// What [`Warmed`] tells of the committed text; `tokens`, `prefill_tokens` and `prefill_us` are
    /// 0 and for the Thinker to fill in.
    pub fn warmed(&self) -> Warmed {
        Warmed {
            committed_bytes: self.committed.text.len() as u64,
            hash: self.committed.hash,
            tokens: 0,
            prefill_tokens: 0,
            prefill_us: 0,
        }
    }

    fn check_idle(&self) -> Result<(), Refusal> {
        match self.state {
            State::Unopened => Err(Refusal::NotOpen),
            State::Idle => Ok(()),
            State::Proposing | State::Proposed(_) => Err(Refusal::ProposalOpen),
        }
    }
}
