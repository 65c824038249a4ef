//! The API over HTTP, as clients use it, over scripted Thinkers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]

mod answers;
mod completions;
mod continued;
mod earlier;
mod limits;
mod metrics;
mod openapi;
mod refusals;
mod responses;
mod review;
mod support;
mod tokens;
