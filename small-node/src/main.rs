//! The small node's process.

fn main() -> std::process::ExitCode {
    node::main_with(&small_node::DEFAULTS)
}
