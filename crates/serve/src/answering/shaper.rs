//! From an answer's text, as it is written, to the parts of a message: the reasoning and the content, cut at the first
//! stop text, each piece with its writer.

use std::collections::VecDeque;

use answer::{Writer, progress::Text};
use text::{AnswerPart, Thought, ThoughtSplitter};
use thinking::{policy::Why, thinker::ThoughtStart};

use super::stops::StopFinder;

/// Which part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessagePart {
    Reasoning,
    Content,
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessagePiece {
    pub(crate) part: MessagePart,
    pub(crate) writer: Writer,
    pub(crate) why: Why,
    pub(crate) text: String,
}

/// Cuts an answer's text into the pieces of a message.
#[derive(Debug)]
pub(crate) struct MessageShaper {
    /// Absent where the reasoning stays in the content.
    splitter: Option<ThoughtSplitter>,
    stops: StopFinder,
    /// Text of which is not known what it is.
    undecided: Pieces,
    /// Content that may be the beginning of a stop text.
    held: Pieces,
    /// How much text came, in bytes.
    came: usize,
    /// Where the last byte of the reasoning ends in the text.
    reasoning_end: usize,
    /// Where the text is cut off, and the number of the stop text there.
    stopped: Option<(usize, usize)>,
}

impl MessageShaper {
    /// For an answer whose thought is so far where its text begins.
    pub(crate) fn new(start: ThoughtStart, is_inline: bool, stops: Vec<String>) -> Self {
        let start = match start {
            ThoughtStart::Unknown | ThoughtStart::Unopened => Thought::Unopened,
            ThoughtStart::Open => Thought::Open,
            ThoughtStart::Over => Thought::Over,
        };
        MessageShaper {
            splitter: (!is_inline).then(|| ThoughtSplitter::new(start)),
            stops: StopFinder::new(stops),
            undecided: Pieces::default(),
            held: Pieces::default(),
            came: 0,
            reasoning_end: 0,
            stopped: None,
        }
    }

    /// Takes more text; returns what may be shown now. Behind a stop text that is nothing.
    pub(crate) fn push(&mut self, text: &Text) -> Vec<MessagePiece> {
        if self.stopped.is_some() {
            return Vec::new();
        }
        let Text { writer, why, text } = text;
        self.undecided.push(Piece {
            at: self.came,
            writer: *writer,
            why: *why,
            text: text.clone(),
        });
        self.came += text.len();
        let parts = match &mut self.splitter {
            Some(splitter) => splitter.push(text),
            None => vec![(AnswerPart::Proper, text.len())],
        };
        self.take(parts)
    }

    /// The text is over: what was held back.
    pub(crate) fn finish(&mut self) -> Vec<MessagePiece> {
        if self.stopped.is_some() {
            return Vec::new();
        }
        let parts = self.splitter.as_mut().map(ThoughtSplitter::finish).unwrap_or_default();
        let mut shown = self.take(parts);
        if self.stopped.is_none() {
            let bytes = self.stops.finish();
            shown.extend(self.held.take(bytes).map(|piece| piece.of(MessagePart::Content)));
        }
        shown
    }

    /// The stop text that ended it.
    pub(crate) fn stopped_by(&self) -> Option<&str> {
        self.stopped.and_then(|(_, number)| self.stops.stop(number))
    }

    /// How much of the text is shown, in bytes; what is left out between counts too.
    pub(crate) fn shown_bytes(&self) -> usize {
        self.stopped.map_or(self.came, |(at, _)| at)
    }

    /// Where the reasoning ends in the text, in bytes.
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
                    let end = pieces.last().map(|piece| piece.at + piece.text.len());
                    self.reasoning_end = end.unwrap_or(self.reasoning_end);
                    shown.extend(pieces.into_iter().map(|piece| piece.of(MessagePart::Reasoning)));
                }
                AnswerPart::Proper => {
                    for piece in pieces {
                        self.content(piece, &mut shown);
                        if self.stopped.is_some() {
                            return shown;
                        }
                    }
                }
            }
        }
        shown
    }

    fn content(&mut self, piece: Piece, shown: &mut Vec<MessagePiece>) {
        let released = self.stops.push(&piece.text);
        self.held.push(piece);
        shown.extend(self.held.take(released.bytes).map(|piece| piece.of(MessagePart::Content)));
        if let Some(number) = released.stop {
            self.stopped = Some((self.held.begins_at().unwrap_or(self.came), number));
        }
    }
}

/// A piece of an answer's text.
#[derive(Debug)]
struct Piece {
    /// Where it begins in the text, in bytes.
    at: usize,
    writer: Writer,
    why: Why,
    text: String,
}

impl Piece {
    fn of(self, part: MessagePart) -> MessagePiece {
        MessagePiece { part, writer: self.writer, why: self.why, text: self.text }
    }
}

/// Pieces that wait, in order.
#[derive(Debug, Default)]
struct Pieces(VecDeque<Piece>);

impl Pieces {
    fn push(&mut self, piece: Piece) {
        if !piece.text.is_empty() {
            self.0.push_back(piece);
        }
    }

    /// Takes so many bytes from the beginning; on a character's edge.
    fn take(&mut self, mut bytes: usize) -> impl Iterator<Item = Piece> {
        let mut taken = Vec::new();
        while bytes > 0 {
            let Some(mut first) = self.0.pop_front() else { break };
            if first.text.len() > bytes {
                let rest = first.text.split_off(bytes);
                let at = first.at + bytes;
                self.0.push_front(Piece { at, writer: first.writer, why: first.why, text: rest });
            }
            bytes -= first.text.len();
            taken.push(first);
        }
        taken.into_iter()
    }

    fn begins_at(&self) -> Option<usize> {
        self.0.front().map(|piece| piece.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(writer: Writer, text: &str) -> Text {
        let why = if writer == Writer::Small { Why::Turn } else { Why::Reflection };
        Text { writer, why, text: text.to_owned() }
    }

    /// Every piece as "part writer text".
    fn pieces(shaper: &mut MessageShaper, texts: &[(Writer, &str)]) -> Vec<String> {
        let mut shown = Vec::new();
        for (writer, it) in texts {
            shown.extend(shaper.push(&text(*writer, it)));
        }
        shown.extend(shaper.finish());
        let line =
            |piece: &MessagePiece| format!("{:?} {:?} {}", piece.part, piece.writer, piece.text);
        shown.iter().map(line).collect()
    }

    use Writer::{Large, Small};

    #[test]
    fn reasoning_is_split_and_every_piece_keeps_its_writer() {
        let texts = [
            (Small, "<thi"),
            (Large, "nk>\nA. "),
            (Small, "B.</th"),
            (Large, "ink>\n\nC"),
            (Small, " D"),
        ];
        let mut shaper = MessageShaper::new(ThoughtStart::Unopened, false, Vec::new());
        let expected = [
            "Reasoning Large A.",
            "Reasoning Large  ",
            "Reasoning Small B.",
            "Content Large C",
            "Content Small  D",
        ];
        assert_eq!(pieces(&mut shaper, &texts), expected);
        assert_eq!((shaper.reasoning_bytes(), shaper.shown_bytes()), (13, 26));
        let mut inline = MessageShaper::new(ThoughtStart::Unopened, true, Vec::new());
        assert_eq!(pieces(&mut inline, &texts).len(), 5, "as it was written");
        let mut open = MessageShaper::new(ThoughtStart::Open, false, Vec::new());
        assert_eq!(
            pieces(&mut open, &[(Small, "A</think>B")]),
            ["Reasoning Small A", "Content Small B"]
        );
    }

    #[test]
    fn a_stop_text_is_found_across_writers_and_not_in_the_reasoning() {
        let texts =
            [(Small, "<think>Q: 1</think>a"), (Large, "b Q"), (Small, ": c"), (Large, "never")];
        let mut shaper = MessageShaper::new(ThoughtStart::Unopened, false, vec![" Q:".to_owned()]);
        let shown = pieces(&mut shaper, &texts);
        assert_eq!(shown, ["Reasoning Small Q: 1", "Content Small a", "Content Large b"]);
        assert_eq!((shaper.stopped_by(), shaper.shown_bytes()), (Some(" Q:"), 21));
    }
}
