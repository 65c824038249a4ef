//! Opening the connection to a node, counting what goes over it, and noticing what answers.
//!
//! The bytes are counted on the TCP stream itself, so HTTP/2's frames and TLS's records are in.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use hyper_util::rt::TokioIo;
use strum::FromRepr;
use thinking::thinker::Traffic;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_util::io::{InspectReader, InspectWriter};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::{address::Address, race::connect_tcp};

/// What the first bytes of an answer looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRepr)]
#[repr(u8)]
pub(crate) enum Peer {
    /// There is no connection yet.
    Unreached,
    /// It took the connection and said nothing yet.
    Silent,
    /// A SETTINGS frame; or, where TLS was asked for, anything.
    Http2,
    /// A call was answered over this connection.
    Node,
    Http1,
    /// TLS where plain text was asked for.
    Tls,
    Other,
}

/// What is known of the connections to one node; shared by all of them, readable at any time.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    peer: AtomicU8,
}

impl Meter {
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            requests: 0,
        }
    }

    /// What the node last connected to looked like.
    pub(crate) fn peer(&self) -> Peer {
        Peer::from_repr(self.peer.load(Ordering::Relaxed)).unwrap_or(Peer::Other)
    }

    pub(crate) fn see(&self, peer: Peer) {
        self.peer.store(peer as u8, Ordering::Relaxed);
    }
}

/// Connects, to `via` where that is given. The channel connects again by itself when the connection is
/// lost between calls.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    address: &Address,
    via: Option<SocketAddr>,
    meter: &Arc<Meter>,
) -> Result<Channel, tonic::transport::Error> {
    let (address, meter) = (address.clone(), meter.clone());
    let connector = tower::service_fn(move |_: Uri| {
        let (address, meter) = (address.clone(), meter.clone());
        async move {
            meter.see(Peer::Unreached);
            let stream = match via {
                Some(via) => TcpStream::connect(via).await?,
                None => connect_tcp((address.host(), address.port())).await?,
            };
            // Messages are small and each is waited for: none may be held back for the next.
            stream.set_nodelay(true)?;
            meter.see(Peer::Silent);
            io::Result::Ok(TokioIo::new(metered(stream, address.tls(), meter)))
        }
    });
    endpoint.connect_with_connector(connector).await
}

/// A stream whose bytes are counted, and whose first ones tell what answers.
fn metered(stream: TcpStream, tls: bool, meter: Arc<Meter>) -> impl AsyncRead + AsyncWrite {
    let sent = meter.clone();
    let stream = InspectWriter::new(stream, move |bytes| {
        sent.sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    });
    let mut first = true;
    InspectReader::new(stream, move |bytes| {
        meter.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        // Nothing is read at the end of the stream.
        if !bytes.is_empty() && std::mem::take(&mut first) {
            meter.see(if tls { Peer::Http2 } else { recognise(bytes) });
        }
    })
}

/// What answers, by its first bytes.
fn recognise(bytes: &[u8]) -> Peer {
    /// Of the frame's head: three bytes of length, then the type; the first frame is SETTINGS.
    const SETTINGS: u8 = 4;
    const TLS_ALERT: u8 = 0x15;
    const TLS_HANDSHAKE: u8 = 0x16;
    match bytes {
        [b'H', b'T', b'T', b'P', b'/', ..] => Peer::Http1,
        [TLS_ALERT | TLS_HANDSHAKE, 3, ..] => Peer::Tls,
        [_, _, _, SETTINGS, ..] => Peer::Http2,
        // Too few to tell.
        [0] | [0, _] | [0, _, _] => Peer::Http2,
        _ => Peer::Other,
    }
}

/// Whether trying again may help: nobody listens yet, or the connection broke at once.
pub(crate) fn is_passing(error: &tonic::transport::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    let mut error: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(this) = error {
        if let Some(io) = this.downcast_ref::<io::Error>() {
            return matches!(io.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset);
        }
        error = this.source();
    }
    false
}
