//! The rules of CONTRIBUTING.md that neither the compiler nor clippy checks, as tests over the checkout's files.
//!
//! Every rule is one test. It fails with one line for each violation: where, which rule, what to do. Rules that are
//! lints are in `Cargo.toml` and `clippy.toml` instead.

mod arrows;
mod cycles;
mod docs;
mod layout;
mod marks;
mod names;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The maximum width of a line in characters, for code and prose alike.
const MAX_WIDTH: usize = 120;

/// Returns the root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Reads a text file of the checkout; `path` is relative to its root.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// Returns the paths of all files under a folder with this extension, relative to the root, sorted.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.path().is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(files(&path, extension));
            }
        } else if Path::new(&name).extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Fails with these lines if there are any.
#[track_caller]
fn expect_none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}
