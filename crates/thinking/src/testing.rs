//! The scripted fake, and the conformance kit that every Thinker passes.
//!
//! [`ScriptedThinker`] answers from a script instead of a model, so tests of a driver, a server or a client need no
//! weights. The [`conformance`](fn@conformance) kit checks any Thinker against the contract of [`crate::thinker`],
//! whatever text it writes.
//!
//! This is test code shared with other crates. It needs a tokio runtime with time.

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
