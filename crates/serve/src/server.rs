//! The listener: connections, TLS, and the graceful shutdown.

use std::{future::pending, io, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use reload::{Reload, Reloaded, keep_reading};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    app::App,
    backend::AnswerBackend,
    gate::AccessRules,
    journals::JournalFolder,
    queue::RequestLimits,
    routes::{ClientConnection, router},
};

/// How many connections may be open at a time; more wait to be accepted.
const MOST_CONNECTIONS: usize = 4096;
/// How long the header of a request may take, and how long a connection may be idle.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// The maximum size of a header, in bytes.
const HEADER_BYTES: usize = 64 * 1024;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After the drain: how long answers and connections may take to close. It is not time for more work.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the listener pauses when the system has no room for a connection.
const REST: Duration = Duration::from_millis(100);

/// The server.
pub struct ApiServer {
    /// What answers.
    pub backend: AnswerBackend,
    /// How much may run and wait at a time.
    pub limits: RequestLimits,
    /// Who may use the server.
    pub access: AccessRules,
    /// The TLS configuration; `None` for plain text.
    pub tls: Option<Reloaded<rustls::ServerConfig>>,
    /// How long answers may continue after the shutdown has begun.
    pub drain: Duration,
    /// Where the journals of answers are written, if anywhere.
    pub journals: Option<JournalFolder>,
    /// The prefix of request ids, different for every process.
    pub id_prefix: String,
    /// Notified to reload the TLS files and the API keys at once, if they changed. They are also checked from time to
    /// time.
    pub reload_now: Arc<Notify>,
}

impl ApiServer {
    /// Serves until the shutdown, and then until the drain is over: answers in progress may finish within that time,
    /// and new requests are refused.
    ///
    /// When the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let ApiServer { backend, limits, access, tls, drain, journals, id_prefix, .. } = self;
        let (keys, secured) = (access.keys.clone(), tls.clone());
        let app = Arc::new(App::new(backend, limits, access, journals, id_prefix));
        let mut connections = Connections {
            router: router(Arc::clone(&app)),
            tls,
            room: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            ending: CancellationToken::new(),
            open: JoinSet::new(),
        };
        let mut ending = pin!(async {
            shutdown.await;
            end(&app, drain).await;
        });
        let mut journals = pin!(async {
            match app.journals.clone() {
                Some(folder) => folder.keep_within_limits().await,
                None => pending().await,
            }
        });
        let read: Vec<&dyn Reload> = [
            keys.as_ref().map(|keys| keys as &dyn Reload),
            secured.as_ref().map(|tls| tls as &dyn Reload),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut reading = pin!(keep_reading(&read, &self.reload_now));
        loop {
            tokio::select! {
                () = &mut ending => break,
                () = &mut journals => {}
                () = &mut reading => {}
                accepted = connections.accept(&listener) => accepted?,
            }
        }
        connections.close().await;
        Ok(())
    }
}

/// Drains: refuses new requests and waits for the running answers, then ends those that remain.
async fn end(app: &App, drain: Duration) {
    app.drain();
    let answers = app.tasks.count();
    tracing::info!(answers, ?drain, "shutting down, waiting for answers");
    if timeout(drain, app.tasks.all_ended()).await.is_err() {
        tracing::warn!(answers = app.tasks.count(), "drain time is over, ending answers");
        app.stopping.cancel();
        let _ = timeout(FAREWELL, app.tasks.all_ended()).await;
    }
}

/// The connections of clients. Dropping it closes them.
struct Connections {
    router: Router,
    tls: Option<Reloaded<rustls::ServerConfig>>,
    room: Arc<Semaphore>,
    /// Cancelled to ask connections to close once they have no request in progress.
    ending: CancellationToken,
    open: JoinSet<()>,
}

impl Connections {
    /// Waits for the next connection, and serves it.
    async fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(why) => {
                // The client has gone away, or the system has no room. The listener itself is fine.
                tracing::warn!(%why, "cannot accept a connection");
                sleep(REST).await;
                return Ok(());
            }
        };
        while self.open.try_join_next().is_some() {}
        let tls = self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.current()));
        let (router, ending) = (self.router.clone(), self.ending.clone());
        self.open.spawn(connection(stream, tls, router, ending, permit));
        Ok(())
    }

    /// Asks all connections to close, and then closes them.
    async fn close(mut self) {
        self.ending.cancel();
        let all = async { while self.open.join_next().await.is_some() {} };
        let _ = timeout(FAREWELL, all).await;
    }
}

/// Serves a connection to its end.
async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    ending: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    // Chunks are small and must not wait for each other.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return talk(stream, router, ending).await };
    match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => talk(stream, router, ending).await,
        Ok(Err(why)) => tracing::debug!(%why, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

/// Speaks HTTP/1 on a connection.
async fn talk<I: AsyncRead + AsyncWrite + Unpin>(
    stream: I,
    router: Router,
    ending: CancellationToken,
) {
    let closing = CancellationToken::new();
    let service = service_fn(|request: Request<Incoming>| {
        let (router, closing) = (router.clone(), closing.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ClientConnection(closing));
            router.oneshot(request).await
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut is_ending = false;
    loop {
        tokio::select! {
            done = served.as_mut() => {
                if let Err(why) = done {
                    tracing::debug!(%why, "a connection ended");
                }
                return;
            }
            () = closing.cancelled() => return,
            () = ending.cancelled(), if !is_ending => {
                is_ending = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}
