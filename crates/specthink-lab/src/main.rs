//! The command `specthink-lab`; everything is in the library, but for the built-in pair of nodes.

fn main() -> std::process::ExitCode {
    specthink_lab::run(std::env::args_os(), pair::builtin())
}
