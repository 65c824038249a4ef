//! The transcript: the committed text of an answer as spans, each of which says who wrote it and why.

use serde::{Deserialize, Serialize};

use crate::policy::{Role, Why};

/// Who wrote a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writer {
    /// The small model.
    Small,
    /// The large model.
    Large,
    /// The policy; no model wrote it.
    Policy,
}

impl From<Role> for Writer {
    fn from(role: Role) -> Self {
        match role {
            Role::Small => Writer::Small,
            Role::Large => Writer::Large,
        }
    }
}

/// A stretch of committed text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Who wrote it.
    pub writer: Writer,
    /// Why that writer.
    pub why: Why,
    /// The text.
    pub text: String,
    /// Tokens it took its writer.
    pub tokens: u64,
    /// Time it took its writer, in microseconds.
    pub elapsed_us: u64,
}

/// The committed text of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    spans: Vec<Span>,
}

impl Transcript {
    /// Adds text at the end. It joins the last span when writer and reason are the same, so that a
    /// stretch that comes in pieces is one span.
    pub fn push(&mut self, span: Span) {
        match self.spans.last_mut() {
            Some(last) if last.writer == span.writer && last.why == span.why => {
                last.text.push_str(&span.text);
                last.tokens += span.tokens;
                last.elapsed_us += span.elapsed_us;
            }
            _ => self.spans.push(span),
        }
    }

    /// Adds text at the end, whose cost is not known yet.
    pub fn push_text(&mut self, writer: Writer, why: Why, text: &str) {
        match self.spans.last_mut() {
            Some(last) if last.writer == writer && last.why == why => last.text.push_str(text),
            _ => {
                let text = text.to_owned();
                self.spans.push(Span { writer, why, text, tokens: 0, elapsed_us: 0 });
            }
        }
    }

    /// Cuts the text to its first bytes, on a character's edge. Returns what is cut off, the last span first; one that
    /// is cut in two keeps what it cost.
    pub fn cut(&mut self, bytes: usize) -> Vec<Span> {
        let mut behind = self.spans.iter().map(|span| span.text.len()).sum::<usize>();
        let mut cut = Vec::new();
        while behind > bytes {
            let Some(mut last) = self.spans.pop() else { break };
            let begin = behind - last.text.len();
            if begin < bytes {
                let text = last.text.split_off(bytes - begin);
                let (writer, why) = (last.writer, last.why);
                self.spans.push(last);
                cut.push(Span { writer, why, text, tokens: 0, elapsed_us: 0 });
                break;
            }
            behind = begin;
            cut.push(last);
        }
        cut
    }

    /// The spans, in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(writer: Writer, why: Why, text: &str, tokens: u64) -> Span {
        Span { writer, why, text: text.into(), tokens, elapsed_us: 10 }
    }

    fn answer() -> Transcript {
        let mut transcript = Transcript::default();
        for span in [
            span(Writer::Small, Why::Turn, "So", 1),
            span(Writer::Small, Why::Turn, " é.\n\n", 5),
            span(Writer::Large, Why::Reflection, "Wait,", 2),
            span(Writer::Large, Why::Reflection, " no", 1),
            span(Writer::Large, Why::Verification, " check", 1),
            span(Writer::Policy, Why::Recap, "Again:", 2),
        ] {
            transcript.push(span);
        }
        transcript
    }

    #[test]
    fn transcript_merges_a_stretch_that_comes_in_pieces() {
        let texts: Vec<String> = answer().spans().iter().map(|span| span.text.clone()).collect();
        assert_eq!(texts, ["So é.\n\n", "Wait, no", " check", "Again:"]);
        assert_eq!(answer().spans()[0].elapsed_us, 20);
    }

    #[test]
    fn a_transcript_is_cut_in_the_middle_of_a_span() {
        let whole = answer().text();
        for bytes in (0..=whole.len() + 1).filter(|bytes| whole.is_char_boundary(*bytes)) {
            let mut transcript = answer();
            let cut = transcript.cut(bytes);
            let off: String = cut.iter().rev().map(|span| span.text.as_str()).collect();
            assert_eq!(
                (transcript.text(), off),
                (whole[..bytes].to_owned(), whole[bytes..].to_owned())
            );
            assert!(cut.iter().chain(transcript.spans()).all(|span| !span.text.is_empty()));
        }
        let mut transcript = answer();
        let tokens: Vec<u64> =
            transcript.cut("So é.\n\nWait".len()).iter().map(|span| span.tokens).collect();
        assert_eq!((tokens, transcript.spans()[1].tokens), (vec![2, 1, 0], 3));
    }
}
