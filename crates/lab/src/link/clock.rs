//! A link's time since its start, with waits that are not rounded to milliseconds.
//!
//! Tokio's timer wakes at whole milliseconds, which would double the round trip of a LAN. So a thread takes over the
//! last two milliseconds of each wait; the system ends its sleep on time. How long to wait is decided elsewhere.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant as StdInstant},
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

/// The part of a wait that is left to the thread. Tokio's timer, which handles the rest, is late by at most one
/// millisecond.
const FINE: Duration = Duration::from_millis(2);
/// How many waits may be in their last two milliseconds at a time; a further one uses tokio's timer to the end.
const MAX_ALARMS: usize = 1024;

/// The time of one link.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    start: Instant,
    alarms: Option<Arc<Alarms>>,
}

impl Clock {
    /// Starts now; waits end as promptly as the system allows.
    pub(crate) fn fine() -> io::Result<Self> {
        Ok(Clock { start: Instant::now(), alarms: Some(Arc::new(Alarms::start()?)) })
    }

    /// Starts now, in tokio's time, which a test may have paused.
    #[cfg(test)]
    pub(crate) fn tokio() -> Self {
        Clock { start: Instant::now(), alarms: None }
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) async fn until(&self, time: Duration) {
        let at = self.start + time;
        if let Some(alarms) = &self.alarms {
            if at.saturating_duration_since(Instant::now()) > FINE {
                sleep_until(at - FINE).await;
            }
            if at <= Instant::now() {
                return;
            }
            if let Some(rung) = alarms.set(at.into_std()) {
                let _ = rung.await;
            }
            // Tokio would round even a time in the past up to its next millisecond.
            if at <= Instant::now() {
                return;
            }
        }
        sleep_until(at).await;
    }
}

/// A thread that sleeps until the next alarm.
#[derive(Debug)]
struct Alarms {
    // Both exist until the drop.
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

struct Order {
    at: StdInstant,
    ring: oneshot::Sender<()>,
}

impl Alarms {
    fn start() -> io::Result<Self> {
        let (orders, taken) = sync_channel(MAX_ALARMS);
        let thread = thread::Builder::new().name("link-alarms".to_owned()).spawn(|| run(taken))?;
        Ok(Alarms { orders: Some(orders), thread: Some(thread) })
    }

    fn set(&self, at: StdInstant) -> Option<oneshot::Receiver<()>> {
        let (ring, rung) = oneshot::channel();
        self.orders.as_ref()?.try_send(Order { at, ring }).ok()?;
        Some(rung)
    }
}

impl Drop for Alarms {
    fn drop(&mut self) {
        // Without a sender the thread ends at once.
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread waits here, by the system's clock")]
fn run(orders: Receiver<Order>) {
    let mut waiting: BinaryHeap<Reverse<Order>> = BinaryHeap::new();
    loop {
        let order = match waiting.peek() {
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(Reverse(next)) => {
                orders.recv_timeout(next.at.saturating_duration_since(StdInstant::now()))
            }
        };
        match order {
            Ok(order) => waiting.push(Reverse(order)),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(Reverse(order)) = waiting.pop() {
                    let _ = order.ring.send(());
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Order {}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_wait_ends_early_and_many_go_on_at_a_time() {
        let clock = Clock::fine().unwrap();
        let waits = (0..50u64).map(|n| {
            let clock = clock.clone();
            async move {
                let time = Duration::from_micros(5_000 - n * 97);
                clock.until(time).await;
                assert!(clock.now() >= time);
            }
        });
        let mut set: tokio::task::JoinSet<()> = waits.collect();
        while let Some(waited) = set.join_next().await {
            waited.unwrap();
        }
    }

    #[tokio::test]
    async fn a_wait_into_the_past_is_over() {
        let clock = Clock::fine().unwrap();
        clock.until(Duration::ZERO).await;
    }
}
