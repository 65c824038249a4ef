//! The command `specthink`; everything is in the library, but for the built-in pair of nodes.

fn main() -> std::process::ExitCode {
    coordinator::run(std::env::args_os(), pair::builtin())
}
