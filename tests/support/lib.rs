//! What integration tests need: nodes as real processes, and the fixtures. No test lives here.

mod process;

use std::path::PathBuf;

pub use process::{Ended, Process, Signal};

/// The path of a fixture, for instance `tiny-llama`.
///
/// # Panics
/// When there is none of that name.
pub fn fixture(name: &str) -> PathBuf {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).join(name);
    assert!(path.exists(), "there is no fixture {}", path.display());
    path
}
