//! The small node: one set of defaults over the shared node. All it does is in `node`.

/// What makes a node the small one.
pub const DEFAULTS: node::Defaults = node::Defaults {
    program: "small-node",
    about: "Serves the small model, which writes most of every answer. Runs near the user: a laptop, an edge GPU.",
    listen: "127.0.0.1:7101",
    example: "Qwen/Qwen2.5-0.5B-Instruct-GGUF --file qwen2.5-0.5b-instruct-q4_k_m.gguf",
};
