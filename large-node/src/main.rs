//! The large node's process.

fn main() -> std::process::ExitCode {
    node::main_with(&large_node::DEFAULTS)
}
