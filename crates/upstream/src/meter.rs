//! What crosses the network to a server, as HTTP writes it. TLS, and what a stream is cut into, are not seen.

use std::sync::atomic::{AtomicU64, Ordering};

use thinking::thinker::Traffic;

/// What crossed so far.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    requests: AtomicU64,
}

impl Meter {
    /// A request of so many bytes goes out.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// It did not: nothing took the connection.
    pub(crate) fn not_sent(&self, bytes: usize) {
        self.sent_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// So many bytes came.
    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// All of it.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }
}
