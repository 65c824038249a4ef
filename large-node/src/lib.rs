//! The large node: one set of defaults over the shared node.
