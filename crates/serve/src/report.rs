//! The object `specthink` of an answer, which docs/serve.md describes.

use answer::{Summary, TimedSpan, Writer, journal::QuestionNote, prices, progress::Text};
use serde::Serialize;
use thinking::{
    policy::{PolicyKind, TokenPrices, Why},
    transcript::Correction,
};

use crate::answering::{Answered, MessagePiece};

/// A value of OpenAI's API with the object `specthink` beside it.
#[derive(Debug, Serialize)]
pub(crate) struct WithOurs<T, O> {
    #[serde(flatten)]
    pub(crate) theirs: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) specthink: Option<O>,
}

/// The object `specthink` of a whole answer, and of its last chunk.
#[derive(Debug, Serialize)]
pub(crate) struct AnswerReport<'a> {
    pub(crate) policy: PolicyKind,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) ignored: &'a [&'static str],
    /// The question, if this is an earlier answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) question: Option<&'a QuestionNote>,
    pub(crate) answers: Vec<ChoiceReport<'a>>,
}

/// The part of it about one choice.
#[derive(Debug, Serialize)]
pub(crate) struct ChoiceReport<'a> {
    index: u32,
    id: &'a str,
    end: &'static str,
    stopped_by: Option<&'a str>,
    share: f64,
    cost: Option<f64>,
    degraded: Option<&'a str>,
    spans: Vec<SpanReport<'a>>,
    summary: &'a Summary,
}

#[derive(Debug, Serialize)]
struct SpanReport<'a> {
    writer: Writer,
    why: Why,
    text: &'a str,
    bytes: usize,
    tokens: u64,
    at_us: u64,
    elapsed_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    correction: Option<&'a Correction>,
}

impl<'a> ChoiceReport<'a> {
    pub(crate) fn new(index: u32, answered: &'a Answered, prices: Option<&TokenPrices>) -> Self {
        let Answered { id, end, stopped_by, spans, summary, .. } = answered;
        let spans = spans.iter().map(|TimedSpan { span, at_us }| SpanReport {
            writer: span.writer,
            why: span.why,
            text: &span.text,
            bytes: span.text.len(),
            tokens: span.tokens,
            at_us: *at_us,
            elapsed_us: span.elapsed_us,
            correction: span.correction.as_ref(),
        });
        ChoiceReport {
            index,
            id,
            end,
            stopped_by: stopped_by.as_deref(),
            share: summary.takeover_share(),
            cost: prices.map(|prices| prices::cost(prices, summary)),
            degraded: summary.degraded.as_deref(),
            spans: spans.collect(),
            summary,
        }
    }
}

/// The object `specthink` of a chunk.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ChunkNews<'a> {
    /// In the first chunk.
    Opened {
        id: &'a str,
        policy: PolicyKind,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        ignored: &'a [&'static str],
        /// The question, if this is an earlier answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        question: Option<&'a QuestionNote>,
    },
    /// In a chunk with text.
    Wrote {
        writer: Writer,
        why: Why,
        /// The correction that begins here, if any.
        #[serde(skip_serializing_if = "Option::is_none")]
        correction: Option<&'a Correction>,
    },
    /// No large node is left.
    Degraded { degraded: &'a str },
    /// A large node is back.
    Rejoined { rejoined: &'a str },
    /// A node was lost and another one continued.
    Resumed { resumed: ResumedNews<'a> },
    /// In the last chunk.
    Ended(AnswerReport<'a>),
}

/// Which node was lost, and which one continued.
#[derive(Debug, Serialize)]
pub(crate) struct ResumedNews<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) reason: &'a str,
}

impl<'a> From<&'a MessagePiece> for ChunkNews<'a> {
    fn from(piece: &'a MessagePiece) -> Self {
        let Text { writer, why, correction, .. } = &piece.text;
        ChunkNews::Wrote { writer: *writer, why: *why, correction: correction.as_ref() }
    }
}
