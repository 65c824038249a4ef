//! The transcript: the committed text of an answer as spans, each with its writer and reason.

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
    /// The policy inserted it; no model wrote it.
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

/// Text of the small model that was replaced by the large one's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// The replaced text, cut short if it is long; empty if the answer would have ended there.
    pub stood: String,
    /// By how much the large model's likeliest token was more likely, in nats.
    pub gap: f32,
}

/// A stretch of committed text by one writer, for one reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    /// Who wrote it.
    pub writer: Writer,
    /// Why that writer wrote it.
    pub why: Why,
    /// The text.
    pub text: String,
    /// How many tokens its writer generated for it.
    pub tokens: u64,
    /// How long its writer took, in microseconds.
    pub elapsed_us: u64,
    /// What it replaces, if a review put it there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
}

impl Span {
    /// Returns whether text of this writer for this reason continues the span.
    fn goes_on(&self, writer: Writer, why: Why) -> bool {
        self.writer == writer && self.why == why
    }
}

/// The committed text of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    spans: Vec<Span>,
}

impl Transcript {
    /// Adds text at the end. It joins the last span if writer and reason are the same, so that a stretch that comes in
    /// pieces is one span. A correction always begins a new span.
    pub fn push(&mut self, span: Span) {
        match self.spans.last_mut() {
            Some(last) if last.goes_on(span.writer, span.why) && span.correction.is_none() => {
                last.text.push_str(&span.text);
                last.tokens += span.tokens;
                last.elapsed_us += span.elapsed_us;
            }
            _ => self.spans.push(span),
        }
    }

    /// Adds text whose cost is not known yet. `correction` is what it replaces, if anything.
    pub fn push_text(
        &mut self,
        writer: Writer,
        why: Why,
        text: &str,
        correction: Option<Correction>,
    ) {
        let text = text.to_owned();
        self.push(Span { writer, why, text, tokens: 0, elapsed_us: 0, correction });
    }

    /// Cuts the text to its first bytes, on a character boundary. Returns what is cut off, the last span first. If a
    /// span is cut in two, the kept part keeps its cost.
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
                cut.push(Span { writer, why, text, tokens: 0, elapsed_us: 0, correction: None });
                break;
            }
            behind = begin;
            cut.push(last);
        }
        cut
    }

    /// Returns the spans, in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Returns the whole text.
    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(writer: Writer, why: Why, text: &str, tokens: u64) -> Span {
        Span { writer, why, text: text.into(), tokens, elapsed_us: 10, correction: None }
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
    fn corrections_next_to_each_other_are_spans_of_their_own() {
        let mut transcript = Transcript::default();
        for (stood, texts) in [("4", &["5"][..]), ("6", &["7", "8"])] {
            let mut correction = Some(Correction { stood: stood.to_owned(), gap: 2.0 });
            for text in texts {
                transcript.push_text(Writer::Large, Why::Review, text, correction.take());
            }
            transcript.push(span(Writer::Large, Why::Review, "", 1));
        }
        let spans = transcript.spans().iter().map(|span| {
            let stood = span.correction.as_ref().map(|it| it.stood.as_str());
            (span.text.as_str(), span.tokens, stood)
        });
        assert_eq!(spans.collect::<Vec<_>>(), [("5", 1, Some("4")), ("78", 1, Some("6"))]);
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
