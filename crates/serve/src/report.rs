//! What is ours in an answer: the object `specthink`, as docs/serve.md describes it.

use answer::{Summary, TimedSpan, Writer, journal::QuestionNote, prices, progress::Text};
use serde::Serialize;
use thinking::{
    policy::{PolicyKind, TokenPrices, Why},
    transcript::Correction,
};

use crate::answering::{Answered, MessagePiece};

/// Something of OpenAI's with what is ours beside it.
#[derive(Debug, Serialize)]
pub(crate) struct WithOurs<T, O> {
    #[serde(flatten)]
    pub(crate) theirs: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) specthink: Option<O>,
}

/// What is ours in a whole answer, and in the last chunk of one.
#[derive(Debug, Serialize)]
pub(crate) struct AnswerReport<'a> {
    pub(crate) policy: PolicyKind,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) ignored: &'a [&'static str],
    /// Of an earlier answer: what was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) question: Option<&'a QuestionNote>,
    pub(crate) answers: Vec<ChoiceReport<'a>>,
}

/// What is ours in one choice.
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

/// What is ours in a chunk.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ChunkNews<'a> {
    /// In the first one.
    Opened {
        id: &'a str,
        policy: PolicyKind,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        ignored: &'a [&'static str],
        /// Of an earlier answer: what was asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        question: Option<&'a QuestionNote>,
    },
    /// Beside text.
    Wrote {
        writer: Writer,
        why: Why,
        /// Where one begins.
        #[serde(skip_serializing_if = "Option::is_none")]
        correction: Option<&'a Correction>,
    },
    /// No large node is left.
    Degraded { degraded: &'a str },
    /// A large node is back.
    Rejoined { rejoined: &'a str },
    /// A node was lost and another went on.
    Resumed { resumed: ResumedNews<'a> },
    /// In the last one.
    Ended(AnswerReport<'a>),
}

/// Which node was lost, and which went on.
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
