//! The large node: one set of defaults over the shared node, and, with the feature `builtin`, a model to
//! begin with. All it does is in `node`.

#[cfg(feature = "builtin")]
const BUILTIN: Option<node::EmbeddedModel> = Some(node::EmbeddedModel {
    name: "specthink-arithmetic-large",
    bytes: include_bytes!("../../models/large.gguf"),
});
#[cfg(not(feature = "builtin"))]
const BUILTIN: Option<node::EmbeddedModel> = None;

/// What makes a node the large one.
pub const DEFAULTS: node::Defaults = node::Defaults {
    program: "large-node",
    about: "Serves the large model, which takes over where the small one would doubt, check or \
            agree with itself. Runs on a server.",
    listen: "127.0.0.1:7102",
    example: "Qwen/Qwen2.5-1.5B-Instruct-GGUF --file qwen2.5-1.5b-instruct-q4_k_m.gguf",
    builtin: BUILTIN,
};
