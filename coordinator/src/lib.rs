//! One question: a policy driven over two Thinkers.
//!
//! [`answer`] is the heart: it carries out what a pure policy decides, over a small and a large
//! Thinker, and survives the loss of either. What happens is told to an [`Observer`]; the
//! [`journal`] and the [`render`]er are observers. [`eval`] asks all questions of a data set. The
//! command `specthink` is in [`cli`].
//!
//! Here live no model and no wire: both stand behind [`thinking::thinker::Thinker`].

pub mod account;
pub mod cli;
mod driver;
pub mod eval;
pub mod journal;
pub mod prices;
pub mod progress;
pub mod question;
pub mod render;

pub use account::{Summary, Takeover};
pub use driver::{Ended, Outcome, answer};
pub use progress::{Observer, Progress, Stamped, Writer};
pub use question::{Node, Question, Run, Settings, Traffic};
