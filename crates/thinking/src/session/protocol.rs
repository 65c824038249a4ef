//! Which command is allowed when, and what it does to the committed text. How one that is not allowed fails is in
//! [`super::refusal`], what ends a proposal in [`super::proposal`].

use super::{ProposalRules, limits, refusal::Refusal};
use crate::thinker::{FinishReason, Finished, Open, Propose, TextHash, Timing, Warmed};

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

/// A text with the hash of the whole committed text up to its end. To hash a long one takes a while, which a Thinker
/// may spend elsewhere than where it carries commands out.
#[derive(Debug)]
pub struct HashedText {
    text: String,
    hash: TextHash,
}

impl HashedText {
    /// A text that follows committed text of this hash.
    pub fn behind(mut committed: TextHash, text: String) -> Self {
        committed.push(&text);
        HashedText { text, hash: committed }
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

impl Protocol {
    /// Carries out `Open`: the session begins with its committed text.
    ///
    /// # Errors
    /// [`Refusal::AlreadyOpen`], [`Refusal::TooMany`].
    pub fn open(&mut self, open: &Open) -> Result<(), Refusal> {
        self.check_open(open)?;
        self.opened(HashedText::behind(TextHash::default(), open.committed.clone()));
        Ok(())
    }

    /// Checks that `Open` is allowed, for a Thinker that carries it out later.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn check_open(&self, open: &Open) -> Result<(), Refusal> {
        let State::Unopened = self.state else { return Err(Refusal::AlreadyOpen) };
        limits::check_open(open)
    }

    /// Carries out an `Open` that was checked, with its committed text.
    pub fn opened(&mut self, committed: HashedText) {
        let HashedText { text, hash } = committed;
        self.state = State::Idle;
        self.committed = Committed { text, hash };
    }

    /// Carries out `Append`: adds text that somebody else wrote.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`], [`Refusal::ProposalOpen`].
    pub fn append(&mut self, text: &str) -> Result<(), Refusal> {
        self.check_append()?;
        self.committed.push(text);
        Ok(())
    }

    /// Checks that `Append` is allowed, for a Thinker that carries it out later.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn check_append(&self) -> Result<(), Refusal> {
        self.check_idle()
    }

    /// Carries out an `Append` that was checked, of a text behind all that is committed.
    pub fn appended(&mut self, text: HashedText) {
        let HashedText { text, hash } = text;
        self.committed.text.push_str(&text);
        self.committed.hash = hash;
    }

    /// Begins `Propose`: returns the rules of the proposal, which go back with
    /// [`finish`](Self::finish) when it is complete.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`], [`Refusal::ProposalOpen`], [`Refusal::NoTokens`], [`Refusal::TooMany`].
    pub fn propose(&mut self, propose: &Propose) -> Result<ProposalRules, Refusal> {
        self.check_idle()?;
        if propose.max_tokens == 0 {
            return Err(Refusal::NoTokens);
        }
        limits::check_propose(propose)?;
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

    /// The hash of the whole committed text.
    pub fn hash(&self) -> TextHash {
        self.committed.hash
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
