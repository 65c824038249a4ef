//! What holds for an answer that is over.

use std::time::Duration;

use thinking::{
    loops::cycle_at_end,
    policy::{End, Role},
    thinker::{Code, FinishReason},
    transcript::{Span, Writer},
};

use super::{Checked, Invariant, Witness, breach};
use crate::{
    LONGEST,
    port::{Ended, Outcome},
    told::TimedSpan,
};

impl Witness {
    /// Checks the outcome of an answer that is over.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn end(mut self, outcome: &Outcome) -> Checked {
        if !self.has_ended {
            return breach(Invariant::EndsInTime, "it did not end");
        }
        for session in std::mem::take(&mut self.sessions) {
            self.heard[session.node.role as usize].add(&session);
        }
        self.text_is_what_was_shown(outcome)?;
        self.spans_are_told(outcome)?;
        self.tokens_add_up(outcome)?;
        time_adds_up(outcome)?;
        self.is_within_limits(outcome)?;
        self.end_is_true(outcome)
    }

    fn text_is_what_was_shown(&self, outcome: &Outcome) -> Checked {
        let text = outcome.text();
        if text != self.shown {
            let seen = format!("{:?} was shown of {text:?}", self.shown);
            return breach(Invariant::ShownIsHeld, seen);
        }
        let summary = &outcome.summary;
        let inserted = outcome.transcript.spans().iter();
        let inserted = inserted.filter(|span| span.writer == Writer::Policy);
        let inserted: usize = inserted.map(|span| span.text.len()).sum();
        let bytes = summary.small.text_bytes + summary.large.text_bytes + inserted as u64;
        if bytes != text.len() as u64 {
            return breach(Invariant::ShownIsHeld, format!("{bytes} bytes of {}", text.len()));
        }
        Ok(())
    }

    fn spans_are_told(&mut self, outcome: &Outcome) -> Checked {
        let told = std::mem::take(&mut self.told).finish(&outcome.summary);
        let spans = outcome.transcript.spans();
        let asks = u64::from(outcome.summary.small.asks + outcome.summary.large.asks);
        // With stop texts, text that is held back gets its span late, and text that is cut off still costs its span
        // something.
        let is_cut = !self.question.stop.is_empty();
        let agrees = |(told, span): (&TimedSpan, &Span)| {
            let TimedSpan { span: told, .. } = told;
            // Times are reported in whole microseconds.
            let is_near = told.elapsed_us.abs_diff(span.elapsed_us) <= asks;
            let cost = is_cut || (told.tokens == span.tokens && is_near);
            (told.writer, told.why, &told.text) == (span.writer, span.why, &span.text)
                && told.correction == span.correction
                && cost
        };
        if told.len() != spans.len() || !told.iter().zip(spans).all(agrees) {
            return breach(Invariant::SpansAreTold, format!("reported {told:?}, not {spans:?}"));
        }
        Ok(())
    }

    fn tokens_add_up(&self, outcome: &Outcome) -> Checked {
        let summary = &outcome.summary;
        for (role, heard) in [Role::Small, Role::Large].into_iter().zip(&self.heard) {
            let totals = summary.model(role);
            let counted = totals.tokens + totals.discarded_tokens;
            if counted != heard.tokens {
                let seen = format!("{role:?}: {counted} tokens are counted of {}", heard.tokens);
                return breach(Invariant::TokensAddUp, seen);
            }
        }
        let spans: u64 = outcome.transcript.spans().iter().map(|span| span.tokens).sum();
        let counted = summary.tokens();
        // Text after a stop text, or held back when the answer ended, is in no span.
        let is_cut = !self.question.stop.is_empty() && spans + self.empty_tokens < counted;
        // Text that waited for a verdict when the answer ended was neither kept nor forgotten.
        let waiting = self.asks.values().filter(|ask| ask.asked.role == Role::Small);
        let waiting: u64 = waiting.map(|ask| ask.empty_tokens).sum();
        let is_whole =
            spans + self.empty_tokens == counted || spans + self.empty_tokens + waiting == counted;
        if !is_whole && !is_cut {
            let seen = format!("{spans} tokens of spans, {} in all", summary.tokens());
            return breach(Invariant::TokensAddUp, seen);
        }
        Ok(())
    }

    fn is_within_limits(&self, outcome: &Outcome) -> Checked {
        let summary = &outcome.summary;
        if self.known.max_tokens.is_some_and(|most| summary.tokens() > most.into()) {
            let seen = format!("{} tokens", summary.tokens());
            return breach(Invariant::Length, seen);
        }
        let end = self.latest_end();
        let took = Duration::from_micros(summary.time.total_us);
        if took > end + self.known.paused {
            return breach(Invariant::EndsInTime, format!("it took {took:?} of {end:?}"));
        }
        // A token that is cut counts in full where it is shown.
        let large = summary.large.tokens.saturating_sub(summary.takeovers.len() as u64);
        let share = large as f64 / summary.tokens().max(1) as f64;
        if self.known.target_share.is_some_and(|target| share > target + 1e-9) {
            let seen =
                format!("a share of {share}: {} of {}", summary.large.tokens, summary.tokens());
            return breach(Invariant::Target, seen);
        }
        Ok(())
    }

    fn end_is_true(&self, outcome: &Outcome) -> Checked {
        let has = |reason: &FinishReason| self.reasons.contains(reason);
        let is_late = self.question.deadline.is_some_and(|deadline| deadline <= self.now);
        let is_true = match &outcome.ended {
            Ended::Complete(End::EndOfText) => has(&FinishReason::EndOfText),
            // A node may be a little early.
            Ended::Complete(End::Deadline) => {
                let was_given = self.question.deadline.is_some();
                is_late || self.now >= LONGEST || (was_given && has(&FinishReason::Deadline))
            }
            Ended::Complete(End::Cancelled) => self.is_cancelled,
            Ended::Complete(End::ContextFull) => self.small_is_full,
            Ended::Complete(End::MaxTokens) => true,
            Ended::Complete(End::Stop) => {
                let stopped_by = outcome.summary.stopped_by.as_ref();
                stopped_by.is_some_and(|stop| self.question.stop.texts.contains(stop))
            }
            Ended::Complete(End::Loop) => cycle_at_end(self.shown.as_bytes()).is_some(),
            Ended::Failed { failure, .. } => {
                let does_not_fit = failure.code == Code::ContextTooLong;
                let is_small_left = self.known.sound.iter().any(|node| node.role == Role::Small);
                let is_full = does_not_fit && self.small_was_accepted;
                let is_unfit = failure.code == Code::InvalidArgument && self.has_unfit;
                let is_needless = !does_not_fit && is_small_left && !is_unfit;
                is_unfit || !(is_late || is_full || is_needless)
            }
        };
        if !is_true {
            let seen = format!("it ended as {:?} at {:?}", outcome.ended, self.now);
            return breach(Invariant::EndIsTrue, seen);
        }
        Ok(())
    }
}

fn time_adds_up(outcome: &Outcome) -> Checked {
    let time = &outcome.summary.time;
    if time.waited_us() > time.total_us {
        let seen = format!("{} us were waited for of {}", time.waited_us(), time.total_us);
        return breach(Invariant::TimeAddsUp, seen);
    }
    Ok(())
}
