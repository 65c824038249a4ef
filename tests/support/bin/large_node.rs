//! The large node's process, as its own package builds it.

fn main() -> std::process::ExitCode {
    node::main_with(&large_node::DEFAULTS)
}
