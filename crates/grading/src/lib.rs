//! Reads data sets of maths questions, finds answers in texts, and decides whether they are right.
//!
//! - [`dataset`] reads problems from JSONL files.
//! - [`answer`] finds the answer in what a model wrote, after its thoughts ([`thought`]).
//! - [`grade`] decides whether it equals the right one; [`math_verify`] asks Python's math-verify instead.
//! - [`interval`] computes confidence intervals for shares of right answers, and [`quantile`] medians and percentiles.
//!
//! What does not live here: asking a model, networking, an async runtime, and printing.

pub mod answer;
pub mod dataset;
mod decimal;
#[cfg(test)]
mod error_tests;
pub mod grade;
pub mod interval;
pub mod math_verify;
pub mod quantile;
mod signs;
pub mod thought;
