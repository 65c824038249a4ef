//! One question: a policy driven over two Thinkers.
//!
//! [`answer`] carries out what a pure policy decides, over a small and a large Thinker, and survives the loss of
//! either. What happens is told to an [`Observer`], such as the [`journal`]; [`account`] is what it cost, and
//! [`prices`] says how much that is.
//!
//! Here live no model, no wire and no command line: nodes stand behind [`thinking::thinker::Thinker`].

pub mod account;
mod driver;
pub mod journal;
pub mod prices;
pub mod progress;
pub mod question;

pub use account::{Summary, Takeover};
pub use driver::{Ended, Outcome, answer};
pub use progress::{Observer, Progress, Stamped, Writer};
pub use question::{Node, Question, Run, Settings, Traffic};

/// The target of what is logged here, which people name in filters: it is the program's part that coordinates, however
/// its crates are cut.
const LOG_TARGET: &str = "coordinator";
