//! The model that a node's program carries in itself: how it is described, and what is said where there is
//! none. Which one it is is in the node's own package.

pub use engine::EmbeddedModel;

/// What the built-in models can do. They can do nothing else.
pub const BUILTIN_CAN: &str = "arithmetic in three to six steps with whole numbers below 1,000, told like \
     \"Start with 84. Add 37. Double it. What is the result?\"";

/// What the help says is served without `--model`.
pub(crate) fn as_default(builtin: Option<EmbeddedModel>) -> String {
    match builtin {
        Some(model) => {
            format!("the built-in model {}: {BUILTIN_CAN}, and nothing else", model.name)
        }
        None => "none: this program was built without the feature builtin".to_owned(),
    }
}

/// What a node that serves it says on the console.
pub(crate) fn note() -> String {
    format!(
        "this is the built-in arithmetic model: it can do {BUILTIN_CAN}, and nothing else; give --model to serve another"
    )
}
