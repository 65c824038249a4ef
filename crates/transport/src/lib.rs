//! The Thinker port over gRPC.
//!
//! [`serve`] serves any [`Thinker`](thinking::thinker::Thinker) on a listener. [`Remote`] is a `Thinker` that a remote
//! node serves. Between the two are TLS, the bearer token, heartbeats, message limits and an orderly shutdown. This is
//! the only crate that uses tonic, HTTP/2 and TLS, and none of their types appears in its public API. It contains no
//! model, no policy and no command-line arguments.

use std::time::Duration;

mod address;
mod admission;
mod auth;
mod call;
mod certificate;
mod certificate_facts;
mod client;
#[cfg(test)]
mod compatibility;
mod config;
mod connect;
mod connections;
mod convert;
mod details;
mod error;
#[cfg(test)]
mod error_tests;
mod examination;
mod handshakes;
mod node_link;
mod node_meter;
mod node_rates;
mod pem;
mod proxy;
mod race;
mod server;
mod service;
mod status;
mod tls;
mod watch;

pub use address::{Address, AddressError};
pub use auth::{Token, TokenError};
pub use certificate_facts::CertificateFacts;
pub use client::Remote;
pub use config::{RemoteConfig, ServerConfig};
pub use error::{RemoteError, ServeError};
pub use examination::{Description, Examination};
pub use node_meter::{NodeMeter, NodePhase};
pub use pem::TlsError;
pub use race::connect_tcp;
pub use server::{bind, serve};
pub use tls::{ClientTls, ServerTls};

/// The version of the protocol that this crate speaks.
const PROTOCOL_VERSION: u32 = 1;

/// The default limit for one message, in bytes, at either end: gRPC's own default, about a million tokens of text.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The default number of sessions at a time.
pub const DEFAULT_MAX_SESSIONS: u32 = 16;

/// By default, a node accepts this many connections beyond one for each session: for health checks, and for clients
/// that must be told that all sessions are taken.
pub const SPARE_CONNECTIONS: u32 = 100;

/// The default interval between a node's heartbeats.
pub const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(5);

/// The longest heartbeat interval that clients accept: they give up on a node that is silent for twice this long.
pub const MAX_HEARTBEAT: Duration = Duration::from_secs(10);

/// How long running sessions may continue by default after the shutdown began.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// HTTP/2 pings on a connection. They detect a dead machine or a middlebox that dropped the connection, even when no
/// session is open on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// A ping is sent when nothing was received for this long.
    pub interval: Duration,
    /// The connection is closed if the answer takes longer than this.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Keepalive { interval: Duration::from_secs(30), timeout: Duration::from_secs(10) }
    }
}

/// HTTP/2 flow-control windows, fixed at both ends. A stream may have 1 MiB in flight, which fills 80 Mbit/s at a round
/// trip of 100 ms. The connection gets four times that, so that one slow reader does not stall the other sessions. The
/// adaptive window is off because it would add its own pings to a stream of messages of a few bytes.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;
