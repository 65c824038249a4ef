//! TLS on a node's connections. Each new connection uses the certificates that are current when it arrives; tonic's own
//! TLS keeps those it was started with.

use std::{io, sync::Arc};

use futures_util::{Stream, StreamExt as _, stream};
use reload::Reloaded;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{connections::Connection, tls::HANDSHAKE};

/// Returns the connections that completed a TLS handshake. A handshake does not delay other connections; one that fails
/// or takes too long is dropped.
pub(crate) fn secured<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    sockets: impl Stream<Item = io::Result<Connection<IO>>> + Send + 'static,
    tls: Reloaded<rustls::ServerConfig>,
) -> impl Stream<Item = io::Result<TlsStream<Connection<IO>>>> {
    let handshakes = Handshakes { sockets: Box::pin(sockets), tls, open: JoinSet::new() };
    stream::unfold(handshakes, |mut handshakes| async move {
        let stream = handshakes.next().await?;
        Some((stream, handshakes))
    })
}

struct Handshakes<S, IO> {
    sockets: std::pin::Pin<Box<S>>,
    tls: Reloaded<rustls::ServerConfig>,
    open: JoinSet<Option<TlsStream<Connection<IO>>>>,
}

impl<IO, S> Handshakes<S, IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Stream<Item = io::Result<Connection<IO>>>,
{
    /// Waits for the next completed handshake. Returns `None` when the listener is done.
    async fn next(&mut self) -> Option<io::Result<TlsStream<Connection<IO>>>> {
        loop {
            select! {
                socket = self.sockets.next() => match socket? {
                    Ok(connection) => {
                        self.open.spawn(handshake(connection, self.tls.current()));
                    }
                    Err(why) => return Some(Err(why)),
                },
                Some(done) = self.open.join_next() => {
                    if let Ok(Some(stream)) = done {
                        return Some(Ok(stream));
                    }
                }
            }
        }
    }
}

async fn handshake<IO: AsyncRead + AsyncWrite + Unpin>(
    connection: Connection<IO>,
    tls: Arc<rustls::ServerConfig>,
) -> Option<TlsStream<Connection<IO>>> {
    match timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(connection)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(why)) => {
            tracing::debug!(%why, "no TLS");
            None
        }
        Err(_) => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}
