//! Integration tests: real nodes on loopback, driven from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]

mod ask;
mod documented;
#[path = "../../crates/hub/tests/fake_hub/mod.rs"]
mod fake_hub;
mod lab;
mod manual;
mod node_errors;
mod node_process;
mod observability;
mod open_files;
#[cfg(feature = "otel")]
mod otlp;
mod output;
#[cfg(unix)]
mod pools;
mod rejoin;
#[cfg(unix)]
mod reload;
mod serve;
mod tidy;
mod upstream;

/// The specthink command.
const SPECTHINK: &str = env!("CARGO_BIN_EXE_specthink-under-test");
/// The small node's program.
const SMALL: &str = env!("CARGO_BIN_EXE_small-node-under-test");
/// The large node's program.
const LARGE: &str = env!("CARGO_BIN_EXE_large-node-under-test");
