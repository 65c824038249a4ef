//! The specthink command; everything is in [`coordinator::cli`], but for the built-in pair of nodes.

#[cfg(feature = "builtin")]
mod builtin;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "builtin")]
    let pair = Some(&builtin::BuiltinPair as &dyn coordinator::cli::Builtin);
    #[cfg(not(feature = "builtin"))]
    let pair = None;
    coordinator::cli::run(std::env::args_os(), pair)
}
