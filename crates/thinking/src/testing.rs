//! The scripted fake and the conformance kit that every Thinker passes.
//!
//! [`ScriptedThinker`] answers from a script instead of a model, so that a test of a driver, a
//! server or a client needs no weights. The [`conformance`](fn@conformance) kit holds any Thinker to
//! the contract of [`crate::thinker`], whatever text it writes.
//!
//! This is test code that other crates' tests share: it needs a tokio runtime with time.

mod bytes;
mod case;
mod cases;
mod conformance;
mod entropy_cases;
mod fake;
mod review;
mod review_cases;
mod script;
mod talk;

pub use case::{Case, KitSettings, Violation};
pub use conformance::{assert_conforms, cases, conformance};
pub use fake::{Fault, FaultKind, Options, ScriptedThinker};
pub use review::GREATEST_GAP;
pub use script::{END_OF_TEXT, Moment, Script, pieces};
