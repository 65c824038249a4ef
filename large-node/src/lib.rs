//! The large node: a set of defaults for the shared node in `node` and, with the feature `builtin`, a model.

#[cfg(feature = "builtin")]
const BUILTIN: Option<node::EmbeddedModel> = Some(node::EmbeddedModel {
    name: "specthink-arithmetic-large",
    bytes: include_bytes!("../../models/large.gguf"),
});
#[cfg(not(feature = "builtin"))]
const BUILTIN: Option<node::EmbeddedModel> = None;

/// The defaults that make a node the large one.
pub const DEFAULTS: node::Defaults = node::Defaults {
    program: "large-node",
    about: "Serves the large model, which takes over where the small one would doubt, check or \
            agree with itself. Runs on a server.",
    listen: "127.0.0.1:7102",
    example: "Qwen/Qwen2.5-1.5B-Instruct-GGUF --file qwen2.5-1.5b-instruct-q4_k_m.gguf",
    builtin: BUILTIN,
};
