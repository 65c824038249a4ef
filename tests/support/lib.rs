//! What integration tests need: nodes as real processes and inside the test, and the fixtures. No
//! test lives here.

mod local;
mod process;

use std::path::PathBuf;

pub use local::LocalNode;
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
