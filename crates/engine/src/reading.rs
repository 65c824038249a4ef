//! What a session that reviews knows of the tokens that are still to be judged.
//!
//! A token's verdict is told by the logits behind the one before it, so each is computed with its predecessor, for what
//! may be judged later too: whether a token stays as it is, is known only when more text has come. What is judged is in
//! [`thinking::session::review`].

use std::collections::VecDeque;

use text::Tokenizer;

use crate::{
    redraw::{Redraw, Standing},
    verdict::{Verdict, verdict},
};

/// The tokens of a session that no verdict is over yet.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The gap up to which tokens stand.
    allowed: f32,
    /// The first of them.
    next: usize,
    tokens: VecDeque<Token>,
    /// The first one over that gap.
    over: Option<usize>,
    /// The logits behind so many tokens, for what comes next.
    row: Option<(usize, Vec<f32>)>,
    /// Where what would stand instead is drawn.
    redraw: Option<Redraw>,
}

/// What is known of a token.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    /// It stands.
    Stands,
    /// Its verdict is wanted.
    Wanted,
    /// Its verdict is there.
    Told(Verdict),
}

impl Reading {
    /// Of a session whose first tokens stand.
    pub(crate) fn new(allowed: f32, next: usize, redraw: Option<Redraw>) -> Self {
        Reading { allowed, next, tokens: VecDeque::new(), over: None, row: None, redraw }
    }

    /// What these logits say of what stands behind them.
    pub(crate) fn verdict_on(
        &mut self,
        standing: Standing<'_>,
        logits: &[f32],
        tokenizer: &Tokenizer,
    ) -> Verdict {
        let allowed = self.allowed(standing.before.len());
        let mut told = verdict(logits, standing.tokens, allowed, tokenizer);
        if told.gap > allowed
            && let Some(redraw) = &mut self.redraw
        {
            told.instead = redraw.instead(standing, logits, tokenizer).unwrap_or(told.instead);
        }
        told
    }

    /// The gap up to which a token stands. Behind one that does not, nobody asks.
    fn allowed(&self, token: usize) -> f32 {
        if self.over.is_some_and(|over| over < token) { f32::INFINITY } else { self.allowed }
    }

    /// The first token that is not passed.
    pub(crate) fn next(&self) -> usize {
        self.next
    }

    /// How many tokens of the session it knows of.
    pub(crate) fn end(&self) -> usize {
        self.next + self.tokens.len()
    }

    /// Adds the next token.
    pub(crate) fn push(&mut self, is_wanted: bool) {
        self.tokens.push_back(if is_wanted { Token::Wanted } else { Token::Stands });
    }

    /// Forgets all tokens but the session's first.
    pub(crate) fn cut(&mut self, len: usize) {
        self.next = self.next.min(len);
        self.tokens.truncate(len - self.next);
        self.over.take_if(|over| *over >= len);
        self.row.take_if(|(tokens, _)| *tokens > len);
    }

    /// The first of these tokens whose verdict is wanted.
    pub(crate) fn first_wanted(&self, from: usize) -> Option<usize> {
        let skipped = from.saturating_sub(self.next);
        let found = self.tokens.iter().skip(skipped).position(|it| *it == Token::Wanted)?;
        Some(self.next + skipped + found)
    }

    /// Whether a token's verdict is wanted.
    pub(crate) fn wants(&self, token: usize) -> bool {
        let at = token.checked_sub(self.next);
        at.and_then(|at| self.tokens.get(at)) == Some(&Token::Wanted)
    }

    /// Takes a token's verdict.
    pub(crate) fn tell(&mut self, token: usize, verdict: Verdict) {
        let at = token.checked_sub(self.next);
        if let Some(known) = at.and_then(|at| self.tokens.get_mut(at)) {
            *known = Token::Told(verdict);
            if self.over.is_none() && verdict.gap > self.allowed {
                self.over = Some(token);
            }
        }
    }

    /// The verdict on the first token that is not passed, if it is there.
    pub(crate) fn told(&self) -> Option<Verdict> {
        match self.tokens.front() {
            Some(Token::Told(verdict)) => Some(*verdict),
            _ => None,
        }
    }

    /// Passes the first token.
    pub(crate) fn pass(&mut self) {
        self.tokens.pop_front();
        self.next += 1;
        self.over.take_if(|over| *over < self.next);
    }

    /// Keeps the logits behind so many tokens until what comes next is known.
    pub(crate) fn keep_row(&mut self, tokens: usize, row: Vec<f32>) {
        self.row = Some((tokens, row));
    }

    /// The logits that were kept.
    pub(crate) fn take_row(&mut self) -> Option<(usize, Vec<f32>)> {
        self.row.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_stay_with_their_tokens() {
        let verdict = |gap| Verdict { gap, instead: 0, rank: 0, log_p: 0.0 };
        let mut reading = Reading::new(1.0, 5, None);
        [false, true, true, true].into_iter().for_each(|wanted| reading.push(wanted));
        assert_eq!((reading.end(), reading.first_wanted(0)), (9, Some(6)));
        assert_eq!((reading.first_wanted(7), reading.first_wanted(9)), (Some(7), None));
        reading.tell(6, verdict(0.5));
        assert!(!reading.wants(5) && !reading.wants(6) && reading.wants(7) && !reading.wants(4));
        assert_eq!(reading.told(), None);
        reading.pass();
        assert_eq!((reading.next(), reading.told()), (6, Some(verdict(0.5))));
        reading.tell(7, verdict(1.5));
        assert_eq!((reading.allowed(7), reading.allowed(8)), (1.0, f32::INFINITY));
        reading.keep_row(9, vec![1.0]);
        reading.cut(8);
        assert_eq!((reading.end(), reading.take_row()), (8, None));
        reading.cut(3);
        assert_eq!((reading.next(), reading.end()), (3, 3));
        reading.tell(7, verdict(2.0));
        assert_eq!(reading.allowed(8), 1.0);
        assert_eq!(reading.first_wanted(0), None);
    }
}
