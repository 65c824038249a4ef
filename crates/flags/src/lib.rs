//! What the command lines of all programs share.
//!
//! Here lives how a value is written on a command line. Here lives no program's own argument, and
//! nothing that needs clap.

mod duration;

pub use duration::{BadDuration, duration, positive_duration};
