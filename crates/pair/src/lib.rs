//! The pair of nodes that a program may carry in itself, so that it answers with no node named.
//!
//! Commands know it as [`Builtin`] and link no node. A program hands them [`builtin()`]: with the feature `builtin`
//! that is the real pair, without it there is none. What does not live here: when the pair answers and what is said
//! of it (the crate `cli`), and the models (`small-node`, `large-node`).

#[cfg(feature = "builtin")]
mod nodes;

use std::any::Any;

/// A pair of nodes inside the program, which answers when no node is named.
pub trait Builtin {
    /// What the pair can do, to follow the words "it can do".
    fn can(&self) -> &str;

    /// Starts the small node, and the large one if there is a use for it.
    ///
    /// # Errors
    /// Why they cannot be started, in one line.
    fn start(&self, large: bool) -> Result<BuiltinNodes, String>;
}

/// Running nodes. They stop when it is dropped.
pub struct BuiltinNodes {
    /// Where the small node is.
    pub small: String,
    /// Where the large node is, where it was started.
    pub large: Option<String>,
    /// Stops the nodes when it is dropped.
    pub guard: Box<dyn Any + Send>,
}

/// The pair that this program carries, where it carries one.
pub fn builtin() -> Option<&'static dyn Builtin> {
    #[cfg(feature = "builtin")]
    return Some(&nodes::BuiltinPair);
    #[cfg(not(feature = "builtin"))]
    None
}
