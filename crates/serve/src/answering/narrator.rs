//! From what is told of an answer to what a client is told of it: of one that is being written and of a journal alike.

use answer::{Progress, Stamped, Summary, TimedSpan, ToldSpans};
use thinking::{
    beginning::AnswerBeginning,
    policy::{End, Role},
    thinker::ThoughtStart,
};

use super::{AnswerNews, MessagePart, MessagePiece, shaper::MessageShaper};

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
    pub(crate) spans: Vec<TimedSpan>,
    pub(crate) summary: Summary,
}

/// Tells an answer as clients are told it.
#[derive(Debug)]
pub(crate) struct Narrator {
    id: String,
    is_inline: bool,
    /// What is given of the answer.
    beginning: AnswerBeginning,
    /// The large node reviews, and refuses the question where it cannot.
    is_judged: bool,
    /// How far the answer's thought is where it begins, once a small node took the question.
    thought: Option<ThoughtStart>,
    /// Made when it is known how the answer begins.
    shaper: Option<MessageShaper>,
    /// What happened before the question was taken: until then an answer may still be refused.
    early: Vec<AnswerNews>,
    content: String,
    reasoning: String,
    spans: ToldSpans,
}

impl Narrator {
    /// Of the answer to a question with this id. `is_judged`: the large node judges, and refuses the question where it
    /// cannot.
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

    /// The question's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What a client is to be told now.
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

    /// Tells that the question was taken, once nobody can refuse it any more.
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

    /// What came of the answer.
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

/// An end's name, as the summary has it; an answer without one failed.
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

/// The tokens before a place in the text; a span that it lies in counts by its bytes.
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
