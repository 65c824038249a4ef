//! Ctrl-C and other signals: the first asks for an orderly end, the second ends the program at once.

use std::{io, sync::Arc};

use flags::Signals;
use tokio::{runtime::Runtime, sync::Notify};

use crate::exit::{CliError, Exit};

/// Runs a command's work to its end on a runtime of its own. The work's [`Notify`] is notified when a signal asks it to
/// end.
///
/// When the runtime cannot be started, or what the work returns.
pub fn until_enough<T>(
    work: impl AsyncFnOnce(Arc<Notify>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    until(Signals::with_hangup, work)
}

/// As [`until_enough`], for work that a closed terminal (SIGHUP) does not end.
///
/// # Errors
/// As [`until_enough`].
pub fn until_stopped<T>(
    work: impl AsyncFnOnce(Arc<Notify>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    until(Signals::new, work)
}

fn until<T>(
    signals: fn() -> io::Result<Signals>,
    work: impl AsyncFnOnce(Arc<Notify>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let runtime = Runtime::new()
        .map_err(|why| CliError::new(Exit::Internal, format!("cannot start the runtime: {why}")))?;
    let enough = Arc::new(Notify::new());
    // In its own task, so that signals are handled even while the work waits for a slow reader.
    let signals = runtime.spawn(heed(signals, Arc::clone(&enough)));
    let ended = runtime.block_on(work(enough));
    signals.abort();
    // Sessions end with the work; nothing that remains is worth waiting for.
    runtime.shutdown_background();
    ended
}

/// Notifies `enough` at the first Ctrl-C, supervisor's signal or closed terminal. The second one ends the program at
/// once: it may be stuck writing to a reader that does not read.
async fn heed(signals: fn() -> io::Result<Signals>, enough: Arc<Notify>) {
    let Ok(mut signals) = signals() else { return };
    signals.next().await;
    enough.notify_one();
    signals.next().await;
    std::process::exit(Exit::Cancelled as i32);
}
