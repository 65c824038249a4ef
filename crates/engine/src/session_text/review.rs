//! What a session that reviews computes besides its text: for each token that may be judged, the verdict of the logits
//! before it. The logits themselves are dropped at once.

use text::Tokenizer;
use thinking::{session::review::ReviewRules, thinker::TextEnd};

use super::SessionText;
use crate::{redraw::Standing, sample::SampleError, verdict::Verdict};

/// The outcome of judging.
#[derive(Debug, PartialEq)]
pub(crate) enum Finding {
    /// Something must be computed first.
    Waits,
    /// Nothing more can be judged now.
    Done,
    /// The text at this place is objected to.
    Objection {
        /// In bytes of the committed text; empty if it is the end that is objected to.
        span: (usize, usize),
        /// Whether it begins where a character does.
        is_edge: bool,
        verdict: Verdict,
    },
}

impl SessionText {
    /// Notes which of the new tokens are to be judged, and cuts the cache back to where their verdicts come from.
    pub(crate) fn look_ahead(
        &mut self,
        rules: &ReviewRules,
        committed: &str,
        tokenizer: &Tokenizer,
    ) {
        let Some(reading) = &mut self.reading else { return };
        for token in reading.end()..self.tokens.len() {
            let span = self.places.span(token);
            reading.push(span.is_some_and(|(start, _)| rules.judges(start, committed)));
        }
        if let Some((token, row)) = reading.take_row() {
            self.tell(token, &row, tokenizer);
        }
        self.rewind();
    }

    /// Cuts the cache back if the logits before the first token to be judged are lost.
    pub(super) fn rewind(&mut self) {
        let wanted = self.reading.as_ref().and_then(|reading| reading.first_wanted(0));
        if let Some(wanted) = wanted.filter(|wanted| self.cache.len() >= *wanted) {
            self.cache.truncate(wanted - 1);
            self.shared = self.shared.min(wanted - 1);
            self.logits = None;
        }
    }

    /// Keeps the logits after the last token until the next token is known.
    pub(super) fn keep_row(&mut self) {
        if let Some(reading) = &mut self.reading
            && let Some(row) = self.logits.take()
        {
            reading.keep_row(self.tokens.len(), row);
        }
    }

    /// Notes the verdict on a token from the logits before it, if that is wanted.
    fn tell(&mut self, token: usize, logits: &[f32], tokenizer: &Tokenizer) {
        if let Some(reading) = &mut self.reading
            && reading.wants(token)
        {
            let (before, rest) = self.tokens.split_at(token);
            let byte = self.places.span(token).map_or(0, |(start, _)| start);
            let standing = Standing { before, byte, tokens: &rest[..1] };
            let verdict = reading.verdict_on(standing, logits, tokenizer);
            reading.tell(token, verdict);
        }
    }

    /// Takes the logits before a token, which may be the next one.
    pub(crate) fn read(&mut self, token: usize, logits: Vec<f32>, tokenizer: &Tokenizer) {
        self.tell(token, &logits, tokenizer);
        if token == self.tokens.len() {
            self.logits = Some(logits);
        }
    }

    /// Judges computed tokens in order, up to the first objection.
    ///
    /// # Errors
    /// [`SampleError::BadLogits`].
    pub(crate) fn judge(
        &mut self,
        rules: &mut ReviewRules,
        committed: &str,
        tokenizer: &Tokenizer,
    ) -> Result<Finding, SampleError> {
        let Some(reading) = &mut self.reading else { return Ok(Finding::Done) };
        let is_open = rules.end() == TextEnd::Open;
        let last = if is_open { self.tail.start() } else { self.tokens.len() };
        while reading.next() < last {
            let token = reading.next();
            let Some(span) = self.places.span(token) else { break };
            if rules.judges(span.0, committed) {
                let Some(verdict) = reading.told() else { return Ok(Finding::Waits) };
                if verdict.gap.is_nan() {
                    return Err(SampleError::BadLogits);
                }
                if rules.objects_to(verdict.gap) {
                    let is_edge = self.places.is_edge(token);
                    return Ok(Finding::Objection { span, is_edge, verdict });
                }
            }
            reading.pass();
            // A character of several tokens is passed with its last token.
            let next = self.places.span(token + 1);
            rules.passed(next.map_or(span.1, |(start, _)| start.min(span.1)));
        }
        if !is_open {
            rules.passed(committed.len());
        }
        match rules.judges_end() {
            true => self.judge_end(rules, committed, tokenizer),
            false => Ok(Finding::Done),
        }
    }

    /// Judges the end of the answer.
    fn judge_end(
        &mut self,
        rules: &mut ReviewRules,
        committed: &str,
        tokenizer: &Tokenizer,
    ) -> Result<Finding, SampleError> {
        if tokenizer.end_of_text().is_empty() {
            rules.passed_end();
            return Ok(Finding::Done);
        }
        let (Some(logits), Some(reading)) = (&self.logits, &mut self.reading) else {
            self.prepare_draw();
            return Ok(Finding::Waits);
        };
        let (before, byte) = (self.tokens.as_slice(), committed.len());
        let standing = Standing { before, byte, tokens: tokenizer.end_of_text() };
        let verdict = reading.verdict_on(standing, logits, tokenizer);
        if verdict.gap.is_nan() {
            return Err(SampleError::BadLogits);
        }
        if rules.objects_to(verdict.gap) {
            let span = (committed.len(), committed.len());
            return Ok(Finding::Objection { span, is_edge: true, verdict });
        }
        rules.passed_end();
        Ok(Finding::Done)
    }
}
