//! The pair of nodes that a program may contain, so that it answers without a named node.
//!
//! Commands know it as [`Builtin`] and link no node. A program passes them [`builtin()`]: the real pair with the
//! feature `builtin`, `None` without it. Not here: when the pair answers and what is printed about it (the crate
//! `cli`), and the models (`small-node`, `large-node`).

#[cfg(feature = "builtin")]
mod nodes;

use std::any::Any;

/// A pair of nodes inside the program, which answers if no node is named.
pub trait Builtin {
    /// Returns what the pair can do, to follow the words "it can do".
    fn can(&self) -> &str;

    /// Starts the small node, and the large one if `large` is set.
    ///
    /// # Errors
    /// The reason, in one line, if they cannot be started.
    fn start(&self, large: bool) -> Result<BuiltinNodes, String>;
}

/// Running nodes. They stop when this is dropped.
pub struct BuiltinNodes {
    /// The URL of the small node.
    pub small: String,
    /// The URL of the large node, if it was started.
    pub large: Option<String>,
    /// Stops the nodes when it is dropped.
    pub guard: Box<dyn Any + Send>,
}

/// Returns the pair that this program contains, if it does.
pub fn builtin() -> Option<&'static dyn Builtin> {
    #[cfg(feature = "builtin")]
    return Some(&nodes::BuiltinPair);
    #[cfg(not(feature = "builtin"))]
    None
}
