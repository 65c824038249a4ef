//! One question: a policy driven over a small and a large Thinker.
//!
//! [`answer`] runs the machine of [`conductor`] over real sessions. What happens is told to an [`Observer`], as the
//! [`journal`] is; [`account`] is what it cost, and [`prices`] says how much that is.
//!
//! Here live no rule of an answer, no model, no wire and no command line: nodes stand behind
//! [`thinking::thinker::Thinker`].

mod driver;
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

/// The target of what is logged here, which people name in filters: it is the program's part that coordinates, however
/// its crates are cut.
const LOG_TARGET: &str = "coordinator";
