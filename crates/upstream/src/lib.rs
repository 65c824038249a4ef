//! The Thinker port over HTTP: the model lives in a server that others wrote, and is used as our own nodes are.
//!
//! [`Upstream`] keeps the contract of [`thinking::thinker`] over a server's completions: sessions, cut-back, trigger
//! watch, stop texts and cancel are done here, on the stream, by the rules of [`thinking::session`]. The prompt is
//! rendered once, by the server where it can, and then continued as token ids or as exact text; no chat route is used
//! between two stretches, because templates cut or close what they are given, unless a server has nothing else and was
//! seen to go on exactly (`exactness`). A stretch is ended by dropping its connection.
//!
//! What a kind of server is asked, and what its answers mean, is in `dialect`, one file each, without I/O. Here live
//! no weights, no gRPC and no command line.

mod address;
mod border;
mod chat;
mod chunk;
mod chunk_stream;
mod config;
mod dialect;
mod discover;
mod exactness;
mod failure;
mod http;
mod meter;
mod odds;
mod server;
mod session;
mod sse;
#[cfg(feature = "testing")]
pub mod testing;
mod thought;
mod token_text;
mod upstream;

pub use address::{UpstreamAddress, UpstreamAddressError};
pub use config::{ApiKey, ServerKind, UpstreamConfig, UpstreamError};
pub use upstream::Upstream;
