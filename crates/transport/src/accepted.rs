//! Connections as they are accepted: each has a number, by which clients are told apart where nothing else does.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
};

use thinking::thinker::ClientId;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::server::Connected;

/// A connection from a client.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: TcpStream,
    client: ClientId,
}

impl Accepted {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Accepted { stream, client: unlike_any() }
    }
}

/// A client that is no other one. The default one is whoever shows the node's token.
pub(crate) fn unlike_any() -> ClientId {
    static LAST: AtomicU64 = AtomicU64::new(0);
    ClientId(LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

impl Connected for Accepted {
    type ConnectInfo = ClientId;

    fn connect_info(&self) -> ClientId {
        self.client
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
