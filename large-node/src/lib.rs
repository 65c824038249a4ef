//! The large node: one set of defaults over the shared node. All it does is in `node`.

/// What makes a node the large one.
pub const DEFAULTS: node::Defaults = node::Defaults {
    program: "large-node",
    about: "Serves the large model, which takes over where the small one would doubt, check or agree with itself. Runs on a server.",
    listen: "127.0.0.1:7102",
    example: "Qwen/Qwen2.5-1.5B-Instruct-GGUF --file qwen2.5-1.5b-instruct-q4_k_m.gguf",
};
