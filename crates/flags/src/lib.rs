//! What the command lines of all programs share.
//!
//! Here live how a value is written on a command line, and whether an output is coloured. Here
//! lives no program's own argument, and nothing that needs clap.

mod colour;
mod duration;

pub use colour::takes_colour;
pub use duration::{BadDuration, duration, positive_duration};
