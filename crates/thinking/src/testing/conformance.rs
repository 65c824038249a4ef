//! The conformance kit: what every Thinker must do, whatever text it writes.
//!
//! The kit uses only the Thinker's port. It never knows what the Thinker will write, so it works for an engine with
//! random weights, a remote client and the scripted fake alike: it checks what must hold for any text, and where it
//! needs to know a text, it generates it twice with the same seed.

use super::{
    case::{Case, KitSettings, Violation},
    cases as all, entropy_cases, review_cases,
};
use crate::thinker::Thinker;

/// Returns all cases of the kit.
pub fn cases() -> Vec<Case> {
    all::all().into_iter().chain(review_cases::all()).chain(entropy_cases::all()).collect()
}

/// Runs every case, one after the other. Returns the violations.
pub async fn conformance(thinker: &dyn Thinker, settings: &KitSettings) -> Vec<Violation> {
    let mut violations = Vec::new();
    for case in cases() {
        violations.extend(case.check(thinker, settings).await.err());
    }
    violations
}

/// Panics with all violations, if there are any.
pub async fn assert_conforms(thinker: &dyn Thinker, settings: &KitSettings) {
    let violations = conformance(thinker, settings).await;
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "the Thinker breaks its contract:\n{}", lines.join("\n"));
}
