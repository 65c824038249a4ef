//! The lab's command, as its own package builds it.

fn main() -> std::process::ExitCode {
    specthink_lab::run(std::env::args_os(), pair::builtin())
}
