//! The text of a proposal so far: how much of it may be shown, and how many tokens it took.
//!
//! Always `carried <= shown <= settled <= text.len()`, each on a character boundary.

use std::time::Duration;

use thinking::thinker::Delta;

use crate::{
    delta_log::{DeltaLog, LoggedDelta},
    micros,
};

/// The text of a proposal. If its session was lost and another one continues, the beginning is text that the first one
/// wrote and the other one was given.
#[derive(Debug, Default)]
pub(crate) struct ProposedText {
    text: String,
    /// The last piece as it arrived, unless it was passed on: usually this is what is shown next.
    last: String,
    pieces: Vec<Piece>,
    /// Tokens of the pieces.
    tokens: u32,
    /// Bytes that no rule can cut any more.
    settled: usize,
    /// Bytes that are committed and shown.
    shown: usize,
    /// Bytes that earlier sessions wrote and the present one holds as committed text.
    carried: usize,
    /// Tokens of those.
    carried_tokens: u32,
    /// Tokens that earlier sessions wrote and that were lost with them.
    lost_tokens: u32,
    /// All its tokens, as its node counts them at its end.
    total_tokens: Option<u32>,
}

#[derive(Debug)]
struct Piece {
    end: usize,
    tokens: u32,
    token_ids: Vec<u32>,
    /// Time since the ask.
    at: Duration,
    /// Bytes of the proposal that no rule could cut at that time.
    settled: usize,
}

impl ProposedText {
    /// An empty text, with room for a stretch of usual length.
    pub(crate) fn new() -> Self {
        let (text, pieces) = (String::with_capacity(128), Vec::with_capacity(32));
        ProposedText { text, pieces, ..ProposedText::default() }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn settled(&self) -> usize {
        self.settled
    }

    pub(crate) fn shown(&self) -> usize {
        self.shown
    }

    pub(crate) fn carried(&self) -> usize {
        self.carried
    }

    pub(crate) fn carried_tokens(&self) -> u32 {
        self.carried_tokens
    }

    /// Returns what earlier sessions wrote and the present one holds as committed text.
    pub(crate) fn before_session(&self) -> &str {
        &self.text[..self.carried]
    }

    /// Returns whether a session was lost while it was written.
    pub(crate) fn was_disturbed(&self) -> bool {
        self.carried > 0 || self.lost_tokens > 0
    }

    /// Adds a piece that arrived at this time after the ask.
    pub(crate) fn push(&mut self, delta: Delta, at: Duration) {
        self.text.push_str(&delta.text);
        // The node's numbers may be anything.
        let settled = usize::try_from(delta.settled_bytes).unwrap_or(usize::MAX);
        let settled = self.text.floor_char_boundary(self.carried.saturating_add(settled));
        self.settled = self.settled.max(settled);
        self.tokens = self.tokens.saturating_add(delta.tokens);
        let (end, tokens, token_ids) = (self.text.len(), delta.tokens, delta.token_ids);
        self.pieces.push(Piece { end, tokens, token_ids, at, settled: self.settled });
        self.last = delta.text;
    }

    /// Returns the pieces as they arrived; none if a session was lost meanwhile.
    pub(crate) fn deltas(&self) -> DeltaLog {
        if self.was_disturbed() {
            return DeltaLog::default();
        }
        let logged = |piece: &Piece| LoggedDelta {
            at_us: micros(piece.at),
            end: piece.end as u64,
            tokens: piece.tokens,
            settled: piece.settled as u64,
        };
        self.pieces.iter().map(logged).collect()
    }

    /// Notes that no rule can cut its text before this place any more.
    pub(crate) fn settle(&mut self, to: usize) {
        self.settled = self.settled.max(to);
    }

    /// Notes that it is complete and took this many tokens.
    pub(crate) fn complete(&mut self, tokens: u32) {
        self.total_tokens = Some(tokens);
    }

    /// Marks the text up to `end` as shown. Returns the newly shown part.
    pub(crate) fn show(&mut self, end: usize) -> String {
        let begin = std::mem::replace(&mut self.shown, end);
        self.settled = self.settled.max(end);
        let last = std::mem::take(&mut self.last);
        if end == self.text.len() && end - begin == last.len() {
            return last;
        }
        self.text[begin..end].to_owned()
    }

    /// Returns the text from what is shown to `end` with its token ids, piece by piece; a piece that is cut has no ids.
    pub(crate) fn pieces_to(&self, end: usize) -> impl Iterator<Item = (&str, &[u32])> {
        let mut at = self.shown;
        let first = self.pieces.partition_point(|piece| piece.end <= at);
        let mut begin = first.checked_sub(1).map_or(self.carried, |before| self.pieces[before].end);
        self.pieces[first..].iter().map_while(move |piece| {
            if at >= end {
                return None;
            }
            let to = piece.end.min(end);
            let whole = begin == at && to == piece.end;
            let ids: &[u32] = if whole { &piece.token_ids } else { &[] };
            let text = &self.text[at..to];
            (at, begin) = (to, piece.end);
            Some((text, ids))
        })
    }

    /// Returns the tokens of the first `bytes` bytes; a token that is cut counts.
    pub(crate) fn tokens_to(&self, bytes: usize) -> u32 {
        if let Some(tokens) = self.total_tokens.filter(|_| bytes == self.text.len()) {
            return tokens;
        }
        let mut start = self.carried;
        let mut tokens = if bytes > 0 { self.carried_tokens } else { 0 };
        for piece in &self.pieces {
            if start >= bytes {
                break;
            }
            if piece.end > start {
                tokens = tokens.saturating_add(piece.tokens);
            }
            start = piece.end;
        }
        tokens
    }

    /// Returns the tokens that have some byte between these places.
    pub(crate) fn tokens_between(&self, from: usize, to: usize) -> u32 {
        self.tokens_to(to).saturating_sub(self.tokens_to(from))
    }

    /// Returns the tokens generated so far.
    pub(crate) fn tokens_made(&self) -> u32 {
        self.total_tokens.unwrap_or_else(|| self.carried_tokens.saturating_add(self.tokens))
    }

    /// Returns the tokens that are discarded if the first `bytes` bytes are kept.
    pub(crate) fn tokens_discarded(&self, bytes: usize) -> u32 {
        let rest = self.tokens_made().saturating_sub(self.tokens_to(bytes));
        rest.saturating_add(self.lost_tokens)
    }

    /// Goes back to what is shown because the session that wrote the rest is lost.
    pub(crate) fn carry_over(&mut self) {
        let (made, carried_tokens) = (self.tokens_made(), self.tokens_to(self.shown));
        self.lost_tokens = self.lost_tokens.saturating_add(made.saturating_sub(carried_tokens));
        self.carried_tokens = carried_tokens;
        self.total_tokens = None;
        self.text.truncate(self.shown);
        self.last.clear();
        self.pieces.clear();
        self.tokens = 0;
        self.carried = self.shown;
        self.settled = self.shown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(text: &str, tokens: u32, settled_bytes: u64) -> Delta {
        let token_ids = (0..tokens).collect();
        Delta { text: text.to_owned(), tokens, token_ids, settled_bytes, first_token_entropy: None }
    }

    #[test]
    fn pieces_that_are_cut_have_no_ids() {
        let mut text = ProposedText::default();
        text.push(delta("ab", 2, 2), Duration::ZERO);
        text.push(delta("cde", 1, 2), Duration::ZERO);
        let pieces = |text: &ProposedText, end| {
            text.pieces_to(end).map(|(s, ids)| (s.to_owned(), ids.len())).collect::<Vec<_>>()
        };
        assert_eq!(pieces(&text, 4), [("ab".to_owned(), 2), ("cd".to_owned(), 0)]);
        assert_eq!(text.show(4), "abcd");
        assert_eq!(pieces(&text, 5), [("e".to_owned(), 0)]);
        assert_eq!((text.tokens_to(0), text.tokens_to(1), text.tokens_to(3)), (0, 2, 3));
        assert_eq!(text.show(5), "e", "the rest of a piece");
        text.push(delta("fg", 1, 7), Duration::ZERO);
        assert_eq!(text.show(7), "fg", "a piece as it came");
    }

    #[test]
    fn what_a_lost_session_showed_is_carried_and_the_rest_is_lost() {
        let mut text = ProposedText::default();
        text.push(delta("ab", 2, 2), Duration::ZERO);
        text.show(2);
        text.push(delta("cd", 3, 2), Duration::ZERO);
        text.carry_over();
        assert_eq!((text.as_str(), text.carried(), text.carried_tokens()), ("ab", 2, 2));
        text.push(delta("xy", 1, 1), Duration::ZERO);
        assert!(text.deltas().is_empty(), "not all of it is known");
        assert_eq!((text.settled(), text.tokens_made()), (3, 3));
        assert_eq!((text.tokens_to(4), text.tokens_discarded(4)), (3, 3));
        assert_eq!(text.tokens_discarded(2), 1 + 3);
    }

    #[test]
    fn settled_bytes_stay_within_the_text_and_between_characters() {
        for (settled_bytes, expected) in [(0, 0), (1, 0), (2, 0), (3, 3), (u64::MAX, 4)] {
            let mut text = ProposedText::default();
            text.push(delta("数a", 1, settled_bytes), Duration::ZERO);
            assert_eq!(text.settled(), expected, "{settled_bytes}");
        }
    }
}
