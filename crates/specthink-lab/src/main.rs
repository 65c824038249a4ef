//! The command `specthink-lab`. Everything is in the library, except the built-in pair of nodes.

fn main() -> std::process::ExitCode {
    specthink_lab::run(std::env::args_os(), pair::builtin())
}
