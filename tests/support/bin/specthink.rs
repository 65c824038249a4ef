//! The specthink command, as its own package builds it.

#[path = "../../../coordinator/src/bin/specthink/builtin.rs"]
mod builtin;

fn main() -> std::process::ExitCode {
    coordinator::cli::run(std::env::args_os(), Some(&builtin::BuiltinPair))
}
