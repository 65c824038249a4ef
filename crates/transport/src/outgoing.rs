//! A session's events as its connection takes them.
//!
//! While a client reads nothing and HTTP/2's windows are full, the connection does not poll the stream, and the session
//! in it stands still. A watch beside it ends such a session when its time has run out; what it then has to say waits
//! for the client without taking a place. The stream owns both: when the client goes away the connection drops the
//! stream, and with it the Thinker's session.

use std::{
    mem::replace,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use proto::v1 as wire;
use thinking::thinker::{Code, Failure};
use tokio::{
    select,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tonic::Status;
use tracing::{Instrument as _, Span};

use crate::{
    conversation::Conversation,
    lifecycle::{Lifecycle, going_away, stopping},
};

/// How long a client may leave an event unread while HTTP/2's windows are full. A client that reads
/// slowly reads at least one in this time.
const UNREAD: Duration = Duration::from_secs(60);
/// How often a node whose time is over looks for a session that stands still.
const LAST_LOOKS: Duration = Duration::from_millis(100);

type Next = Pin<Box<dyn Future<Output = (Option<wire::Event>, Conversation)> + Send>>;

/// The events of a session. See the module.
pub(crate) struct Outgoing {
    shared: Arc<Mutex<Shared>>,
    span: Span,
    _watch: JoinSet<()>,
}

struct Shared {
    state: State,
    /// When an event was given to the connection, until it asks for the next one.
    given_at: Option<Instant>,
}

enum State {
    /// Nobody waits for the next event.
    Still(Box<Conversation>),
    /// The connection does.
    Next(Next),
    /// The session is over; what it had to say last, if that is not given yet.
    Over(Option<wire::Event>),
}

impl Outgoing {
    /// The events of a session that begins, and the span that all of it is in.
    pub(crate) fn of(
        conversation: Conversation,
        span: Span,
        lifecycle: watch::Receiver<Lifecycle>,
    ) -> Self {
        let state = State::Still(Box::new(conversation));
        let shared = Arc::new(Mutex::new(Shared { state, given_at: None }));
        let mut watch = JoinSet::new();
        watch.spawn(end_unread(Arc::clone(&shared), lifecycle).instrument(span.clone()));
        Outgoing { shared, span, _watch: watch }
    }
}

impl Stream for Outgoing {
    type Item = Result<wire::Event, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut shared = lock(&self.shared);
        shared.given_at = None;
        let mut next = match replace(&mut shared.state, State::Over(None)) {
            State::Over(last) => return Poll::Ready(last.map(Ok)),
            State::Next(next) => next,
            State::Still(mut conversation) => {
                let next = async move { (conversation.next().await, *conversation) };
                Box::pin(next.instrument(self.span.clone()))
            }
        };
        let Poll::Ready((event, conversation)) = next.as_mut().poll(context) else {
            shared.state = State::Next(next);
            return Poll::Pending;
        };
        if !conversation.is_over() {
            shared.state = State::Still(Box::new(conversation));
            shared.given_at = event.as_ref().map(|_| Instant::now());
        }
        Poll::Ready(event.map(Ok))
    }
}

/// Ends the session when an event was given to the connection long ago and it has not asked for another, or when the
/// node's time is over.
async fn end_unread(shared: Arc<Mutex<Shared>>, mut lifecycle: watch::Receiver<Lifecycle>) {
    let mut is_stopping = false;
    loop {
        let given_at = lock(&shared).given_at;
        let until = given_at.unwrap_or_else(Instant::now) + UNREAD;
        select! {
            () = sleep_until(until) => {}
            () = stopping(&mut lifecycle), if !is_stopping => is_stopping = true,
            () = sleep(LAST_LOOKS), if is_stopping => {}
        }
        let mut shared = lock(&shared);
        let Some(given_at) = shared.given_at else { continue };
        let failure = if is_stopping {
            going_away()
        } else if given_at.elapsed() >= UNREAD {
            unread()
        } else {
            continue;
        };
        if let State::Still(conversation) = &mut shared.state {
            let last = conversation.fail(failure);
            shared.state = State::Over(Some(last));
        }
        return;
    }
}

/// Nothing that holds the lock can panic half way.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unread() -> Failure {
    Failure::new(
        Code::DeadlineExceeded,
        format!("the client read nothing for {UNREAD:?}; read the session's events as they come"),
    )
}
