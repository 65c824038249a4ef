//! The specthink command, as its own package builds it.

fn main() -> std::process::ExitCode {
    coordinator::run(std::env::args_os(), pair::builtin())
}
