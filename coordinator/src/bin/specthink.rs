//! The specthink command.
fn main() {}
