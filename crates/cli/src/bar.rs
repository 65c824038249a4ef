//! The progress of a run over a data set, on standard error: a bar on a terminal, an occasional line elsewhere.

use std::io::{self, IsTerminal as _, Write as _};

use grading::dataset::SkippedLine;
use indicatif::{ProgressBar, ProgressStyle};
use runs::Row;
use thinking::shown::one_line;

/// If no bar can be drawn, a line is printed after every this many questions.
const LINE_EVERY: u64 = 50;

/// The progress of a run.
pub struct Bar {
    bar: ProgressBar,
    draws: bool,
    right: u64,
    graded: u64,
}

impl Bar {
    /// Starts the progress of a run over `all` questions, `done` of which are already graded.
    pub fn new(all: u64, done: u64) -> Bar {
        let draws = io::stderr().is_terminal();
        let bar = if draws { ProgressBar::new(all) } else { ProgressBar::hidden() };
        bar.set_length(all);
        // The template is valid; if it were not, the default style would do.
        if let Ok(style) =
            ProgressStyle::with_template("{prefix}{bar:30} {pos}/{len} {msg} (left: {eta})")
        {
            bar.set_style(style);
        }
        bar.set_position(done);
        bar.reset_eta();
        if done > 0 {
            say(&format!("{done} of {all} questions are already graded"));
        }
        Bar { bar, draws, right: 0, graded: 0 }
    }

    /// Prints which lines of the data set are skipped.
    pub fn skipped(&self, lines: &[SkippedLine]) {
        for SkippedLine { line, fault } in lines {
            self.bar.suspend(|| say(&format!("skipped line {line}: {fault}")));
        }
    }

    /// Prints a note about the run.
    pub fn note(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// Begins another part of the run. The counts of right and graded answers start again at zero.
    pub fn begin(&mut self, part: &str) {
        (self.right, self.graded) = (0, 0);
        self.bar.set_prefix(format!("{} ", one_line(part)));
    }

    /// Counts a row.
    pub fn see(&mut self, row: &Row) {
        match row {
            Row::Graded(graded) => {
                self.graded += 1;
                self.right += u64::from(graded.right);
            }
            Row::Failed { id, reason } => {
                self.bar.suspend(|| say(&format!("{id} failed: {reason}")));
            }
        }
        let (right, graded) = (self.right, self.graded);
        self.bar.set_message(format!("{right} of {graded} right"));
        self.bar.inc(1);
        let done = self.bar.position();
        if !self.draws && done.is_multiple_of(LINE_EVERY) {
            say(&format!("{done} of {} asked", self.bar.length().unwrap_or(done)));
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Prints a line. Standard error may be closed; the run continues all the same.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{}", one_line(line));
}
