//! What both nodes are: arguments -> one validated configuration -> download -> load -> serve ->
//! drain.
//!
//! The small and the large node are two sets of [`Defaults`] over this crate, never two
//! implementations. A program that wants a node inside itself builds a [`NodeConfig`] and starts a
//! [`LocalNode`]. Here live no model (see `engine`) and no wire (see `transport`).

mod args;
mod builtin;
mod config;
mod error;
mod hint;
mod local;
mod main_with;
mod metrics_port;
mod serve;
mod threads;
mod upstream_args;

pub use args::{Defaults, NodeArgs, command};
pub use builtin::{BUILTIN_CAN, EmbeddedModel};
pub use config::{DeviceChoice, Dtype, ModelSource, NodeConfig};
pub use error::{NodeError, NodeExit};
pub use local::LocalNode;
pub use main_with::main_with;
pub use threads::builtin_threads;
pub use upstream_args::UpstreamArgs;
