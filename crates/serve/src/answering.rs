//! One answer on its way: a task of its own, which tells whoever asked what is written and how it ended.
//!
//! The task ends when the answer does. It is cancelled, and both models with it, when nobody listens any more, when the
//! listener is far behind, and when the server ends.

mod shaper;

use std::{fs::File, sync::Arc};

use answer::{
    CorrectionFinder, Ended, Observer, Outcome, Progress, Run, Stamped, Summary, Writer, answer,
    journal::JournalWriter, progress::Text,
};
use thinking::{
    beginning::AnswerBeginning,
    policy::{End, PolicyKind, Role, Why},
    thinker::ThoughtStart,
    transcript::Span,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use self::shaper::MessageShaper;
pub(crate) use self::shaper::{MessagePart, MessagePiece};
use crate::{
    error::{ApiError, ErrorCode},
    journals::JournalFolder,
    metrics::Metrics,
};

/// What a listener may be behind, in pieces.
pub(crate) const MOST_UNREAD: usize = 1024;

/// One of the answers to a request.
pub(crate) struct AnswerJob {
    /// Which one.
    pub(crate) index: u32,
    pub(crate) run: Run,
    pub(crate) is_inline: bool,
    /// Whether pieces are told as they are written.
    pub(crate) is_streamed: bool,
    /// Where it is written down, if anywhere.
    pub(crate) journal: Option<(JournalFolder, JournalWriter<File>)>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) policy: PolicyKind,
    /// Its place among the answers that are made at a time.
    pub(crate) permit: OwnedSemaphorePermit,
    /// The server ends: so does the answer.
    pub(crate) stopping: CancellationToken,
    /// The client's connection, which is closed when the client does not read.
    pub(crate) connection: CancellationToken,
}

/// What is told of an answer, and of which one.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) index: u32,
    pub(crate) what: AnswerNews,
}

/// What is told of an answer.
#[derive(Debug)]
pub(crate) enum AnswerNews {
    /// A small node took the question.
    Opened {
        /// The question's id in the nodes' logs.
        id: String,
    },
    /// More of the message.
    Piece(MessagePiece),
    /// No large node is left.
    Degraded(String),
    /// A large node is back.
    Rejoined(String),
    /// A node was lost, and another went on.
    Resumed { from: String, to: String, reason: String },
    /// It is over. Always told last.
    Ended(Result<Box<Answered>, ApiError>),
}

/// An answer that came to its end.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) id: String,
    /// Why it ended, as in the summary.
    pub(crate) end: &'static str,
    pub(crate) is_cut_off: bool,
    pub(crate) stopped_by: Option<String>,
    pub(crate) content: String,
    pub(crate) reasoning: String,
    pub(crate) reasoning_tokens: u64,
    pub(crate) spans: Vec<ShownSpan>,
    pub(crate) summary: Summary,
}

/// A span, and when it came.
#[derive(Debug)]
pub(crate) struct ShownSpan {
    pub(crate) span: Span,
    /// From the question to its first text, in microseconds.
    pub(crate) at_us: u64,
}

impl AnswerJob {
    /// Answers. `told` gets everything; its last place is kept for the end.
    pub(crate) async fn work(self, told: mpsc::Sender<Told>) {
        let AnswerJob { index, run, permit, stopping, connection, metrics, policy, .. } = self;
        let (folder, journal) = self.journal.unzip();
        let Ok(last) = told.clone().try_reserve_owned() else { return };
        let enough = CancellationToken::new();
        let id = run.question.id.clone();
        let mut listener = Listener {
            index,
            id: id.clone(),
            told,
            is_streamed: self.is_streamed,
            enough: enough.clone(),
            connection,
            is_inline: self.is_inline,
            beginning: run.question.beginning.clone(),
            is_judged: policy.reviews() || policy == PolicyKind::Score,
            thought: None,
            shaper: None,
            journal,
            corrections: CorrectionFinder::default(),
            early: Vec::new(),
            content: String::new(),
            reasoning: String::new(),
            spans_at: Vec::new(),
        };
        let gone = listener.told.clone();
        let cancel = async {
            tokio::select! {
                () = enough.cancelled() => {}
                () = stopping.cancelled() => {}
                () = gone.closed() => {}
            }
        };
        let outcome = answer(run, &mut listener, cancel).await;
        drop(permit);
        let written = listener.journal.take().map(JournalWriter::finish);
        if let Some(Err(why)) = written {
            tracing::warn!(question_id = id, %why, "an answer's journal is not whole");
        }
        let summary = outcome.summary.clone();
        let ended = listener.end(outcome, stopping.is_cancelled());
        match &ended {
            Ok(answered) => metrics.answer(policy.name(), answered.end, &summary),
            Err(error) => {
                tracing::info!(question_id = id, %error, "no answer");
                metrics.answer(policy.name(), error.code.into(), &summary);
            }
        }
        last.send(Told { index, what: AnswerNews::Ended(ended.map(Box::new)) });
        if let Some(folder) = folder {
            let _ = tokio::task::spawn_blocking(move || folder.prune()).await;
        }
    }
}

/// Watches an answer, and tells.
struct Listener {
    journal: Option<JournalWriter<File>>,
    index: u32,
    id: String,
    told: mpsc::Sender<Told>,
    is_streamed: bool,
    enough: CancellationToken,
    connection: CancellationToken,
    is_inline: bool,
    /// What is given of the answer.
    beginning: AnswerBeginning,
    /// The large node judges, and refuses the question where it cannot.
    is_judged: bool,
    /// How far the answer's thought is where it begins, once a small node took the question.
    thought: Option<ThoughtStart>,
    /// Made when it is known how the answer begins.
    shaper: Option<MessageShaper>,
    corrections: CorrectionFinder,
    /// What happened before the question was taken: until then an answer may still be refused.
    early: Vec<AnswerNews>,
    content: String,
    reasoning: String,
    /// The writer and reason of each span so far, and when its first text came.
    spans_at: Vec<(Writer, Why, u64)>,
}

impl Observer for Listener {
    fn see(&mut self, stamped: &Stamped) {
        if let Some(journal) = &mut self.journal {
            journal.see(stamped);
        }
        self.corrections.see(&stamped.progress);
        self.take_up(&stamped.progress);
        match &stamped.progress {
            Progress::Text(text) => self.text(text, stamped.at_us),
            Progress::Degraded { reason } => self.tell(AnswerNews::Degraded(reason.clone())),
            Progress::Rejoined(back) => self.tell(AnswerNews::Rejoined(back.node.clone())),
            Progress::Resumed(resumed) => self.tell(AnswerNews::Resumed {
                from: resumed.from.clone(),
                to: resumed.to.clone(),
                reason: resumed.reason.clone(),
            }),
            Progress::Ended(_) => {
                let pieces = self.shaper().finish();
                self.pieces(pieces);
            }
            _ => {}
        }
    }
}

impl Listener {
    /// Tells that the question was taken, once nobody can refuse it any more.
    fn take_up(&mut self, progress: &Progress) {
        let is_taken = match progress {
            Progress::Opened(opened) if opened.role == Role::Small => {
                self.thought.get_or_insert(opened.card.thought);
                !self.is_judged
            }
            Progress::Opened(_) | Progress::Degraded { .. } | Progress::Text(_) => true,
            Progress::Ended(summary) => summary.failure.is_none(),
            _ => false,
        };
        let Some(thought) = self.thought.filter(|_| is_taken && self.shaper.is_none()) else {
            return;
        };
        let early = std::mem::take(&mut self.early);
        self.begin(thought);
        self.tell(AnswerNews::Opened { id: self.id.clone() });
        early.into_iter().for_each(|news| self.tell(news));
    }

    fn begin(&mut self, start: ThoughtStart) -> &mut MessageShaper {
        let Listener { is_inline, beginning, .. } = self;
        let shaper = || MessageShaper::new(start, beginning, *is_inline);
        self.shaper.get_or_insert_with(shaper)
    }

    fn shaper(&mut self) -> &mut MessageShaper {
        self.begin(ThoughtStart::Unknown)
    }

    fn text(&mut self, text: &Text, at_us: u64) {
        let (writer, why) = (text.writer, text.why);
        for (piece, correction) in self.corrections.cut(text) {
            let is_same = |last: &&(Writer, Why, u64)| (last.0, last.1) == (writer, why);
            if correction.is_some() || self.spans_at.last().filter(is_same).is_none() {
                self.spans_at.push((writer, why, at_us));
            }
            let text = Text { writer, why, text: piece.to_owned() };
            let pieces = self.shaper().push(&text, correction);
            self.pieces(pieces);
        }
    }

    fn pieces(&mut self, pieces: Vec<MessagePiece>) {
        for piece in pieces {
            match piece.part {
                MessagePart::Content => self.content.push_str(&piece.text),
                MessagePart::Reasoning => self.reasoning.push_str(&piece.text),
            }
            self.tell(AnswerNews::Piece(piece));
        }
    }

    fn tell(&mut self, what: AnswerNews) {
        if !self.is_streamed {
            return;
        }
        if self.shaper.is_none() {
            self.early.push(what);
            return;
        }
        let told = self.told.try_send(Told { index: self.index, what });
        if let Err(mpsc::error::TrySendError::Full(_)) = told {
            if !self.connection.is_cancelled() {
                tracing::warn!(
                    question_id = self.id,
                    "the client does not read: its answer is cancelled"
                );
            }
            self.connection.cancel();
            self.enough.cancel();
        }
    }

    /// What came of the answer.
    fn end(mut self, outcome: Outcome, is_stopping: bool) -> Result<Answered, ApiError> {
        let has_text = !outcome.transcript.spans().is_empty();
        let end = match &outcome.ended {
            Ended::Failed { node, failure } => {
                let part = outcome.summary.part_of(node);
                return Err(ApiError::of_failure(part, node, failure));
            }
            Ended::Complete(End::Cancelled) if is_stopping => {
                return Err(ApiError::shutting_down());
            }
            Ended::Complete(End::Deadline) if !has_text => {
                let why =
                    "the deadline passed before there was any text: give the answer more time";
                return Err(ApiError::new(ErrorCode::DeadlineExceeded, why));
            }
            Ended::Complete(end) => *end,
        };
        let thought = self.shaper().reasoning_bytes();
        let spans = outcome.transcript.spans();
        Ok(Answered {
            id: self.id,
            end: name(end),
            is_cut_off: !matches!(end, End::EndOfText | End::Stop),
            stopped_by: outcome.summary.stopped_by.clone(),
            content: self.content,
            reasoning: self.reasoning,
            reasoning_tokens: tokens_before(thought, spans),
            spans: shown_spans(spans, &self.spans_at),
            summary: outcome.summary,
        })
    }
}

/// An end's name, as the summary has it.
fn name(end: End) -> &'static str {
    match end {
        End::EndOfText => "end_of_text",
        End::MaxTokens => "max_tokens",
        End::ContextFull => "context_full",
        End::Deadline => "deadline",
        End::Cancelled => "cancelled",
        End::Loop => "loop",
        End::Stop => "stop",
    }
}

/// The tokens before a place in the text; a span that it lies in counts by its bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a span's tokens"
)]
fn tokens_before(end: usize, spans: &[Span]) -> u64 {
    let (mut at, mut tokens) = (0, 0);
    for span in spans {
        let bytes = span.text.len();
        let inside = end.saturating_sub(at).min(bytes);
        if bytes > 0 {
            tokens += (span.tokens as f64 * inside as f64 / bytes as f64).round() as u64;
        }
        at += bytes;
    }
    tokens
}

/// Spans with their times.
fn shown_spans(spans: &[Span], at: &[(Writer, Why, u64)]) -> Vec<ShownSpan> {
    let shown = |(span, (_, _, at_us)): (&Span, &(Writer, Why, u64))| ShownSpan {
        span: span.clone(),
        at_us: *at_us,
    };
    spans.iter().zip(at).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(writer: Writer, text: &str, tokens: u64) -> Span {
        let (why, text) = (Why::Turn, text.to_owned());
        Span { writer, why, text, tokens, elapsed_us: 1, correction: None }
    }

    #[test]
    fn tokens_are_cut_at_a_place_in_the_text() {
        let spans = [
            span(Writer::Small, "abcd", 8),
            span(Writer::Large, "efgh", 6),
            span(Writer::Small, "ij", 1),
        ];
        for (end, tokens) in [(0, 0), (2, 4), (4, 8), (5, 10), (8, 14), (10, 15), (99, 15)] {
            assert_eq!(tokens_before(end, &spans), tokens, "{end}");
        }
    }
}
