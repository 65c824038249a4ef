//! Starts the node.
fn main() {}
