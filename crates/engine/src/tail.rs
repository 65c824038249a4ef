//! Encodes text that others wrote as it comes. The tokens are those that the text has in one piece, and what was
//! encoded long before is not encoded again.
//!
//! How a text's end is encoded depends on what follows, so the end is kept as text: the tail. It begins at an edge, a
//! place where the tokenizer starts afresh whatever follows: after a word, before a space. Text may have no such place
//! for long (Chinese, Japanese, Base64). There the edge is a border of two tokens, so far from the end that the end no
//! longer matters: from there on, the text by itself has the same tokens.

use text::{Encoded, Thought, before_last_word};
use thinking::thinker::Failure;

use crate::encoder::{Encoder, check_fits};

/// A tail longer than this is searched for a border of two tokens. In bytes, like all constants that follow.
const LONGEST_TAIL: usize = 512;
/// Such a border is at least this far from the end.
const BORDER_FROM_END: usize = 256;
/// How many borders are tried.
const TRIES: usize = 4;
/// A tail longer than this in which no border is an edge is cut at a border nevertheless. Its tokens still spell the
/// text.
const MOST_TAIL: usize = 4096;
/// A long text is encoded in pieces of this length. So its memory does not grow with the text, and a text that does not
/// fit is given up when the context is full.
const PIECE: usize = 16 << 10;

/// The end of a run of text that others wrote. Further text may still change how it is encoded.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    text: String,
    /// Where its tokens begin in the session.
    start: usize,
    /// Where its text begins in the committed text.
    start_byte: usize,
    /// The state of the answer's thought before it.
    thought: Thought,
}

/// A tail and the text after it, as tokens.
#[derive(Debug)]
pub(crate) struct Joined {
    /// Where the tokens begin in the session: they replace those of the old tail.
    pub(crate) start: usize,
    pub(crate) ids: Vec<u32>,
    /// For each token the bytes of the committed text that it comes from.
    pub(crate) spans: Vec<(usize, usize)>,
    /// The part of it whose tokens further text may change.
    pub(crate) tail: Tail,
}

impl Tail {
    /// Makes the tail of an answer that begins after `start` tokens.
    pub(crate) fn new(start: usize, thought: Thought) -> Self {
        Tail { text: String::new(), start, start_byte: 0, thought }
    }

    /// Returns where its tokens begin in the session.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Returns where its text begins in the committed text.
    pub(crate) fn start_byte(&self) -> usize {
        self.start_byte
    }

    /// Returns where its text ends in the committed text.
    pub(crate) fn end_byte(&self) -> usize {
        self.start_byte + self.text.len()
    }

    /// Moves the tail past more text whose tokens are given and end at `start`: none of it is encoded again.
    pub(crate) fn fix(&mut self, text: &str, start: usize) {
        self.text.push_str(text);
        *self = Tail {
            text: String::new(),
            start,
            start_byte: self.end_byte(),
            thought: self.thought.after(&self.text),
        };
    }

    /// Like [`fix`](Self::fix), but returns a new tail.
    pub(crate) fn behind(&self, text: &str, start: usize) -> Tail {
        let mut tail = self.clone();
        tail.fix(text, start);
        tail
    }

    /// Encodes more text in a session of at most `context` tokens.
    pub(crate) fn joined(
        &self,
        text: &str,
        context: usize,
        encoder: &Encoder,
    ) -> Result<Joined, Failure> {
        let (ids, spans) = <(Vec<u32>, Vec<(usize, usize)>)>::default();
        let mut joined = Joined { start: self.start, ids, spans, tail: self.clone() };
        let mut rest = text;
        loop {
            let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE));
            joined.push(piece, encoder)?;
            // Tokens before the tail stay, whatever follows.
            check_fits(joined.tail.start, context, "the text")?;
            rest = behind;
            if rest.is_empty() {
                check_fits(joined.start + joined.ids.len(), context, "the text")?;
                return Ok(joined);
            }
        }
    }

    /// Returns the last edge of a text that consists of this tail and what follows: its bytes and its tokens.
    fn edge(
        &self,
        text: &str,
        encoded: &Encoded,
        encoder: &Encoder,
    ) -> Result<(usize, usize), Failure> {
        let at_space = before_last_word(text, &encoded.spans);
        if text.len() - at_space.0 <= LONGEST_TAIL {
            return Ok(at_space);
        }
        let spans = &encoded.spans;
        let near = spans.partition_point(|&(start, _)| start + BORDER_FROM_END <= text.len());
        let borders = (at_space.1 + 1..near).rev().filter(|&at| spans[at - 1].1 == spans[at].0);
        let mut borders = borders.map(|at| (spans[at].0, at)).take(TRIES).peekable();
        let last = borders.peek().copied();
        for (bytes, tokens) in borders {
            if self.begins_anew(text, bytes, &encoded.ids[tokens..], encoder)? {
                return Ok((bytes, tokens));
            }
        }
        let is_too_long = text.len() - at_space.0 > MOST_TAIL;
        Ok(last.filter(|_| is_too_long).unwrap_or(at_space))
    }

    /// Returns whether the text from `at` on has these tokens by itself, and marks of a thought stay whole.
    fn begins_anew(
        &self,
        text: &str,
        at: usize,
        ids: &[u32],
        encoder: &Encoder,
    ) -> Result<bool, Failure> {
        let (before, rest) = text.split_at(at);
        let thought = self.thought.after(before);
        if thought.after(rest) != self.thought.after(text) {
            return Ok(false);
        }
        Ok(encoder.committed(rest, thought)?.ids == ids)
    }
}

impl Joined {
    fn push(&mut self, piece: &str, encoder: &Encoder) -> Result<(), Failure> {
        let Tail { text: tail, start, start_byte, thought } = &self.tail;
        let text = format!("{tail}{piece}");
        let encoded = encoder.committed(&text, *thought)?;
        let (bytes, tokens) = self.tail.edge(&text, &encoded, encoder)?;
        self.ids.truncate(start - self.start);
        self.ids.extend_from_slice(&encoded.ids);
        self.spans.truncate(start - self.start);
        let spans = encoded.spans.iter();
        self.spans.extend(spans.map(|(from, to)| (start_byte + from, start_byte + to)));
        self.tail = Tail {
            text: text[bytes..].to_owned(),
            start: start + tokens,
            start_byte: start_byte + bytes,
            thought: thought.after(&text[..bytes]),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests;
