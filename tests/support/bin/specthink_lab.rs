//! The lab's command, as its own package builds it.

fn main() -> std::process::ExitCode {
    lab::cli::run(std::env::args_os(), pair::builtin())
}
