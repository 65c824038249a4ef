//! What the command lines of all programs share.
//!
//! This is how a time is written on a command line, what is wrong with one in one line, whether an output is coloured,
//! what is logged, which signals ask a program to end or to reload its files, and how many files it may open. No
//! program's own arguments are here, and nothing that needs clap.

mod colour;
mod duration;
#[cfg(test)]
mod error_tests;
mod log;
mod open_files;
mod signals;
mod usage;

pub use colour::takes_colour;
pub use duration::{BadDuration, duration, positive_duration};
pub use log::{BadLogFilter, BadLogFormat, LogFormat, start_logging};
pub use open_files::raise_open_files;
pub use signals::{Hangups, Signals};
pub use usage::usage_line;
