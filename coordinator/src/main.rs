//! The command `specthink`. Everything is in the library, except the built-in pair of nodes.

fn main() -> std::process::ExitCode {
    coordinator::run(std::env::args_os(), pair::builtin())
}
