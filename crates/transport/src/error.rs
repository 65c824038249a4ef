//! What keeps a node from being reached or served before any session begins. How a session or a call
//! fails is in `status`.

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
        /// Where it would go.
        address: Address,
    },
    /// The TLS files do not work.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Serving that cannot begin, or that broke.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {why}; choose another address with --listen")]
    Bind {
        /// What was asked for.
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
        /// What was asked for.
        address: SocketAddr,
    },
    /// The TLS files do not work.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listener broke.
    #[error("serving stopped: {why}")]
    Broken {
        /// The reason.
        why: String,
    },
}
