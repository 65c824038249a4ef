//! Integration tests: real nodes on loopback, driven from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../crates/node/tests/fake_hub/mod.rs"]
mod fake_hub;
mod node_errors;
mod node_process;

/// The small node's program.
const SMALL: &str = env!("CARGO_BIN_EXE_small-node-under-test");
/// The large node's program.
const LARGE: &str = env!("CARGO_BIN_EXE_large-node-under-test");
