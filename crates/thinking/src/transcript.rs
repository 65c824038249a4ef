//! The transcript: the committed text of an answer as spans, each of which says who wrote it and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    policy::{Role, Why},
    thinker::TextHash,
};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Span>", into = "Vec<Span>")]
pub struct Transcript {
    spans: Vec<Span>,
    bytes: u64,
    hash: TextHash,
    /// Takeovers by reason: stretches of the large writer, counted when they begin.
    takeovers: BTreeMap<Why, u64>,
}

impl Transcript {
    /// Adds text at the end. It joins the last span when writer and reason are the same, so that a
    /// stretch that comes in pieces is one span.
    pub fn push(&mut self, span: Span) {
        self.bytes += span.text.len() as u64;
        self.hash.push(&span.text);
        match self.spans.last_mut() {
            Some(last) if last.writer == span.writer && last.why == span.why => {
                last.text.push_str(&span.text);
                last.tokens += span.tokens;
                last.elapsed_us += span.elapsed_us;
            }
            _ => {
                if span.writer == Writer::Large && span.why != Why::Turn {
                    *self.takeovers.entry(span.why).or_default() += 1;
                }
                self.spans.push(span);
            }
        }
    }

    /// The spans, in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }

    /// The text's length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The text's hash, as the nodes tell it.
    pub fn hash(&self) -> TextHash {
        self.hash
    }

    /// Tokens of this writer.
    pub fn tokens(&self, writer: Writer) -> u64 {
        self.spans.iter().filter(|span| span.writer == writer).map(|span| span.tokens).sum()
    }

    /// Takeovers by reason.
    pub fn takeovers(&self) -> &BTreeMap<Why, u64> {
        &self.takeovers
    }

    /// The takeover share: the large model's tokens over all tokens; 0 of an empty text.
    pub fn takeover_share(&self) -> f64 {
        let all: u64 = self.spans.iter().map(|span| span.tokens).sum();
        if all == 0 { 0.0 } else { self.tokens(Writer::Large) as f64 / all as f64 }
    }
}

impl From<Vec<Span>> for Transcript {
    fn from(spans: Vec<Span>) -> Self {
        let mut transcript = Transcript::default();
        spans.into_iter().for_each(|span| transcript.push(span));
        transcript
    }
}

impl From<Transcript> for Vec<Span> {
    fn from(transcript: Transcript) -> Self {
        transcript.spans
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
    fn transcript_counts_text_tokens_and_takeovers() {
        let transcript = answer();
        assert_eq!(transcript.bytes(), transcript.text().len() as u64);
        assert_eq!(transcript.hash(), TextHash::of("So é.\n\nWait, no checkAgain:"));
        assert_eq!(transcript.tokens(Writer::Small), 6);
        assert_eq!(transcript.tokens(Writer::Large), 4);
        assert_eq!(transcript.takeover_share(), 4.0 / 12.0);
        let takeovers = [(Why::Reflection, 1), (Why::Verification, 1)];
        assert_eq!(*transcript.takeovers(), BTreeMap::from(takeovers));
        assert_eq!(Transcript::default().takeover_share(), 0.0);
    }

    #[test]
    fn transcript_survives_the_journal() {
        let json = serde_json::to_string(&answer()).unwrap();
        assert_eq!(serde_json::from_str::<Transcript>(&json).unwrap(), answer());
    }
}
