//! The small node's process, as its own package builds it.

fn main() -> std::process::ExitCode {
    node::main_with(&small_node::DEFAULTS)
}
