//! The specthink command; everything is in [`coordinator::cli`], but for the built-in pair of nodes.

fn main() -> std::process::ExitCode {
    coordinator::cli::run(std::env::args_os(), pair::builtin())
}
