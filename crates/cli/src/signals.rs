//! Ctrl-C and its like: an orderly end first, then an end on the spot.

use std::sync::Arc;

use tokio::{runtime::Runtime, signal, sync::Notify};

use crate::exit::{Exit, Stop};

/// Runs a command's work to its end on a runtime of its own; it is told when a signal asks it to end.
///
/// # Errors
/// When there is no runtime, or as the work.
pub fn until_enough<T>(work: impl AsyncFnOnce(Arc<Notify>) -> Result<T, Stop>) -> Result<T, Stop> {
    let runtime = Runtime::new()
        .map_err(|why| Stop::new(Exit::Internal, format!("cannot start the runtime: {why}")))?;
    let enough = Arc::new(Notify::new());
    // Beside the work: it must hear of a signal also while the work waits for a slow reader.
    let signals = runtime.spawn(heed_signals(Arc::clone(&enough)));
    let ended = runtime.block_on(work(enough));
    signals.abort();
    // Sessions end with the work; nothing that is left is worth waiting for.
    runtime.shutdown_background();
    ended
}

/// The first Ctrl-C, supervisor's signal or closed terminal asks for an orderly end. The second one
/// ends the program on the spot: it may be stuck in writing to a reader that does not read.
#[cfg(unix)]
async fn heed_signals(enough: Arc<Notify>) {
    use signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        return;
    };
    for first in [true, false] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        heed(first, &enough);
    }
}

/// The first Ctrl-C asks for an orderly end, the second one ends the program on the spot.
#[cfg(not(unix))]
async fn heed_signals(enough: Arc<Notify>) {
    for first in [true, false] {
        if signal::ctrl_c().await.is_err() {
            return;
        }
        heed(first, &enough);
    }
}

fn heed(first: bool, enough: &Notify) {
    if !first {
        std::process::exit(Exit::Cancelled as i32);
    }
    enough.notify_one();
}
