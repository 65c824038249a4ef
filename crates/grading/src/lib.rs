//! Data sets of maths questions, answers in texts, and whether an answer is right.
//!
//! [`dataset`] reads problems from JSONL files, [`answer`] finds the answer in what a model wrote, behind its
//! thoughts ([`thought`]), [`grade`] says whether it equals the right one, [`math_verify`] asks Python's
//! math-verify instead, [`interval`] says how far a share of right answers can be trusted, and [`quantile`] what a
//! median is.
//!
//! What does not live here: asking a model, a network, an async runtime, and anything printed.

pub mod answer;
pub mod dataset;
mod decimal;
pub mod grade;
pub mod interval;
pub mod math_verify;
pub mod quantile;
mod signs;
pub mod thought;
