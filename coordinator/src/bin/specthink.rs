//! The specthink command; everything is in [`coordinator::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    coordinator::cli::run(std::env::args_os())
}
