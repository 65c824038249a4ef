//! The driver over scripted Thinkers, under paused time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]
#![allow(clippy::cloned_ref_to_slice_refs, reason = "the elements become trait objects")]

mod failure;
mod flow;
mod late;
mod property;
mod rejoin;
mod spares;
mod support;
mod targets;
