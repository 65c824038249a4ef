//! The machine of an answer, alone: inputs at times that the test sets, effects that it looks at.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod defects;
mod hedges;
mod limits;
mod loops;
mod order;
mod paragraphs;
mod review;
mod spares;
mod stage;
mod stops;
mod thoughts;
mod times;
