//! Ctrl-C and its like: an orderly end first, then an end on the spot.

use std::{io, sync::Arc};

use flags::Signals;
use tokio::{runtime::Runtime, sync::Notify};

use crate::exit::{CliError, Exit};

/// Runs a command's work to its end on its own runtime. The work's [`Notify`] is notified when a signal asks it to end.
///
/// # Errors
/// When there is no runtime, or as the work.
pub fn until_enough<T>(
    work: impl AsyncFnOnce(Arc<Notify>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    until(Signals::with_hangup, work)
}

/// The same for work to which the end of a terminal is no reason to end.
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
    // In its own task: signals must be seen also while the work waits for a slow reader.
    let signals = runtime.spawn(heed(signals, Arc::clone(&enough)));
    let ended = runtime.block_on(work(enough));
    signals.abort();
    // Sessions end with the work; nothing that is left is worth waiting for.
    runtime.shutdown_background();
    ended
}

/// The first Ctrl-C, supervisor's signal or closed terminal asks for an orderly end. The second one
/// ends the program on the spot: it may be stuck in writing to a reader that does not read.
async fn heed(signals: fn() -> io::Result<Signals>, enough: Arc<Notify>) {
    let Ok(mut signals) = signals() else { return };
    signals.next().await;
    enough.notify_one();
    signals.next().await;
    std::process::exit(Exit::Cancelled as i32);
}
