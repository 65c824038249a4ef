//! The small node: one set of defaults over the shared node.
