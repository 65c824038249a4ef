//! What integration tests need: nodes as real processes, and the fixtures. No test is here.

mod process;

use std::path::PathBuf;

pub use process::{Ended, Process, Signal};

/// Returns the path of a fixture, for instance `tiny-llama`.
///
/// If there is none of that name.
pub fn fixture(name: &str) -> PathBuf {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).join(name);
    assert!(path.exists(), "there is no fixture {}", path.display());
    path
}
