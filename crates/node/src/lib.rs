//! The implementation of both nodes: arguments -> one validated configuration -> download -> load -> serve -> drain.
//!
//! The small and the large node are two sets of [`Defaults`] on top of this crate, not two implementations. A program
//! that embeds a node builds a [`NodeConfig`] and starts a [`LocalNode`]. The model is in `engine`, the protocol in
//! `transport`.

mod args;
mod builtin;
mod config;
mod error;
#[cfg(test)]
mod error_tests;
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
