//! The parts of a sweep's results that cannot be used, and why.

use std::fmt;

use thinking::shown::one_line;

/// Something that was left out, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedResult {
    /// Its kind.
    pub what: SkippedKind,
    /// How many of them this entry counts.
    pub count: u64,
    /// Where it is: folder, policy, link, seed, question.
    pub place: String,
    /// Why it was left out.
    pub why: String,
}

/// Kinds of things that are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkippedKind {
    /// A cell without rows, or with the log of another run.
    Cell,
    /// A row that was cut off.
    BrokenRow,
    /// A question that failed because a node was lost.
    Failed,
    /// A question that was not asked yet.
    Open,
    /// The journal of a graded answer does not exist.
    NoJournal,
    /// A journal of another version.
    Version,
    /// A journal that lacks its end.
    Truncated,
    /// A journal of another question, run, policy or seed.
    Mixed,
    /// A journal that cannot be read.
    Damaged,
    /// A journal that belongs to no graded answer.
    Stray,
    /// Traffic of a link that cannot be read.
    Traffic,
    /// An answer that cannot be replayed.
    Replay,
}

impl SkippedKind {
    /// Returns the kind's name in the plural.
    pub fn plural(self) -> &'static str {
        match self {
            SkippedKind::Cell => "cells",
            SkippedKind::BrokenRow => "rows that were cut off",
            SkippedKind::Failed => "questions that failed",
            SkippedKind::Open => "questions without an answer so far",
            SkippedKind::NoJournal => "journals that do not exist",
            SkippedKind::Version => "journals of another version",
            SkippedKind::Truncated => "journals that break off",
            SkippedKind::Mixed => "journals of something else",
            SkippedKind::Damaged => "journals that cannot be read",
            SkippedKind::Stray => "journals that belong to no graded answer",
            SkippedKind::Traffic => "counts of traffic",
            SkippedKind::Replay => "answers that cannot be replayed",
        }
    }
}

impl SkippedResult {
    /// Creates an entry for a single thing. Its place and the reason are made safe to show on one line.
    pub fn new(
        what: SkippedKind,
        place: impl Into<String>,
        why: impl fmt::Display,
    ) -> SkippedResult {
        let (place, why) = (one_line(&place.into()), one_line(&why.to_string()));
        SkippedResult { what, count: 1, place, why }
    }
}

impl fmt::Display for SkippedResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}
