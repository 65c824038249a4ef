//! Who is let in: whoever shows the token, and as many sessions as there are places.

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

/// When a refused client may try again, in milliseconds.
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

    /// The number of open sessions.
    pub(crate) fn open_sessions(&self) -> usize {
        (self.max_sessions as usize).saturating_sub(self.permits.available_permits())
    }

    /// Waits until the last session is over. Meanwhile no session is admitted.
    pub(crate) async fn all_closed(&self) {
        // Fails only when the semaphore is closed, which nobody does.
        let _ = self.permits.acquire_many(self.max_sessions).await;
    }

    /// Admits a session, which stays open until the permit is dropped.
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

/// Lets calls through that show the token; all of them when there is no token. Counts those that do not.
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
                "the node asks for a token: give one with --token-file, or its own with \
                 --small-token-file or --large-token-file"
            }
            Shown::Wrong => {
                "the node does not take this token: check --token-file, or its own in \
                 --small-token-file or --large-token-file"
            }
        };
        meter.call("any", Code::Unauthenticated.into());
        Err(status::status_from_failure(Failure::new(Code::Unauthenticated, line)))
    }
}
