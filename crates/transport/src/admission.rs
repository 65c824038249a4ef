//! Admission control: the bearer token and the limit on open sessions.

use std::sync::Arc;

use thinking::thinker::{Code, Failure};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Status};

use crate::{
    auth::{Shown, Token},
    connections::note_call,
    node_meter::NodeMeter,
    status,
};

/// How long a refused client should wait before it retries, in milliseconds.
pub(crate) const RETRY_AFTER_MS: u64 = 1000;

/// Limits how many sessions are open at a time. Cheap to clone; clones share one limit.
#[derive(Debug, Clone)]
pub(crate) struct SessionLimit {
    permits: Arc<Semaphore>,
    max_sessions: u32,
}

impl SessionLimit {
    pub(crate) fn new(max_sessions: u32) -> Self {
        SessionLimit { permits: Arc::new(Semaphore::new(max_sessions as usize)), max_sessions }
    }

    /// Returns the number of open sessions.
    pub(crate) fn open_sessions(&self) -> usize {
        (self.max_sessions as usize).saturating_sub(self.permits.available_permits())
    }

    /// Waits until the last session is closed. Admits no session meanwhile.
    pub(crate) async fn all_closed(&self) {
        // Fails only when the semaphore is closed, and nothing closes it.
        let _ = self.permits.acquire_many(self.max_sessions).await;
    }

    /// Admits a session, which counts as open until the permit is dropped.
    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.permits.clone().try_acquire_owned().map_err(|_| {
            let message = format!(
                "all {} places for sessions are taken; try again later, or raise --max-sessions",
                self.max_sessions
            );
            let retry_after_ms = Some(RETRY_AFTER_MS);
            Failure { retry_after_ms, ..Failure::new(Code::Overloaded, message) }
        })
    }
}

/// Lets a call through if it shows the token, or if no token is required. Counts the calls that it refuses.
pub(crate) fn gate(
    token: Option<Token>,
    meter: NodeMeter,
) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |request| {
        let shown =
            token.as_ref().map_or(Shown::Right, |token| token.is_shown_by(request.metadata()));
        let line = match shown {
            Shown::Right => {
                note_call(&request);
                return Ok(request);
            }
            Shown::None => {
                "the node requires a token: give one with --token-file, or its own with \
                 --small-token-file or --large-token-file"
            }
            Shown::Wrong => {
                "the node does not accept this token: check --token-file, or its own in \
                 --small-token-file or --large-token-file"
            }
        };
        meter.call("any", Code::Unauthenticated.into());
        Err(status::status_from_failure(Failure::new(Code::Unauthenticated, line)))
    }
}
