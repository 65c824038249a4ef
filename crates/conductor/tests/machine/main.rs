//! The machine of an answer, alone: the tests set the time of each input and inspect the effects.
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
