//! The spans of an answer, reconstructed from its progress reports, whether they are live or from a journal.
//!
//! A report of text says who wrote it. Its cost is reported separately, for a place in the committed text: when a
//! proposal is kept, when the policy's own text is in the small node's cache, and with an objection. With stop texts,
//! this may come before the text is shown.

use std::collections::BTreeMap;

use thinking::{
    policy::Role,
    transcript::{Span, Writer},
};

use crate::{
    account::Summary,
    progress::{Asked, Kept, Progress, Stamped, Text},
};

/// A span, and when it came.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedSpan {
    /// The span.
    pub span: Span,
    /// Time from the question to its first text, in microseconds.
    pub at_us: u64,
}

/// Collects the spans of an answer from its progress reports.
#[derive(Debug, Clone, Default)]
pub struct ToldSpans {
    /// The spans shown, without their costs.
    spans: Vec<TimedSpan>,
    /// How much is shown, in bytes.
    shown: u64,
    /// Where the answer begins in the committed text; known from the first ask on.
    begin: Option<u64>,
    /// Asks that are not kept yet.
    asks: BTreeMap<u32, OpenAsk>,
    /// The models' stretches, in any order.
    stretches: Vec<Stretch>,
    /// Tokens of the large model's replacement, by the place of its last objection there.
    instead: BTreeMap<u64, u32>,
    /// Tokens of text that the small node was given, by the place where it ends.
    given: BTreeMap<u64, u32>,
}

#[derive(Debug, Clone)]
struct OpenAsk {
    role: Role,
    /// Where its text begins in the committed text.
    begin: u64,
    at_us: u64,
    /// Time from the ask to its end.
    wall_us: Option<u64>,
}

/// What is kept of an ask.
#[derive(Debug, Clone)]
struct Stretch {
    role: Role,
    begin: u64,
    bytes: u64,
    tokens: u64,
    elapsed_us: u64,
}

impl OpenAsk {
    fn kept(self, bytes: u64, tokens: u64, now_us: u64) -> Stretch {
        let OpenAsk { role, begin, at_us, wall_us } = self;
        let elapsed_us = wall_us.unwrap_or(now_us.saturating_sub(at_us));
        Stretch { role, begin, bytes, tokens, elapsed_us }
    }
}

impl ToldSpans {
    /// Notes a progress report.
    pub fn see(&mut self, stamped: &Stamped) {
        match &stamped.progress {
            Progress::Text(text) => self.text(text, stamped.at_us),
            Progress::Ask(Asked { ask, role, committed_bytes, .. }) => {
                self.begin.get_or_insert(committed_bytes.saturating_sub(self.shown));
                let (role, begin, at_us) = (*role, *committed_bytes, stamped.at_us);
                self.asks.insert(*ask, OpenAsk { role, begin, at_us, wall_us: None });
            }
            Progress::Finished(finished) => {
                if let Some(ask) = self.asks.get_mut(&finished.ask) {
                    ask.wall_us = Some(finished.wall_us);
                }
            }
            Progress::Kept(Kept { ask, bytes, tokens, .. }) => {
                let ask = self.asks.remove(ask);
                let kept = ask.map(|ask| ask.kept(*bytes, (*tokens).into(), stamped.at_us));
                self.stretches.extend(kept);
            }
            Progress::Objected(objected) => {
                self.instead.insert(objected.at_byte, objected.tokens);
            }
            Progress::Warmed(warmed) if warmed.role == Role::Small => {
                // A session that is reopened there reports the same place again.
                self.given.entry(warmed.committed_bytes).or_insert(warmed.tokens);
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &Text, at_us: u64) {
        self.shown += text.text.len() as u64;
        let Text { writer, why, text, correction } = text;
        let same = |it: &&mut TimedSpan| (it.span.writer, it.span.why) == (*writer, *why);
        match self.spans.last_mut().filter(same).filter(|_| correction.is_none()) {
            Some(last) => last.span.text.push_str(text),
            None => {
                let (text, correction) = (text.clone(), correction.clone());
                let (writer, why) = (*writer, *why);
                let span = Span { writer, why, text, tokens: 0, elapsed_us: 0, correction };
                self.spans.push(TimedSpan { span, at_us });
            }
        }
    }

    /// Returns the spans with their costs. `summary` is the answer's final one; what is kept of an ask only at the end
    /// is reported nowhere else.
    pub fn finish(mut self, summary: &Summary) -> Vec<TimedSpan> {
        self.keep_the_rest(summary);
        self.stretches.retain(|stretch| stretch.bytes > 0);
        self.stretches.sort_by_key(|stretch| stretch.begin);
        let mut begin = self.begin.unwrap_or_default();
        let mut spans = std::mem::take(&mut self.spans);
        for TimedSpan { span, .. } in &mut spans {
            let place = begin..begin + span.text.len() as u64;
            begin = place.end;
            let from = self.stretches.partition_point(|it| it.begin < place.start);
            let behind = self.stretches[from..].iter().take_while(|it| it.begin < place.end);
            for stretch in behind.filter(|it| Writer::from(it.role) == span.writer) {
                span.tokens += stretch.tokens;
                span.elapsed_us += stretch.elapsed_us;
            }
            if span.writer == Writer::Policy {
                let given = self.given.range(place.start + 1..=place.end);
                span.tokens += given.map(|(_, tokens)| u64::from(*tokens)).sum::<u64>();
            }
            if span.correction.is_some() {
                span.tokens += self.corrected(place.start);
            }
        }
        spans
    }

    /// Keeps what was shown of the asks that were open when the answer ended.
    fn keep_the_rest(&mut self, summary: &Summary) {
        let end = self.begin.unwrap_or_default() + self.shown;
        let told = self.stretches.len();
        for (_, ask) in std::mem::take(&mut self.asks) {
            let bytes = end.saturating_sub(ask.begin);
            self.stretches.push(ask.kept(bytes, 0, summary.time.total_us));
        }
        let made = [(Role::Small, 0), (Role::Large, self.all_corrected())];
        for (role, corrected) in made {
            let (kept, rest) = self.stretches.split_at_mut(told);
            let kept: u64 = kept.iter().filter(|it| it.role == role).map(|it| it.tokens).sum();
            if let Some(last) = rest.iter_mut().rfind(|it| it.role == role) {
                last.tokens = summary.model(role).tokens.saturating_sub(kept + corrected);
            }
        }
    }

    /// Returns the tokens of all corrections.
    fn all_corrected(&self) -> u64 {
        let mut begin = self.begin.unwrap_or_default();
        let mut tokens = 0;
        for TimedSpan { span, .. } in &self.spans {
            if span.correction.is_some() {
                tokens += self.corrected(begin);
            }
            begin += span.text.len() as u64;
        }
        tokens
    }

    /// Returns the tokens of the correction at this place: 0 if the large model was asked to write the text there.
    fn corrected(&self, at: u64) -> u64 {
        let is_asked = |it: &Stretch| it.role == Role::Large && it.begin == at && it.bytes > 0;
        let instead = self.instead.get(&at).filter(|_| !self.stretches.iter().any(is_asked));
        instead.copied().unwrap_or_default().into()
    }
}
