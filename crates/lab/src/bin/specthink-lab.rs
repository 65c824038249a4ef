//! The lab's command; everything is in [`lab::cli`], but for the built-in pair of nodes.

fn main() -> std::process::ExitCode {
    lab::cli::run(std::env::args_os(), pair::builtin())
}
