//! Turns the events of an answer into news for its client, for an answer in progress and for a journal alike.

use answer::{Progress, Stamped, Summary, TimedSpan, ToldSpans};
use thinking::{
    beginning::AnswerBeginning,
    policy::{End, Role},
    thinker::ThoughtStart,
};

use super::{AnswerNews, MessagePart, MessagePiece, shaper::MessageShaper};

/// An answer that has ended.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) id: String,
    /// Why it ended, as named in the summary.
    pub(crate) end: &'static str,
    pub(crate) is_cut_off: bool,
    pub(crate) stopped_by: Option<String>,
    pub(crate) content: String,
    pub(crate) reasoning: String,
    pub(crate) reasoning_tokens: u64,
    pub(crate) spans: Vec<TimedSpan>,
    pub(crate) summary: Summary,
}

/// Turns the events of one answer into news.
#[derive(Debug)]
pub(crate) struct Narrator {
    id: String,
    is_inline: bool,
    /// The beginning of the answer that the client gave.
    beginning: AnswerBeginning,
    /// Whether the large node judges text, so that it may refuse the question.
    is_judged: bool,
    /// Whether the answer begins within a thought; known once a small node accepted the question.
    thought: Option<ThoughtStart>,
    /// Created once it is known how the answer begins.
    shaper: Option<MessageShaper>,
    /// News from before the question was accepted. Until then, the answer may still be refused.
    early: Vec<AnswerNews>,
    content: String,
    reasoning: String,
    spans: ToldSpans,
}

impl Narrator {
    /// Creates a narrator for the answer to the question with this id. `is_judged` says that the large node judges
    /// text, and refuses the question if it cannot.
    pub(crate) fn new(
        id: String,
        beginning: AnswerBeginning,
        is_inline: bool,
        is_judged: bool,
    ) -> Self {
        Narrator {
            id,
            is_inline,
            beginning,
            is_judged,
            thought: None,
            shaper: None,
            early: Vec::new(),
            content: String::new(),
            reasoning: String::new(),
            spans: ToldSpans::default(),
        }
    }

    /// Returns the question's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the news to send for this event.
    pub(crate) fn see(&mut self, stamped: &Stamped) -> Vec<AnswerNews> {
        self.spans.see(stamped);
        let mut news = self.take_up(&stamped.progress);
        let more = match &stamped.progress {
            Progress::Text(text) => {
                let pieces = self.shaper().push(text);
                self.pieces(pieces)
            }
            Progress::Degraded { reason } => vec![AnswerNews::Degraded(reason.clone())],
            Progress::Rejoined(back) => vec![AnswerNews::Rejoined(back.node.clone())],
            Progress::Resumed(resumed) => vec![AnswerNews::Resumed {
                from: resumed.from.clone(),
                to: resumed.to.clone(),
                reason: resumed.reason.clone(),
            }],
            Progress::Ended(_) => {
                let pieces = self.shaper().finish();
                self.pieces(pieces)
            }
            _ => Vec::new(),
        };
        if self.shaper.is_none() {
            self.early.extend(more);
        } else {
            news.extend(more);
        }
        news
    }

    /// Returns the news that the question was accepted, and all earlier news, once no node can refuse it any more.
    fn take_up(&mut self, progress: &Progress) -> Vec<AnswerNews> {
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
            return Vec::new();
        };
        self.begin(thought);
        let mut news = vec![AnswerNews::Opened { id: self.id.clone() }];
        news.append(&mut self.early);
        news
    }

    fn begin(&mut self, start: ThoughtStart) -> &mut MessageShaper {
        let Narrator { is_inline, beginning, .. } = self;
        let shaper = || MessageShaper::new(start, beginning, *is_inline);
        self.shaper.get_or_insert_with(shaper)
    }

    fn shaper(&mut self) -> &mut MessageShaper {
        self.begin(ThoughtStart::Unknown)
    }

    fn pieces(&mut self, pieces: Vec<MessagePiece>) -> Vec<AnswerNews> {
        for MessagePiece { part, text } in &pieces {
            match part {
                MessagePart::Content => self.content.push_str(&text.text),
                MessagePart::Reasoning => self.reasoning.push_str(&text.text),
            }
        }
        pieces.into_iter().map(AnswerNews::Piece).collect()
    }

    /// Returns the answer as it ended.
    pub(crate) fn end(mut self, summary: Summary) -> Answered {
        let thought = self.shaper().reasoning_bytes();
        let spans = self.spans.finish(&summary);
        Answered {
            id: self.id,
            end: end_name(summary.end),
            is_cut_off: !matches!(summary.end, Some(End::EndOfText | End::Stop)),
            stopped_by: summary.stopped_by.clone(),
            content: self.content,
            reasoning: self.reasoning,
            reasoning_tokens: tokens_before(thought, &spans),
            spans,
            summary,
        }
    }
}

/// Returns the name of an end, as in the summary. An answer without one failed.
pub(crate) fn end_name(end: Option<End>) -> &'static str {
    let Some(end) = end else { return "failed" };
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

/// Returns how many tokens come before a place in the text. A span that is cut there counts in proportion to its bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a span's tokens"
)]
fn tokens_before(end: usize, spans: &[TimedSpan]) -> u64 {
    let (mut at, mut tokens) = (0, 0);
    for TimedSpan { span, .. } in spans {
        let bytes = span.text.len();
        let inside = end.saturating_sub(at).min(bytes);
        if bytes > 0 {
            tokens += (span.tokens as f64 * inside as f64 / bytes as f64).round() as u64;
        }
        at += bytes;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use answer::Writer;
    use thinking::{policy::Why, transcript::Span};

    use super::*;

    fn span(writer: Writer, text: &str, tokens: u64) -> TimedSpan {
        let (why, text) = (Why::Turn, text.to_owned());
        let span = Span { writer, why, text, tokens, elapsed_us: 1, correction: None };
        TimedSpan { span, at_us: 0 }
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
