//! Splits an answer's text, as it is written, into the parts of a message: the reasoning and the content, each piece
//! with its writer.

use std::collections::VecDeque;

use answer::progress::Text;
use thinking::{
    beginning::AnswerBeginning,
    thinker::ThoughtStart,
    thought::{AnswerPart, ThoughtSplitter},
};

/// A part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessagePart {
    Reasoning,
    Content,
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MessagePiece {
    pub(crate) part: MessagePart,
    pub(crate) text: Text,
}

/// Cuts an answer's text into the pieces of a message.
#[derive(Debug)]
pub(crate) struct MessageShaper {
    /// `None` if the reasoning stays in the content.
    splitter: Option<ThoughtSplitter>,
    /// Text whose part is not known yet.
    undecided: Pieces,
    /// How much text has arrived, in bytes.
    came: usize,
    /// Where the reasoning ends in the text, in bytes.
    reasoning_end: usize,
}

impl MessageShaper {
    /// Creates a shaper for an answer whose thought starts like this after the prompt, and which continues the given
    /// beginning.
    pub(crate) fn new(start: ThoughtStart, beginning: &AnswerBeginning, is_inline: bool) -> Self {
        let splitter = || {
            let mut splitter = ThoughtSplitter::new(start);
            // Trailing white space is not part of a mark.
            let (text, parts) = (beginning.text(start), |(_, bytes): (AnswerPart, usize)| bytes);
            let given = text.trim_end();
            let read: usize = splitter.push(given).into_iter().map(parts).sum();
            if read < given.len() {
                // An incomplete mark at the end counts as plain text.
                splitter = ThoughtSplitter::new(beginning.thought_behind(start));
            }
            splitter
        };
        MessageShaper {
            splitter: (!is_inline).then(splitter),
            undecided: Pieces::default(),
            came: 0,
            reasoning_end: 0,
        }
    }

    /// Takes more text; returns what may be shown now.
    pub(crate) fn push(&mut self, text: &Text) -> Vec<MessagePiece> {
        self.undecided.push(Piece { at: self.came, text: text.clone() });
        let text = &text.text;
        self.came += text.len();
        let parts = match &mut self.splitter {
            Some(splitter) => splitter.push(text),
            None => vec![(AnswerPart::Proper, text.len())],
        };
        self.take(parts)
    }

    /// Ends the text. Returns what was held back.
    pub(crate) fn finish(&mut self) -> Vec<MessagePiece> {
        let parts = self.splitter.as_mut().map(ThoughtSplitter::finish).unwrap_or_default();
        self.take(parts)
    }

    /// Returns where the reasoning ends in the text, in bytes.
    pub(crate) fn reasoning_bytes(&self) -> usize {
        self.reasoning_end
    }

    fn take(&mut self, parts: Vec<(AnswerPart, usize)>) -> Vec<MessagePiece> {
        let mut shown = Vec::new();
        for (part, bytes) in parts {
            let pieces: Vec<Piece> = self.undecided.take(bytes).collect();
            match part {
                AnswerPart::Mark => {}
                AnswerPart::Thought => {
                    let end = pieces.last().map(|piece| piece.at + piece.len());
                    self.reasoning_end = end.unwrap_or(self.reasoning_end);
                    shown.extend(pieces.into_iter().map(|piece| piece.of(MessagePart::Reasoning)));
                }
                AnswerPart::Proper => {
                    shown.extend(pieces.into_iter().map(|piece| piece.of(MessagePart::Content)));
                }
            }
        }
        shown
    }
}

/// A piece of an answer's text.
#[derive(Debug)]
struct Piece {
    /// Where it begins in the text, in bytes.
    at: usize,
    text: Text,
}

impl Piece {
    fn of(self, part: MessagePart) -> MessagePiece {
        MessagePiece { part, text: self.text }
    }

    fn len(&self) -> usize {
        self.text.text.len()
    }
}

/// Pieces that wait, in order.
#[derive(Debug, Default)]
struct Pieces(VecDeque<Piece>);

impl Pieces {
    fn push(&mut self, piece: Piece) {
        if piece.len() > 0 {
            self.0.push_back(piece);
        }
    }

    /// Takes this many bytes from the beginning. They must end at a character boundary.
    fn take(&mut self, mut bytes: usize) -> impl Iterator<Item = Piece> {
        let mut taken = Vec::new();
        while bytes > 0 {
            let Some(mut first) = self.0.pop_front() else { break };
            if first.len() > bytes {
                let Text { writer, why, text, .. } = &mut first.text;
                let text = Text::new(*writer, *why, text.split_off(bytes));
                self.0.push_front(Piece { at: first.at + bytes, text });
            }
            bytes -= first.len();
            taken.push(first);
        }
        taken.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use answer::Writer;
    use thinking::policy::Why;

    use super::*;

    fn text(writer: Writer, text: &str) -> Text {
        let why = if writer == Writer::Small { Why::Turn } else { Why::Reflection };
        Text::new(writer, why, text)
    }

    /// Every piece as "part writer text".
    fn pieces(shaper: &mut MessageShaper, texts: &[(Writer, &str)]) -> Vec<String> {
        let mut shown = Vec::new();
        for (writer, it) in texts {
            shown.extend(shaper.push(&text(*writer, it)));
        }
        shown.extend(shaper.finish());
        let line = |MessagePiece { part, text }: &MessagePiece| {
            format!("{part:?} {:?} {}", text.writer, text.text)
        };
        shown.iter().map(line).collect()
    }

    use Writer::{Large, Small};

    /// Returns a shaper for an answer without a given beginning.
    fn shaper(start: ThoughtStart, is_inline: bool) -> MessageShaper {
        MessageShaper::new(start, &AnswerBeginning::default(), is_inline)
    }

    #[test]
    fn reasoning_is_split_and_every_piece_keeps_its_writer() {
        let texts = [
            (Small, "<thi"),
            (Large, "nk>\nA. "),
            (Small, "B.</th"),
            (Large, "ink>\n\nC"),
            (Small, " D"),
        ];
        let mut split = shaper(ThoughtStart::Unopened, false);
        let expected = [
            "Reasoning Large A.",
            "Reasoning Large  ",
            "Reasoning Small B.",
            "Content Large C",
            "Content Small  D",
        ];
        assert_eq!(pieces(&mut split, &texts), expected);
        assert_eq!(split.reasoning_bytes(), 13);
        let mut inline = shaper(ThoughtStart::Unopened, true);
        assert_eq!(pieces(&mut inline, &texts).len(), 5, "as it was written");
        let mut open = shaper(ThoughtStart::Open, false);
        assert_eq!(
            pieces(&mut open, &[(Small, "A</think>B")]),
            ["Reasoning Small A", "Content Small B"]
        );
    }

    #[test]
    fn what_follows_a_beginning_is_told_to_the_byte() {
        for (start, reasoning, content, text, expected) in [
            (
                ThoughtStart::Open,
                "13",
                "",
                " so</think>\n\n4",
                &["Reasoning Small  so", "Content Small 4"][..],
            ),
            (ThoughtStart::Open, "13 ", "", "so", &["Reasoning Small so"]),
            (ThoughtStart::Unopened, "", "No,", "\n so", &["Content Small \n so"]),
            (
                ThoughtStart::Unopened,
                "1",
                "",
                "3</think>4",
                &["Reasoning Small 3", "Content Small 4"],
            ),
            (ThoughtStart::Open, "a</thi", "", "so", &["Reasoning Small so"]),
        ] {
            let (reasoning, content) = (reasoning.to_owned(), content.to_owned());
            let beginning = AnswerBeginning { reasoning, content };
            let mut shaper = MessageShaper::new(start, &beginning, false);
            assert_eq!(pieces(&mut shaper, &[(Small, text)]), expected, "{start:?} {beginning:?}");
        }
    }
}
