//! One question: a policy driven over a small and a large Thinker.
//!
//! [`answer`] runs the machine of [`conductor`] over real sessions. It reports what happens to an [`Observer`], such as
//! the writer of the [`journal`]. [`account`] is what the answer cost in tokens and time, and [`prices`] converts that
//! to money.
//!
//! This crate has no rules of an answer, no model, no network protocol and no command line: it reaches nodes through
//! [`thinking::thinker::Thinker`].

mod driver;
#[cfg(test)]
mod error_tests;
pub mod file;
pub mod journal;
mod part;
pub mod prices;
pub mod question;
mod spans;

pub use conductor::{
    Ended, Outcome,
    account::{self, Summary, Takeover},
    progress::{self, Observer, Progress, Stamped, Writer},
    told::{TimedSpan, ToldSpans},
};
pub use driver::answer;
pub use question::{Candidates, Node, Question, Run, Settings, Traffic};

/// The target of the log lines of this crate, which people name in filters. It is the name of the coordinating part of
/// the program, however that is divided into crates.
const LOG_TARGET: &str = "coordinator";
