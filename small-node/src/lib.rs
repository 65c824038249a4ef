//! The small node: a set of defaults for the shared node in `node` and, with the feature `builtin`, a model.

#[cfg(feature = "builtin")]
const BUILTIN: Option<node::EmbeddedModel> = Some(node::EmbeddedModel {
    name: "specthink-arithmetic-small",
    bytes: include_bytes!("../../models/small.gguf"),
});
#[cfg(not(feature = "builtin"))]
const BUILTIN: Option<node::EmbeddedModel> = None;

/// The defaults that make a node the small one.
pub const DEFAULTS: node::Defaults = node::Defaults {
    program: "small-node",
    about: "Serves the small model, which writes most of every answer. Runs near the user, on a laptop or an edge GPU.",
    listen: "127.0.0.1:7101",
    example: "Qwen/Qwen2.5-0.5B-Instruct-GGUF --file qwen2.5-0.5b-instruct-q4_k_m.gguf",
    builtin: BUILTIN,
};
