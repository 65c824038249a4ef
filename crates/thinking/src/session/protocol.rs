//! Which command is allowed when, and what it does to the committed text. [`super::refusal`] has the errors for
//! commands that are not allowed, [`super::proposal`] what ends a proposal.

use super::{ProposalRules, limits, refusal::Refusal, review::ReviewRules};
use crate::thinker::{
    Append, Cut, FinishReason, Finished, Objection, Open, Propose, Review, TextEnd, TextHash,
    Timing, Warmed,
};

/// The state of a session: what is committed, and whether a proposal is open.
///
/// Each command that changes the session has a method, to be called when it is the command's turn: it checks that the
/// command is allowed and then carries it out. A [`Refusal`] ends the session. `Cancel` has no method: if it is reached
/// in the queue, it does nothing.
#[derive(Debug, Default)]
pub struct Protocol {
    state: State,
    committed: Committed,
    review: Option<ReviewRules>,
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

    fn cut(&mut self, bytes: usize) {
        self.text.truncate(bytes);
        self.hash = TextHash::of(&self.text);
    }
}

/// A text with the hash of the whole committed text up to its end. Hashing a long text takes a while, so a Thinker can
/// do it on another thread than the one that carries commands out.
#[derive(Debug)]
pub struct HashedText {
    text: String,
    hash: TextHash,
}

impl HashedText {
    /// Hashes a text that follows committed text with this hash.
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
        let committed = HashedText::behind(TextHash::default(), open.committed.clone());
        self.opened(committed, open.review);
        Ok(())
    }

    /// Checks that `Open` is allowed, for a Thinker that carries it out later.
    ///
    /// # Errors
    /// The same as [`open`](Self::open).
    pub fn check_open(&self, open: &Open) -> Result<(), Refusal> {
        let State::Unopened = self.state else { return Err(Refusal::AlreadyOpen) };
        limits::check_open(open)
    }

    /// Carries out an `Open` that was checked, with its committed text and its review.
    pub fn opened(&mut self, committed: HashedText, review: Option<Review>) {
        let HashedText { text, hash } = committed;
        self.review = review.map(ReviewRules::new);
        self.state = State::Idle;
        self.committed = Committed { text, hash };
    }

    /// Carries out `Append`: adds text that another writer wrote.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`], [`Refusal::ProposalOpen`].
    pub fn append(&mut self, append: &Append) -> Result<(), Refusal> {
        self.check_append()?;
        let start = self.committed.text.len();
        self.committed.push(&append.text);
        self.took(start, append.end, append.exempt);
        Ok(())
    }

    /// Checks that `Append` is allowed, for a Thinker that carries it out later.
    ///
    /// # Errors
    /// The same as [`append`](Self::append).
    pub fn check_append(&self) -> Result<(), Refusal> {
        self.check_idle()
    }

    /// Carries out an `Append` that was checked; the text follows all committed text.
    pub fn appended(&mut self, text: HashedText, end: TextEnd, exempt: bool) {
        let HashedText { text, hash } = text;
        let start = self.committed.text.len();
        self.committed.text.push_str(&text);
        self.committed.hash = hash;
        self.took(start, end, exempt);
    }

    fn took(&mut self, start: usize, end: TextEnd, exempt: bool) {
        if let Some(review) = &mut self.review {
            review.appended(start..self.committed.text.len(), end, exempt);
        }
    }

    /// Begins `Propose`. Returns the rules of the proposal; pass them to [`finish`](Self::finish) when it is complete.
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

    /// Completes the proposal: it is now open and waits for its commit. Its last delta must have been taken. Returns
    /// the [`Finished`] event; `prefill_tokens`, `cached_tokens`, `timing` and `passes_milli` are 0, and the Thinker
    /// fills them in.
    pub fn finish(&mut self, rules: ProposalRules, reason: FinishReason) -> Finished {
        let tokens = rules.tokens();
        let text = rules.into_text();
        let bytes = text.len() as u64;
        self.state = State::Proposed(text);
        let timing = Timing::default();
        let (prefill_tokens, cached_tokens, passes_milli) = (0, 0, 0);
        Finished { reason, tokens, bytes, prefill_tokens, cached_tokens, timing, passes_milli }
    }

    /// Carries out `Commit`: keeps the first bytes of the open proposal and forgets the rest. Returns the text that was
    /// kept.
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
        if let Some(review) = &mut self.review {
            review.wrote(self.committed.text.len());
        }
        Ok(&self.committed.text[start..])
    }

    /// Carries out `Cut`: forgets the committed text behind a place. Returns the objection that is accepted there, if
    /// any; its text is now committed.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`], [`Refusal::ProposalOpen`], [`Refusal::NoTextEdge`], [`Refusal::NoObjection`].
    pub fn cut(&mut self, cut: Cut) -> Result<Option<Objection>, Refusal> {
        self.check_idle()?;
        let Cut { bytes, accept } = cut;
        let text = &self.committed.text;
        let kept = usize::try_from(bytes).ok().filter(|bytes| text.is_char_boundary(*bytes));
        let Some(kept) = kept else {
            return Err(Refusal::NoTextEdge { bytes, committed_bytes: text.len() as u64 });
        };
        let open = self.review.as_ref().and_then(ReviewRules::objection);
        let open = open.filter(|it| it.at_byte == bytes && it.instead.is_some());
        let accepted = open.filter(|_| accept).cloned();
        if accept && accepted.is_none() {
            return Err(Refusal::NoObjection { bytes });
        }
        self.committed.cut(kept);
        let instead = accepted.as_ref().and_then(|objection| objection.instead.as_deref());
        self.committed.push(instead.unwrap_or_default());
        if let Some(review) = &mut self.review {
            review.cut(kept);
            if accept {
                review.wrote(self.committed.text.len());
            }
        }
        Ok(accepted)
    }

    /// Returns what is judged of others' text, if the session reviews.
    pub fn review(&self) -> Option<&ReviewRules> {
        self.review.as_ref()
    }

    /// Returns the same, mutable, to record verdicts.
    pub fn review_mut(&mut self) -> Option<&mut ReviewRules> {
        self.review.as_mut()
    }

    /// Returns the same together with the committed text, which its methods take.
    pub fn judging(&mut self) -> Option<(&mut ReviewRules, &str)> {
        self.review.as_mut().map(|review| (review, self.committed.text.as_str()))
    }

    /// Returns whether an objection waits for its cut.
    pub fn is_objecting(&self) -> bool {
        self.review.as_ref().is_some_and(|review| review.objection().is_some())
    }

    /// Returns the whole committed text.
    pub fn committed(&self) -> &str {
        &self.committed.text
    }

    /// Returns the hash of the whole committed text.
    pub fn hash(&self) -> TextHash {
        self.committed.hash
    }

    /// Returns the [`Warmed`] event for the committed text; `tokens`, `prefill_tokens`, `prefill_us` and `passes_milli`
    /// are 0, and the Thinker fills them in.
    pub fn warmed(&self) -> Warmed {
        Warmed {
            committed_bytes: self.committed.text.len() as u64,
            hash: self.committed.hash,
            tokens: 0,
            prefill_tokens: 0,
            prefill_us: 0,
            passes_milli: 0,
            reviewed_bytes: self.review.as_ref().map_or(0, |review| review.reviewed() as u64),
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
