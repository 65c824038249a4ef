//! Traffic to a server, in bytes of HTTP. TLS and the framing of streams are not counted.

use std::sync::atomic::{AtomicU64, Ordering};

use thinking::thinker::Traffic;

/// The traffic so far.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    requests: AtomicU64,
}

impl Meter {
    /// Counts a request of this size.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a request back that was not sent, because the connection failed.
    pub(crate) fn not_sent(&self, bytes: usize) {
        self.sent_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts received bytes.
    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns the totals.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }
}
