//! Ctrl-C and its like: an orderly end first, then an end on the spot.

use std::sync::Arc;

use tokio::{signal, sync::Notify};

use super::exit::Exit;

/// The first Ctrl-C, supervisor's signal or closed terminal asks for an orderly end. The second one
/// ends the program on the spot: it may be stuck in writing to a reader that does not read.
#[cfg(unix)]
pub(super) async fn heed_signals(enough: Arc<Notify>) {
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
pub(super) async fn heed_signals(enough: Arc<Notify>) {
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
