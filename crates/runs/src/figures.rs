//! The figures of a run over a data set, computed from its rows alone.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    time::Duration,
};

use answer::prices;
use grading::interval::wilson;
use serde::Serialize;
use thinking::policy::TokenPrices;

use super::{log::Row, minutes};

/// The figures of a run over a data set. Means are per graded question.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Questions with a graded answer.
    pub graded: u64,
    /// Those that were right.
    pub right: u64,
    /// Questions without an answer, because a node failed.
    pub failed: u64,
    /// Answers for which the large node was lost or refused.
    pub degraded: u64,
    /// Questions that do not fit a model; they count as graded and not right.
    pub too_long: u64,
    /// Answers that the grader could not judge; they count as wrong.
    pub ungraded: u64,
    /// Answers cut off by a limit.
    pub cut_off: u64,
    /// Answers that end within their thought, most of them because they were cut off; they count as wrong.
    pub open_thoughts: u64,
    /// Answers that went round in a loop, whether they got out of it or were cut off.
    pub looped: u64,
    /// The fraction of graded answers that were right, from 0 to 1.
    pub accuracy: f64,
    /// The lower end of the accuracy's 95 % interval, by Wilson.
    pub accuracy_low: f64,
    /// Its upper end.
    pub accuracy_high: f64,
    /// Tokens that the small model wrote.
    pub small_tokens: u64,
    /// Tokens that the large model wrote.
    pub large_tokens: u64,
    /// Tokens that the policy inserted.
    pub inserted_tokens: u64,
    /// Tokens that either model generated and the policy discarded.
    pub discarded_tokens: u64,
    /// The large model's fraction of all tokens, from 0 to 1.
    pub takeover_share: f64,
    /// Takeovers per answer.
    pub takeovers: f64,
    /// Corrections of a review per answer. They are not takeovers.
    pub corrections: f64,
    /// Takeovers and verdicts of a review per answer that were given up because they were late.
    pub abandoned: f64,
    /// Takeovers per answer that a target had no room for.
    pub passed_over: f64,
    /// Tokens per answer.
    pub tokens: f64,
    /// Characters per answer: a measure of length that does not depend on a tokenizer.
    pub chars: f64,
    /// Wall time per answer, in seconds.
    pub wall_s: f64,
    /// Tokens per answer that the small model read, without those found cached.
    pub small_read: f64,
    /// Tokens per answer that the small model wrote, including discarded ones.
    pub small_written: f64,
    /// Tokens per answer that the large model read, without those found cached.
    pub large_read: f64,
    /// Tokens per answer that the large model found cached.
    pub large_cached: f64,
    /// Tokens per answer that the large model wrote, including discarded ones.
    pub large_written: f64,
    /// Passes through the large model per answer. A pass shared by several answers counts for each in part. 0 if the
    /// node does not count them.
    pub large_passes: f64,
    /// The mean cost of an answer's tokens, if prices are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// The models that wrote, in alphabetical order.
    pub models: BTreeSet<String>,
}

impl Figures {
    /// Computes the figures of these rows.
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut sum = Figures::default();
        for row in rows {
            sum.add(row);
        }
        let graded = sum.graded.max(1) as f64;
        let Figures {
            takeovers, corrections, abandoned, passed_over, tokens, chars, wall_s, ..
        } = &mut sum;
        for mean in [takeovers, corrections, abandoned, passed_over, tokens, chars, wall_s] {
            *mean /= graded;
        }
        let Figures { small_read, small_written, large_read, large_cached, .. } = &mut sum;
        for mean in [small_read, small_written, large_read, large_cached] {
            *mean /= graded;
        }
        sum.large_written /= graded;
        sum.large_passes /= graded;
        sum.accuracy = sum.right as f64 / graded;
        (sum.accuracy_low, sum.accuracy_high) = wilson(sum.right, sum.graded);
        let all = sum.small_tokens + sum.large_tokens + sum.inserted_tokens;
        sum.takeover_share = sum.large_tokens as f64 / all.max(1) as f64;
        sum
    }

    /// Returns the figures with the cost of an answer at these prices.
    #[must_use]
    pub fn priced<'a>(self, prices: &TokenPrices, rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let costs = rows.into_iter().filter_map(|row| match row {
            Row::Graded(graded) => Some(prices::cost(prices, &graded.summary)),
            Row::Failed { .. } => None,
        });
        let cost = costs.sum::<f64>() / self.graded.max(1) as f64;
        Figures { cost: Some(cost), ..self }
    }

    fn add(&mut self, row: &Row) {
        use thinking::policy::End;
        let graded = match row {
            Row::Graded(graded) => graded,
            Row::Failed { .. } => {
                self.failed += 1;
                return;
            }
        };
        let summary = &graded.summary;
        self.graded += 1;
        self.right += u64::from(graded.right);
        self.degraded += u64::from(summary.degraded.is_some());
        self.too_long += u64::from(summary.failure.is_some());
        self.ungraded += u64::from(graded.grader_error.is_some());
        self.looped += u64::from(summary.loops > 0);
        self.cut_off += u64::from(summary.end.is_some_and(|end| end != End::EndOfText));
        self.open_thoughts += u64::from(graded.open_thought);
        self.small_tokens += summary.small.tokens;
        self.large_tokens += summary.large.tokens;
        self.inserted_tokens += summary.inserted_tokens;
        self.discarded_tokens += summary.small.discarded_tokens + summary.large.discarded_tokens;
        self.takeovers += summary.takeovers.len() as f64;
        self.corrections += f64::from(summary.corrections);
        self.abandoned += f64::from(summary.abandoned);
        self.passed_over += f64::from(summary.passed_over);
        self.tokens += summary.tokens() as f64;
        self.chars += graded.text.chars().count() as f64;
        self.wall_s += summary.time.total_us as f64 / 1e6;
        let (small, large) = (&summary.small, &summary.large);
        self.small_read += small.read_tokens() as f64;
        self.small_written += small.written_tokens() as f64;
        self.large_read += large.read_tokens() as f64;
        self.large_cached += large.cached_tokens as f64;
        self.large_written += large.written_tokens() as f64;
        self.large_passes += large.passes_milli as f64 / 1e3;
        for model in [&summary.small.model, &summary.large.model] {
            if !model.is_empty() {
                self.models.insert(model.clone());
            }
        }
    }

    fn write_computing(&self, out: &mut impl Write) -> io::Result<()> {
        let Figures { small_read, small_written, large_read, large_written, .. } = self;
        let passes = match self.large_passes > 0.0 {
            true => format!(" in {:.1} passes", self.large_passes),
            false => String::new(),
        };
        writeln!(
            out,
            "computing  per answer: small read {small_read:.1} and wrote {small_written:.1} tokens, large read \
             {large_read:.1} and wrote {large_written:.1}{passes}"
        )?;
        match self.cost {
            Some(cost) => writeln!(out, "cost       {cost:.7} per answer"),
            None => Ok(()),
        }
    }

    /// Writes the figures in a few aligned lines. `wall` is the time of this run.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, out: &mut impl Write, wall: Duration) -> io::Result<()> {
        if self.graded == 0 {
            return writeln!(
                out,
                "accuracy   nothing was graded; {} questions failed",
                self.failed
            );
        }
        let graded = self.graded as f64;
        writeln!(
            out,
            "accuracy   {:.1} % ({} of {}; 95 % interval {:.1} to {:.1} %)",
            100.0 * self.accuracy,
            self.right,
            self.graded,
            100.0 * self.accuracy_low,
            100.0 * self.accuracy_high,
        )?;
        writeln!(
            out,
            "tokens     small {} ({:.1} per answer), large {} ({:.1}); {} more were generated and discarded",
            self.small_tokens,
            self.small_tokens as f64 / graded,
            self.large_tokens,
            self.large_tokens as f64 / graded,
            self.discarded_tokens,
        )?;
        let more = |count: f64, what: &str| {
            if count > 0.0 { format!(", {count:.2} more {what}") } else { String::new() }
        };
        let corrections = match self.corrections > 0.0 {
            true => format!(", {:.2} corrections", self.corrections),
            false => String::new(),
        };
        writeln!(
            out,
            "takeovers  {:.2} per answer{corrections}{}{}; takeover share {:.1} %",
            self.takeovers,
            more(self.abandoned, "abandoned"),
            more(self.passed_over, "passed over to keep the target"),
            100.0 * self.takeover_share
        )?;
        writeln!(
            out,
            "length     {:.1} tokens, {:.1} characters per answer; {} cut off by a limit",
            self.tokens, self.chars, self.cut_off
        )?;
        self.write_computing(out)?;
        writeln!(out, "wall time  {:.3} s per answer; this run {}", self.wall_s, minutes(wall))?;
        let trouble = [
            (self.degraded, "answers degraded"),
            (self.failed, "questions failed"),
            (self.looped, "answers went round in a loop"),
            (self.too_long, "questions do not fit the model and count as wrong"),
            (self.ungraded, "answers could not be graded and count as wrong"),
            (self.open_thoughts, "answers end within the thought and count as wrong"),
        ];
        let trouble: Vec<String> = trouble
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !trouble.is_empty() {
            writeln!(out, "trouble    {}", trouble.join(", "))?;
        }
        let models: Vec<&str> = self.models.iter().map(String::as_str).collect();
        writeln!(out, "models     {}", models.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(figures: &Figures) -> String {
        let mut out = Vec::new();
        figures.write(&mut out, Duration::from_secs(754)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_figures_of_a_run_with_everything_read_like_this() {
        insta::assert_snapshot!(written(&Figures {
            graded: 200,
            right: 164,
            failed: 3,
            degraded: 4,
            too_long: 1,
            ungraded: 2,
            cut_off: 9,
            open_thoughts: 6,
            looped: 5,
            accuracy: 0.82,
            accuracy_low: 0.761,
            accuracy_high: 0.867,
            small_tokens: 180_400,
            large_tokens: 19_600,
            inserted_tokens: 1_200,
            discarded_tokens: 3_210,
            takeover_share: 0.0974,
            takeovers: 4.25,
            corrections: 1.5,
            abandoned: 0.02,
            passed_over: 0.31,
            tokens: 1_006.0,
            chars: 3_912.4,
            wall_s: 14.207,
            small_read: 312.5,
            small_written: 918.0,
            large_read: 1_250.75,
            large_cached: 0.0,
            large_written: 98.0,
            large_passes: 41.5,
            cost: Some(0.000_213_4),
            models: ["qwen3-0.6b", "qwen3-32b"].map(str::to_owned).into(),
        }));
    }

    #[test]
    fn the_figures_of_a_run_of_one_model_read_like_this() {
        insta::assert_snapshot!(written(&Figures {
            graded: 20,
            right: 13,
            accuracy: 0.65,
            accuracy_low: 0.433,
            accuracy_high: 0.819,
            small_tokens: 18_040,
            tokens: 902.0,
            chars: 3_512.0,
            wall_s: 9.5,
            small_read: 112.0,
            small_written: 902.0,
            models: ["qwen3-0.6b"].map(str::to_owned).into(),
            ..Figures::default()
        }));
    }

    #[test]
    fn a_run_without_a_grade_says_only_that() {
        insta::assert_snapshot!(written(&Figures { failed: 3, ..Figures::default() }));
    }
}
