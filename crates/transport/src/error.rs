//! Errors before any session begins: a node that cannot be reached or served. How a session or a call fails is in
//! `status`.

use std::{io, net::SocketAddr};

use crate::{address::Address, pem::TlsError};

/// A configuration of a [`Remote`](crate::Remote) that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Plain text would leave the machine.
    #[error(
        "{address} is another machine and the connection would be plain text: write https://, or allow it with \
         --insecure"
    )]
    Plaintext {
        /// The node's address.
        address: Address,
    },
    /// The TLS files are unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why serving could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {why}; choose another address with --listen")]
    Bind {
        /// The address as given.
        address: String,
        /// The system's reason.
        why: io::Error,
    },
    /// Plain text would leave the machine.
    #[error(
        "{address} can be reached from other machines and the connection would be plain text: give --tls-cert and \
         --tls-key, or allow it with --insecure"
    )]
    Plaintext {
        /// The address to listen on.
        address: SocketAddr,
    },
    /// The TLS files are unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listener broke.
    #[error("serving stopped: {why}; start the node again")]
    Broken {
        /// The reason.
        why: String,
    },
}
