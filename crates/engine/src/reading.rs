//! What a session that reviews knows about the tokens still to be judged.
//!
//! The logits after a token give the verdict on the next one, so a verdict is computed together with the token before
//! it. That includes tokens that can be judged only later: whether a token is final is known only once more text has
//! come. [`thinking::session::review`] decides what is judged.

use std::collections::VecDeque;

use text::Tokenizer;

use crate::{
    redraw::{Redraw, Standing},
    verdict::{Verdict, verdict},
};

/// The tokens of a session that have not been passed yet.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The largest gap at which a token stands.
    allowed: f32,
    /// The first token that has not been passed.
    next: usize,
    tokens: VecDeque<Token>,
    /// The first token with a larger gap.
    over: Option<usize>,
    /// A number of tokens and the logits after the last of them, kept until the next token is known.
    row: Option<(usize, Vec<f32>)>,
    /// Draws what would stand instead, if that is drawn.
    redraw: Option<Redraw>,
}

/// What is known of a token.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    /// It stands without a verdict.
    Stands,
    /// Its verdict is wanted.
    Wanted,
    /// Its verdict is known.
    Told(Verdict),
}

impl Reading {
    /// Starts with a session whose first `next` tokens stand.
    pub(crate) fn new(allowed: f32, next: usize, redraw: Option<Redraw>) -> Self {
        Reading { allowed, next, tokens: VecDeque::new(), over: None, row: None, redraw }
    }

    /// Returns what these logits say about what follows them.
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

    /// Returns the gap up to which a token stands: any gap after the first token that does not stand, since nobody asks
    /// there.
    fn allowed(&self, token: usize) -> f32 {
        if self.over.is_some_and(|over| over < token) { f32::INFINITY } else { self.allowed }
    }

    /// Returns the first token that has not been passed.
    pub(crate) fn next(&self) -> usize {
        self.next
    }

    /// Returns how many tokens of the session it knows of.
    pub(crate) fn end(&self) -> usize {
        self.next + self.tokens.len()
    }

    /// Adds the next token.
    pub(crate) fn push(&mut self, is_wanted: bool) {
        self.tokens.push_back(if is_wanted { Token::Wanted } else { Token::Stands });
    }

    /// Forgets all tokens after the session's first `len`.
    pub(crate) fn cut(&mut self, len: usize) {
        self.next = self.next.min(len);
        self.tokens.truncate(len - self.next);
        self.over.take_if(|over| *over >= len);
        self.row.take_if(|(tokens, _)| *tokens > len);
    }

    /// Returns the first token from `from` on whose verdict is wanted.
    pub(crate) fn first_wanted(&self, from: usize) -> Option<usize> {
        let skipped = from.saturating_sub(self.next);
        let found = self.tokens.iter().skip(skipped).position(|it| *it == Token::Wanted)?;
        Some(self.next + skipped + found)
    }

    /// Returns whether a token's verdict is wanted.
    pub(crate) fn wants(&self, token: usize) -> bool {
        let at = token.checked_sub(self.next);
        at.and_then(|at| self.tokens.get(at)) == Some(&Token::Wanted)
    }

    /// Notes a token's verdict.
    pub(crate) fn tell(&mut self, token: usize, verdict: Verdict) {
        let at = token.checked_sub(self.next);
        if let Some(known) = at.and_then(|at| self.tokens.get_mut(at)) {
            *known = Token::Told(verdict);
            if self.over.is_none() && verdict.gap > self.allowed {
                self.over = Some(token);
            }
        }
    }

    /// Returns the verdict on the first token that has not been passed, if it is known.
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

    /// Keeps the logits after the first `tokens` tokens until the next token is known.
    pub(crate) fn keep_row(&mut self, tokens: usize, row: Vec<f32>) {
        self.row = Some((tokens, row));
    }

    /// Takes the logits that were kept.
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
