//! The command, run as its user runs it, against two served scripted Thinkers on loopback.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]

mod certs;
mod doctor;
mod endpoints;
mod eval;
mod hostile;
mod nodes;
mod output;
mod probe;
mod refusals;
mod serve_config;
mod upstream;
