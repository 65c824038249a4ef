//! What both nodes are: arguments -> one validated configuration -> download -> load -> serve ->
//! drain.
//!
//! The small and the large node are two sets of [`Defaults`] over this crate, never two
//! implementations. A program that wants a node inside itself builds a [`NodeConfig`] and calls
//! [`run`], or [`Node::start`] to learn the address first. Here live no model (see `engine`) and no
//! wire (see `transport`).

mod args;
mod config;
mod error;
pub mod hub;
mod main_with;
mod progress;
mod serve;
mod threads;

pub use args::{Defaults, NodeArgs, command};
pub use config::{DeviceChoice, Dtype, ModelSource, NodeConfig};
pub use error::{Exit, NodeError};
pub use main_with::main_with;
pub use progress::{Console, Progress, Unit};
pub use serve::{Node, run};
