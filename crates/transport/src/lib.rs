//! The Thinker port over gRPC.
//!
//! [`serve`] puts any [`Thinker`](thinking::thinker::Thinker) on a listener; [`Remote`] is a
//! `Thinker` that a remote node serves. Between them stand TLS, the bearer token, the
//! heartbeat, message limits and an orderly shutdown. Here live the only users of tonic, HTTP/2 and
//! TLS, and none of their types appears in what this crate offers. Here live no model, no policy
//! and no arguments of a command line.

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

/// How large a message either end takes unless configured otherwise, in bytes: gRPC's own default, and
/// about a million tokens of text.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Sessions at a time unless configured otherwise.
pub const DEFAULT_MAX_SESSIONS: u32 = 16;

/// Connections at a time beside one for each session, unless configured otherwise: for health checks, and for clients
/// that are told that all sessions are taken.
pub const SPARE_CONNECTIONS: u32 = 100;

/// How often a node sends a heartbeat unless configured otherwise.
pub const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(5);

/// The longest heartbeat interval that clients accept: they give up a node that is silent for twice as
/// long.
pub const MAX_HEARTBEAT: Duration = Duration::from_secs(10);

/// How long running sessions may go on after the shutdown began, unless configured otherwise.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// HTTP/2's own pings on a connection: what finds a dead machine or a forgetful middlebox, under a
/// connection without a session too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// A ping is sent when nothing was received for this long.
    pub interval: Duration,
    /// The connection is given up when the answer takes longer.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Keepalive { interval: Duration::from_secs(30), timeout: Duration::from_secs(10) }
    }
}

/// HTTP/2's windows, fixed at both ends. A stream may have one MiB in flight, which fills 80 Mbit/s at
/// a round trip of 100 ms; the connection four times that, so that one slow reader does not stall
/// the other sessions. The adaptive window would send pings of its own among messages of a few bytes.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;
