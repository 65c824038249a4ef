//! A proposal in progress: the tokens of its text, and the deltas that report it.
//!
//! It is given tokens one by one and says when it is over. [`thinking::session`] decides what ends it,
//! [`crate::sample`] draws the tokens, [`crate::scheduler`] computes them.

use text::{Detokenizer, Tokenizer, spans_of};
use thinking::{
    session::ProposalRules,
    thinker::{Delta, FinishReason, Propose},
};

use crate::sample::Draws;

/// A proposal in progress.
#[derive(Debug)]
pub(crate) struct Proposal {
    rules: ProposalRules,
    own: OwnTokens,
    detokenizer: Detokenizer,
    draws: Draws,
    unsent: Unsent,
}

/// The tokens of a proposal, and where each ends in its text.
#[derive(Debug)]
pub(crate) struct OwnTokens {
    /// The session's length in tokens when the proposal began.
    start: usize,
    /// One for each token that is in the session.
    marks: Vec<Mark>,
}

/// The state of the text after a token.
#[derive(Debug, Clone, Copy)]
struct Mark {
    text_end: usize,
    /// Whether the token ended with a whole character, so that the text can be cut after it.
    clean: bool,
}

/// What the next delta reports besides the text.
#[derive(Debug, Default)]
struct Unsent {
    token_ids: Vec<u32>,
    first_token_entropy: Option<f32>,
}

impl Proposal {
    /// Starts a proposal under these rules; `start` is the session's length in tokens.
    pub(crate) fn new(ask: &Propose, rules: ProposalRules, start: usize) -> Self {
        Proposal {
            draws: Draws::new(ask.seed),
            rules,
            own: OwnTokens { start, marks: Vec::new() },
            detokenizer: Detokenizer::new(),
            unsent: Unsent::default(),
        }
    }

    /// Adds a token that is not an end of text. Returns why the proposal is over, if it is.
    pub(crate) fn push(&mut self, token: u32, tokenizer: &Tokenizer) -> Option<FinishReason> {
        let piece = tokenizer.piece(token);
        let mut text = String::new();
        self.detokenizer.push(piece, &mut text);
        let reason = self.rules.push(&text, 1);
        let (text_end, clean) = (self.rules.text().len(), self.detokenizer.is_clean());
        self.own.marks.push(Mark { text_end, clean });
        if !piece.is_empty() {
            self.unsent.token_ids.push(token);
        }
        reason
    }

    /// Takes an end-of-text token, which ends the proposal.
    pub(crate) fn push_end_of_text(&mut self) -> FinishReason {
        self.rules.end_of_text()
    }

    /// Returns the next delta if there are whole characters to send. A delta ends where a token does, so that its ids
    /// spell its text; only the last one may not, and then it has no ids.
    pub(crate) fn delta(&mut self, reason: Option<&FinishReason>) -> Option<Delta> {
        let clean = self.detokenizer.is_clean();
        if !clean && reason.is_none() {
            return None;
        }
        let delta = self.rules.delta(reason)?;
        let Unsent { token_ids, first_token_entropy } = std::mem::take(&mut self.unsent);
        let token_ids = if clean { token_ids } else { Vec::new() };
        Some(Delta { token_ids, first_token_entropy, ..delta })
    }

    /// Returns whether the next token begins a paragraph and its entropy was asked for.
    pub(crate) fn wants_entropy(&self, committed: &str) -> bool {
        self.detokenizer.is_clean() && self.rules.wants_entropy(committed)
    }

    /// Reports the entropy of the next token with the next delta.
    pub(crate) fn tell_entropy(&mut self, entropy_nats: f32) {
        self.unsent.first_token_entropy.get_or_insert(entropy_nats);
    }

    /// Returns its random numbers.
    pub(crate) fn draws(&mut self) -> &mut Draws {
        &mut self.draws
    }

    /// Splits a finished proposal into its rules and its tokens.
    pub(crate) fn into_parts(self) -> (ProposalRules, OwnTokens) {
        (self.rules, self.own)
    }
}

impl OwnTokens {
    /// Returns how many tokens, and how many bytes, are entirely in the first `bytes` bytes of the text.
    pub(crate) fn whole(&self, bytes: usize) -> (usize, usize) {
        let fits = |mark: &&Mark| mark.clean && mark.text_end <= bytes;
        let end = self.marks.iter().rev().find(fits).map_or(0, |mark| mark.text_end);
        // Tokens without text at the cut are dropped.
        let last = self.marks.iter().position(|mark| mark.clean && mark.text_end == end);
        match last {
            Some(last) if end > 0 => (last + 1, end),
            _ => (0, 0),
        }
    }

    /// Returns the spans of the first `tokens` tokens in the committed text, where the proposal's text begins at
    /// `byte`.
    pub(crate) fn spans<'a>(
        &'a self,
        tokens: usize,
        text: &'a str,
        byte: usize,
    ) -> impl Iterator<Item = (usize, usize)> + 'a {
        let marks = self.marks[..tokens].iter();
        spans_of(marks.map(|mark| (mark.text_end, mark.clean)), text, byte)
    }

    /// Returns the session's length in tokens when the proposal began.
    pub(crate) fn start(&self) -> usize {
        self.start
    }
}
