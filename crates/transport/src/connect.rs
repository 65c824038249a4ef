//! Opens the connection to a node, counts its bytes, and recognises what kind of server answers.
//!
//! The bytes are counted on the TCP stream, so they include HTTP/2 frames and TLS records.

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
    /// It accepted the connection and has sent nothing yet.
    Silent,
    /// It sent a SETTINGS frame or, if TLS was requested, anything.
    Http2,
    /// It answered a call on this connection.
    Node,
    Http1,
    /// It answered in TLS although plain text was requested.
    Tls,
    Other,
}

/// Traffic and peer of the connections to one node; shared by all of them, readable at any time.
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

    /// What the most recent peer looked like.
    pub(crate) fn peer(&self) -> Peer {
        Peer::from_repr(self.peer.load(Ordering::Relaxed)).unwrap_or(Peer::Other)
    }

    pub(crate) fn see(&self, peer: Peer) {
        self.peer.store(peer as u8, Ordering::Relaxed);
    }
}

/// Connects, to `via` if given. The channel reconnects by itself when the connection is lost between calls.
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
            // Messages are small and each is waited for, so none may be held back for the next.
            stream.set_nodelay(true)?;
            meter.see(Peer::Silent);
            io::Result::Ok(TokioIo::new(metered(stream, address.tls(), meter)))
        }
    });
    endpoint.connect_with_connector(connector).await
}

/// Wraps a stream to count its bytes and to recognise the peer by the first ones.
fn metered(stream: TcpStream, tls: bool, meter: Arc<Meter>) -> impl AsyncRead + AsyncWrite {
    let sent = meter.clone();
    let stream = InspectWriter::new(stream, move |bytes| {
        sent.sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    });
    let mut first = true;
    InspectReader::new(stream, move |bytes| {
        meter.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        // An empty read is the end of the stream.
        if !bytes.is_empty() && std::mem::take(&mut first) {
            meter.see(if tls { Peer::Http2 } else { recognise(bytes) });
        }
    })
}

/// Recognises a peer by its first bytes.
fn recognise(bytes: &[u8]) -> Peer {
    /// In an HTTP/2 frame header, the type follows three bytes of length; the first frame is SETTINGS.
    const SETTINGS: u8 = 4;
    const TLS_ALERT: u8 = 0x15;
    const TLS_HANDSHAKE: u8 = 0x16;
    match bytes {
        [b'H', b'T', b'T', b'P', b'/', ..] => Peer::Http1,
        [TLS_ALERT | TLS_HANDSHAKE, 3, ..] => Peer::Tls,
        [_, _, _, SETTINGS, ..] => Peer::Http2,
        // Too few bytes to tell.
        [0] | [0, _] | [0, _, _] => Peer::Http2,
        _ => Peer::Other,
    }
}

/// Returns whether a retry may help: nothing listens yet, or the connection broke at once.
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
