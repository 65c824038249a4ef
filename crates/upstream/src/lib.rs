//! The Thinker port over HTTP: the model runs in a third-party server and is used like the model of our own node.
//!
//! [`Upstream`] implements the contract of [`thinking::thinker`] on top of a server's completions. Sessions, cut-back,
//! trigger watch, stop texts and cancel are implemented here, on the stream, by the rules of [`thinking::session`]. The
//! prompt is rendered once, by the server if it can, and then continued as token ids or as exact text. Chat routes are
//! not used between two stretches, because templates trim or close the text they are given; the exception is a server
//! that has nothing else and was seen to continue answers exactly (`exactness`). Dropping the connection ends a
//! stretch.
//!
//! The requests and answers of each kind of server are in `dialect`, one file each, without I/O. This crate contains no
//! weights, no gRPC and no command line.
//!
//! # Example
//!
//! A server is asked for its kind unless the configuration names it. The fake server (feature `testing`) behaves like
//! a real one of each kind:
//!
//! ```
//! use upstream::{
//!     ServerKind, Upstream, UpstreamConfig,
//!     testing::{FakeOptions, FakeServer},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // As in `--upstream-kind` and in `kind` of an endpoint.
//! let kind: ServerKind = "sglang".parse()?;
//! let server = FakeServer::start(FakeOptions::new(kind)).await;
//!
//! let config = UpstreamConfig::new(server.address().parse()?);
//! assert_eq!(config.kind, None, "the server is asked");
//! let upstream = Upstream::new(config)?;
//! let card = upstream.card().await?;
//! assert_eq!((card.name.as_str(), card.device.as_str()), ("fake", kind.name()));
//!
//! // Its list of models shows the kind. Which requests follow is up to the kind's dialect.
//! let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
//! assert_eq!(paths, ["/v1/models", "/tokenize"]);
//! # Ok(())
//! # }
//! ```

mod address;
mod border;
mod chat;
mod chunk;
mod chunk_stream;
mod config;
mod dialect;
mod discover;
#[cfg(test)]
mod error_tests;
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
