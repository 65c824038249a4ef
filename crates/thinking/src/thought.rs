//! Splits an answer, while it is written, into the thought before it, the marks around the thought, and the answer
//! proper.
//!
//! Only two marks count: an opening mark at the very beginning of an answer, unless the prompt ends with one, and the
//! first closing mark after it. Anywhere else the same characters are ordinary text, so text that was shown as the
//! answer never becomes a thought later.

use crate::thinker::ThoughtStart;

/// The marks around thoughts, as (opening, closing).
pub(crate) const MARKS: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("[THINK]", "[/THINK]"),
];

/// Which part of an answer a stretch of its text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerPart {
    /// The thought.
    Thought,
    /// A mark, or white space beside one.
    Mark,
    /// The answer proper.
    Proper,
}

/// Splits the text of an answer into its parts as it comes. Parts are returned as lengths in bytes, in order, so that
/// the caller can split anything that belongs to the text in the same way.
///
/// ```
/// use thinking::{thinker::ThoughtStart, thought::{AnswerPart::{Mark, Proper, Thought as Of}, ThoughtSplitter}};
///
/// let mut splitter = ThoughtSplitter::new(ThoughtStart::Unopened);
/// assert_eq!(splitter.push("<think>So 5.</thi"), [(Mark, 7), (Of, 5)]);
/// assert_eq!(splitter.push("nk>\n\nIt is 5."), [(Mark, 8), (Mark, 2), (Proper, 8)]);
/// assert_eq!(splitter.finish(), []);
/// ```
#[derive(Debug)]
pub struct ThoughtSplitter {
    state: State,
    /// Text that is not assigned to a part yet.
    held: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// An opening mark may follow.
    Beginning,
    /// After the opening mark, before any other text.
    ThoughtBegins,
    Thought,
    /// After the closing mark, before any other text.
    ProperBegins,
    Proper,
}

impl ThoughtSplitter {
    /// A splitter for an answer whose text begins in this state of the thought; `Unknown` counts as `Unopened`.
    pub fn new(start: ThoughtStart) -> Self {
        let state = match start {
            ThoughtStart::Unknown | ThoughtStart::Unopened => State::Beginning,
            ThoughtStart::Open => State::ThoughtBegins,
            ThoughtStart::Over => State::Proper,
        };
        ThoughtSplitter { state, held: String::new() }
    }

    /// Returns the state of the thought after the text so far.
    pub fn thought(&self) -> ThoughtStart {
        match self.state {
            State::Beginning => ThoughtStart::Unopened,
            State::ThoughtBegins | State::Thought => ThoughtStart::Open,
            State::ProperBegins | State::Proper => ThoughtStart::Over,
        }
    }

    /// Adds text. Returns the parts that are decided now.
    pub fn push(&mut self, text: &str) -> Vec<(AnswerPart, usize)> {
        self.held.push_str(text);
        let mut parts = Vec::new();
        while let Some((part, bytes, next)) = self.next() {
            if bytes > 0 {
                self.held.drain(..bytes);
                parts.push((part, bytes));
            }
            if bytes == 0 && next == self.state {
                break;
            }
            self.state = next;
        }
        parts
    }

    /// Ends the answer. Returns the rest.
    pub fn finish(&mut self) -> Vec<(AnswerPart, usize)> {
        let part = match self.state {
            State::Beginning | State::Proper => AnswerPart::Proper,
            State::Thought => AnswerPart::Thought,
            State::ThoughtBegins | State::ProperBegins => AnswerPart::Mark,
        };
        let bytes = std::mem::take(&mut self.held).len();
        if bytes == 0 { Vec::new() } else { vec![(part, bytes)] }
    }

    /// Returns the part at the start of the held text, its length, and the state after it; `None` if more text must
    /// decide.
    fn next(&self) -> Option<(AnswerPart, usize, State)> {
        let held = self.held.as_str();
        let space = held.len() - held.trim_start().len();
        let begun = &held[space..];
        match self.state {
            State::Beginning if begun.is_empty() => None,
            State::Beginning => {
                let opened = MARKS.iter().find(|(open, _)| begun.starts_with(open));
                match opened {
                    Some((open, _)) => {
                        Some((AnswerPart::Mark, space + open.len(), State::ThoughtBegins))
                    }
                    None if MARKS.iter().any(|(open, _)| open.starts_with(begun)) => None,
                    None => Some((AnswerPart::Proper, 0, State::Proper)),
                }
            }
            State::ThoughtBegins | State::ProperBegins if begun.is_empty() => {
                (space > 0).then_some((AnswerPart::Mark, space, self.state))
            }
            State::ThoughtBegins => Some((AnswerPart::Mark, space, State::Thought)),
            State::ProperBegins => Some((AnswerPart::Mark, space, State::Proper)),
            State::Thought => Some(thought(held)),
            State::Proper => Some((AnswerPart::Proper, held.len(), State::Proper)),
        }
    }
}

/// Returns the part at the start of a thought's text, its length, and the state after it.
fn thought(held: &str) -> (AnswerPart, usize, State) {
    let closes = MARKS.iter().filter_map(|(_, close)| Some((held.find(close)?, close.len())));
    if let Some((at, mark)) = closes.min() {
        let end = held[..at].trim_end().len();
        return match end {
            0 => (AnswerPart::Mark, at + mark, State::ProperBegins),
            end => (AnswerPart::Thought, end, State::Thought),
        };
    }
    // A mark may have begun here, with white space before it.
    let begun = MARKS.iter().filter_map(|(_, close)| {
        let is_begun = |length: &usize| close.get(..*length).is_some_and(|it| held.ends_with(it));
        (1..close.len()).rev().find(is_begun)
    });
    let end = held[..held.len() - begun.max().unwrap_or(0)].trim_end().len();
    (AnswerPart::Thought, end, State::Thought)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the thought and the answer proper of a text that comes in pieces.
    fn split(start: ThoughtStart, pieces: &[&str]) -> (String, String) {
        let mut splitter = ThoughtSplitter::new(start);
        let (mut thought, mut proper) = (String::new(), String::new());
        let mut rest = String::new();
        let mut take = |parts: Vec<(AnswerPart, usize)>, rest: &mut String| {
            for (part, bytes) in parts {
                let text: String = rest.drain(..bytes).collect();
                match part {
                    AnswerPart::Thought => thought.push_str(&text),
                    AnswerPart::Proper => proper.push_str(&text),
                    AnswerPart::Mark => {}
                }
            }
        };
        for piece in pieces {
            rest.push_str(piece);
            take(splitter.push(piece), &mut rest);
        }
        take(splitter.finish(), &mut rest);
        assert_eq!(rest, "", "all text is in a part");
        (thought, proper)
    }

    const CASES: [(ThoughtStart, &str, &str, &str); 12] = [
        (ThoughtStart::Unopened, "<think>\na\n\nb\n</think>\n\nc</think>", "a\n\nb", "c</think>"),
        (ThoughtStart::Unopened, "\n<thinking>a[/THINK]b", "a", "b"),
        (ThoughtStart::Unopened, " plain <think>a</think>", "", " plain <think>a</think>"),
        (ThoughtStart::Unopened, "<thin", "", "<thin"),
        (ThoughtStart::Unopened, "<think>a</thin", "a</thin", ""),
        (ThoughtStart::Unopened, "<think></think>\n\nc", "", "c"),
        (ThoughtStart::Unopened, "<think>\n\n", "", ""),
        (ThoughtStart::Open, "a\n</think>\n\nb\n", "a", "b\n"),
        (ThoughtStart::Open, "a <b", "a <b", ""),
        (ThoughtStart::Open, "<think>a</think>b", "<think>a", "b"),
        (ThoughtStart::Over, "\na</think>", "", "\na</think>"),
        (ThoughtStart::Unopened, "", "", ""),
    ];

    #[test]
    fn a_thought_is_taken_off_with_its_marks() {
        for (start, text, thought, proper) in CASES {
            let found = split(start, &[text]);
            assert_eq!(found, (thought.to_owned(), proper.to_owned()), "{start:?} {text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_cuts_between_pieces_do_not_matter(case in 0..CASES.len(), length in 1usize..6) {
            let (start, text, thought, proper) = CASES[case];
            let letters: Vec<char> = text.chars().collect();
            let pieces: Vec<String> = letters.chunks(length).map(|piece| piece.iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            prop_assert_eq!(split(start, &pieces), (thought.to_owned(), proper.to_owned()));
        }
    }
}
