//! How far a node is: whether it takes sessions, and what those are told that it takes no more.

use thinking::thinker::{Code, Failure};
use tokio::sync::watch;

use crate::admission::RETRY_AFTER_MS;

/// What the server does with sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// New sessions are accepted.
    Serving,
    /// New sessions are refused, running ones go on.
    Draining,
    /// Running sessions fail.
    Stopping,
}

/// Waits until the node's time is over.
pub(crate) async fn stopping(lifecycle: &mut watch::Receiver<Lifecycle>) {
    // Fails only when the server is gone, whose end it is too.
    let _ = lifecycle.wait_for(|lifecycle| *lifecycle == Lifecycle::Stopping).await;
}

/// What a session is told that comes or goes on too late.
pub(crate) fn going_away() -> Failure {
    let message = "node is shutting down; use another one, or try again when it is back";
    Failure { retry_after_ms: Some(RETRY_AFTER_MS), ..Failure::new(Code::Unavailable, message) }
}
