//! A node's connections below TLS and HTTP/2: how many there may be, and which are closed because nothing happens on
//! them. What is sent over them is in `service`.
//!
//! tonic's own listener accepts any number of connections, retries a failing `accept` at once, and waits forever for
//! the first byte of a connection. Dead peers behind a finished handshake are found by HTTP/2 pings, as on every
//! connection.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream, task::AtomicWaker};
use thinking::thinker::ClientId;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, sleep_until},
};
use tonic::{
    Request, Status,
    transport::server::{Connected, TlsConnectInfo},
};

use crate::node_meter::NodeMeter;

/// How long a connection may take to its first call, including the TLS and HTTP/2 handshakes.
const FIRST_CALL_WITHIN: Duration = Duration::from_secs(20);
/// How long a connection without a session is kept after its last call or session.
const IDLE: Duration = Duration::from_secs(300);
/// How long a client may accept none of the bytes being sent to it.
const STUCK: Duration = Duration::from_secs(60);
/// The pause after `accept` failed, mostly for lack of file descriptors. Without it, the call would be repeated at once
/// and fail again.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long until the same problem is logged again.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Accepts the connections of a listener, at most `max_connections` at a time.
///
/// When all places are taken, the connection that has waited longest for its first call gives up its place. When all
/// connections have had calls, the new one is closed.
pub(crate) fn bounded<IO>(
    sockets: impl Stream<Item = io::Result<IO>> + Unpin,
    max_connections: u32,
    meter: NodeMeter,
) -> impl Stream<Item = io::Result<Connection<IO>>> {
    let places = Arc::new(Semaphore::new(max_connections as usize));
    let (uncalled, full, failing) = (VecDeque::new(), LogLimit::default(), LogLimit::default());
    let acceptor = Acceptor { sockets, places, max_connections, meter, uncalled, full, failing };
    stream::unfold(acceptor, |mut acceptor| async move {
        let connection = acceptor.next().await?;
        Some((Ok(connection), acceptor))
    })
}

struct Acceptor<S> {
    sockets: S,
    places: Arc<Semaphore>,
    max_connections: u32,
    meter: NodeMeter,
    /// Connections that may not have had a call yet, oldest first.
    uncalled: VecDeque<Weak<Activity>>,
    full: LogLimit,
    failing: LogLimit,
}

impl<IO, S: Stream<Item = io::Result<IO>> + Unpin> Acceptor<S> {
    /// Waits for the next connection that gets a place. Returns `None` when the listener is done.
    async fn next(&mut self) -> Option<Connection<IO>> {
        loop {
            match self.sockets.next().await? {
                Ok(io) => {
                    if let Some(place) = self.place() {
                        let connection = Connection::new(io, place, self.meter.clone());
                        self.uncalled.push_back(Arc::downgrade(&connection.activity));
                        return Some(connection);
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if self.failing.may_say() {
                        tracing::warn!(
                            %error,
                            "cannot accept connections, trying again every {ACCEPT_PAUSE:?}: raise the limit of open \
                             files (ulimit -n) or lower --max-connections"
                        );
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes a place for one more connection.
    fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        // Each entry has a place or is closed. Closed ones are removed rarely, to keep this cheap.
        if self.uncalled.len() >= 2 * self.max_connections as usize {
            self.uncalled.retain(|activity| activity.strong_count() > 0);
        }
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        self.meter.turned_away();
        if self.full.may_say() {
            tracing::warn!(
                "all {} places for connections are taken; raise --max-connections if these are your clients",
                self.max_connections
            );
        }
        while let Some(oldest) = self.uncalled.pop_front() {
            if let Some(place) = oldest.upgrade().and_then(|activity| activity.give_way()) {
                return Some(place);
            }
        }
        None
    }
}

/// Returns whether an `accept` error concerns one connection only and says nothing about the next.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Limits a recurring log line to one a minute.
#[derive(Debug, Default)]
struct LogLimit {
    said_at: Option<Instant>,
}

impl LogLimit {
    fn may_say(&mut self) -> bool {
        let may = self.said_at.is_none_or(|at| at.elapsed() >= LOG_EVERY);
        if may {
            self.said_at = Some(Instant::now());
        }
        may
    }
}

/// A connection that has a place. Reading fails once nothing happens on it, and writing fails when the client accepts
/// nothing; either ends the connection.
pub(crate) struct Connection<IO> {
    io: IO,
    activity: Arc<Activity>,
    /// When to check again whether it is still wanted.
    look: Pin<Box<Sleep>>,
    /// The deadline for the pending write. `None`: no write is pending.
    stuck: Option<Pin<Box<Sleep>>>,
    meter: NodeMeter,
}

impl<IO> Connection<IO> {
    fn new(io: IO, place: OwnedSemaphorePermit, meter: NodeMeter) -> Self {
        meter.opened();
        let keep_until = Instant::now() + FIRST_CALL_WITHIN;
        let state = State { place: Some(place), has_called: false, sessions: 0, keep_until };
        let activity =
            Activity { client: unlike_any(), state: Mutex::new(state), waker: AtomicWaker::new() };
        let look = Box::pin(sleep_until(keep_until));
        Connection { io, activity: Arc::new(activity), look, stuck: None, meter }
    }

    /// Becomes ready when the connection is to be closed.
    fn poll_unwanted(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.activity.waker.register(context.waker());
        loop {
            let Some(keep_until) = self.activity.keep_until() else {
                return Poll::Ready(timed_out("it gave its place to another connection"));
            };
            ready!(self.look.as_mut().poll(context));
            if keep_until <= Instant::now() {
                return Poll::Ready(timed_out("the connection was idle"));
            }
            self.look.as_mut().reset(keep_until);
        }
    }

    /// Passes on the result of a write and counts its bytes, or fails if the write has waited for too long.
    fn unless_stuck(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            self.stuck = None;
            self.meter.sent(*written.as_ref().unwrap_or(&0));
            return Poll::Ready(written);
        }
        if let Poll::Ready(why) = self.poll_unwanted(context) {
            return Poll::Ready(Err(why));
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(STUCK)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(timed_out("the client accepts none of the bytes sent to it")))
    }
}

fn timed_out(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

impl<IO> Drop for Connection<IO> {
    fn drop(&mut self) {
        // Calls may hold the activity for longer than the connection lasts.
        self.activity.state().place = None;
        self.meter.closed();
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(why) = this.poll_unwanted(context) {
            return Poll::Ready(Err(why));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.io).poll_read(context, buffer);
        this.meter.received(buffer.filled().len() - before);
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(context, bytes);
        this.unless_stuck(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(context, bytes);
        this.unless_stuck(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

impl<IO> Connected for Connection<IO> {
    type ConnectInfo = Arc<Activity>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.activity)
    }
}

/// The state of one connection. Its calls find it in their extensions.
#[derive(Debug)]
pub(crate) struct Activity {
    /// The client that its calls belong to if only connections distinguish clients.
    client: ClientId,
    state: Mutex<State>,
    /// Wakes the connection's task.
    waker: AtomicWaker,
}

#[derive(Debug)]
struct State {
    /// `None`: another connection took it.
    place: Option<OwnedSemaphorePermit>,
    has_called: bool,
    sessions: usize,
    /// Until when it is kept while it has no session.
    keep_until: Instant,
}

impl Activity {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up the place if there was no call yet, which ends the connection.
    fn give_way(&self) -> Option<OwnedSemaphorePermit> {
        let mut state = self.state();
        let place = if state.has_called { None } else { state.place.take() };
        if place.is_some() {
            self.waker.wake();
        }
        place
    }

    /// Returns until when it is kept at least. `None`: it is closed now.
    fn keep_until(&self) -> Option<Instant> {
        let state = self.state();
        state.place.as_ref()?;
        Some(if state.sessions > 0 { Instant::now() + IDLE } else { state.keep_until })
    }

    /// Records a call.
    fn note_call(&self) {
        let mut state = self.state();
        state.has_called = true;
        state.keep_until = Instant::now() + IDLE;
    }
}

/// Returns a client ID that no other connection has. The default ID belongs to clients that show the node's token.
fn unlike_any() -> ClientId {
    static LAST: AtomicU64 = AtomicU64::new(0);
    ClientId(LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

/// The activity of a call's connection, with or without TLS.
fn activity_of<T>(request: &Request<T>) -> Option<&Arc<Activity>> {
    let secured = request.extensions().get::<TlsConnectInfo<Arc<Activity>>>();
    secured.map(TlsConnectInfo::get_ref).or_else(|| request.extensions().get())
}

/// Returns the client that a call belongs to, judged by its connection alone.
pub(crate) fn client_of<T>(request: &Request<T>) -> ClientId {
    activity_of(request).map_or_else(unlike_any, |activity| activity.client)
}

/// Records a call that may keep its connection open.
pub(crate) fn note_call<T>(request: &Request<T>) {
    if let Some(activity) = activity_of(request) {
        activity.note_call();
    }
}

/// The same as a tonic interceptor.
pub(crate) fn noting_call(request: Request<()>) -> Result<Request<()>, Status> {
    note_call(&request);
    Ok(request)
}

/// A session on a connection: keeps the connection open as long as this lives.
#[derive(Debug)]
pub(crate) struct KeptConnection(Option<Arc<Activity>>);

impl KeptConnection {
    /// Keeps a call's connection open.
    pub(crate) fn of<T>(request: &Request<T>) -> KeptConnection {
        let activity = activity_of(request).cloned();
        if let Some(activity) = &activity {
            activity.state().sessions += 1;
        }
        KeptConnection(activity)
    }
}

impl Drop for KeptConnection {
    fn drop(&mut self) {
        if let Some(activity) = &self.0 {
            activity.state().sessions -= 1;
            activity.note_call();
        }
    }
}
