//! What happened in a simulated answer, one line each, for people.

use std::{fmt, time::Duration};

/// Lines with their times, where they are wanted.
#[derive(Debug)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(is_wanted: bool) -> Self {
        Trace { lines: is_wanted.then(Vec::new) }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>12.3} ms  {what}", at.as_secs_f64() * 1e3));
        }
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
