//! Client and server over loopback: the whole path of a session between two machines, except the distance.

// Clippy exempts only functions that are themselves marked as tests, not their helpers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]

mod clients;
mod conforms;
mod connections;
mod ends;
mod refusals;
mod strangers;
mod support;
mod time;
mod tokens;
mod unread;
mod watch;
