//! The committed text of an answer, with the token ids of its pieces if they are known.

use std::sync::Arc;

use thinking::thinker::TextHash;

/// The committed text. It only ever grows.
#[derive(Debug, Default)]
pub(crate) struct CommittedText {
    text: String,
    pieces: Vec<Piece>,
}

/// Committed text that arrived at once, or adjacent text without known ids.
#[derive(Debug)]
struct Piece {
    end: usize,
    /// Empty if they are not known.
    token_ids: Vec<u32>,
    /// The fingerprint of the tokenizer that produced them, if any.
    fingerprint: Option<Arc<str>>,
}

impl CommittedText {
    /// Returns the text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Returns whether this is a character boundary or lies beyond the text.
    pub(crate) fn is_place(&self, at: usize) -> bool {
        at > self.text.len() || self.text.is_char_boundary(at)
    }

    /// Returns the text from `start` on; empty if that is not a character boundary in it.
    pub(crate) fn from(&self, start: usize) -> &str {
        self.text.get(start..).unwrap_or_default()
    }

    /// Adds text; `token_ids` is empty if they are not known.
    pub(crate) fn push(&mut self, text: &str, token_ids: &[u32], fingerprint: Option<&Arc<str>>) {
        self.text.push_str(text);
        // Without ids, it does not matter where pieces meet.
        if let Some(last) = self.pieces.last_mut().filter(|last| last.token_ids.is_empty())
            && token_ids.is_empty()
        {
            last.end = self.text.len();
            return;
        }
        self.pieces.push(Piece {
            end: self.text.len(),
            token_ids: token_ids.to_vec(),
            fingerprint: fingerprint.cloned(),
        });
    }

    /// Returns the token ids of the text from `start` on if all of it has ids of this tokenizer, otherwise none.
    pub(crate) fn token_ids_from(&self, start: usize, fingerprint: &str) -> Vec<u32> {
        let first = self.pieces.partition_point(|piece| piece.end <= start);
        let begins_here = match first.checked_sub(1).and_then(|before| self.pieces.get(before)) {
            Some(before) => before.end == start,
            None => start == 0,
        };
        let pieces = self.pieces.get(first..).unwrap_or_default();
        let known = |piece: &Piece| {
            !piece.token_ids.is_empty() && piece.fingerprint.as_deref() == Some(fingerprint)
        };
        if fingerprint.is_empty() || !begins_here || !pieces.iter().all(known) {
            return Vec::new();
        }
        pieces.iter().flat_map(|piece| piece.token_ids.iter().copied()).collect()
    }
}

/// How far a session's text goes: its length, and the hash that the node must report for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TextPosition {
    /// Bytes of the committed text.
    pub(crate) bytes: usize,
    /// Their hash.
    pub(crate) hash: TextHash,
}

impl TextPosition {
    /// Advances over more text.
    pub(crate) fn push(&mut self, text: &str) {
        self.bytes += text.len();
        self.hash.push(text);
    }

    /// Returns the position at the end of a text.
    pub(crate) fn after(text: &str) -> Self {
        TextPosition { bytes: text.len(), hash: TextHash::of(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_given_for_whole_pieces_of_the_same_tokenizer_only() {
        let mut committed = CommittedText::default();
        let f: Arc<str> = "f".into();
        committed.push("ab", &[1, 2], Some(&f));
        committed.push("c", &[3], Some(&f));
        assert_eq!(committed.token_ids_from(0, "f"), [1, 2, 3]);
        assert_eq!(committed.token_ids_from(2, "f"), [3]);
        assert!(committed.token_ids_from(1, "f").is_empty(), "a piece is cut");
        assert!(committed.token_ids_from(0, "g").is_empty(), "another tokenizer");
        committed.push("d", &[], Some(&f));
        assert!(committed.token_ids_from(2, "f").is_empty(), "ids are not known");
        assert!(committed.token_ids_from(4, "f").is_empty(), "nothing is left");
    }
}
