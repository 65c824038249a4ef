//! The model built into a node's program: its description, and the text shown if there is none. Which model it is is up
//! to the node's own package.

pub use engine::EmbeddedModel;

/// What the built-in models can do. They can do nothing else.
pub const BUILTIN_CAN: &str = "arithmetic in three to six steps with whole numbers below 1,000, worded like \
     \"Start with 84. Add 37. Double it. Take away 50. What is the result?\"";

/// The default that the help shows for `--model`.
pub(crate) fn as_default(builtin: Option<EmbeddedModel>) -> String {
    match builtin {
        Some(model) => {
            format!("the built-in model {}: {BUILTIN_CAN}, and nothing else", model.name)
        }
        None => "none: this program was built without the feature builtin".to_owned(),
    }
}

/// The note that a node with a built-in model prints on the console.
pub(crate) fn note() -> String {
    format!(
        "this is the built-in arithmetic model: it can do {BUILTIN_CAN}, and nothing else; give --model to serve \
         another"
    )
}
