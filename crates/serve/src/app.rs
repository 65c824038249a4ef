//! What all requests share: the nodes, the queue, the answers in progress, and whether the server is shutting down.

use std::{
    future::Future,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use ::metrics::Reading;
use pool::{MemberReport, MemberState};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::AnswerBackend,
    gate::AccessRules,
    journals::JournalFolder,
    metrics::{self, Metrics},
    queue::{RequestLimits, RequestQueue},
};

/// What all requests share.
pub(crate) struct App {
    pub(crate) backend: AnswerBackend,
    pub(crate) queue: RequestQueue,
    pub(crate) access: AccessRules,
    pub(crate) most_body_bytes: usize,
    pub(crate) journals: Option<JournalFolder>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: AnswerTasks,
    /// Cancelled to end the answers in progress.
    pub(crate) stopping: CancellationToken,
    /// Whether a small node was there at any time.
    was_ready: AtomicBool,
    /// When it started to serve, in seconds since 1970-01-01 UTC.
    pub(crate) since: u64,
    is_draining: AtomicBool,
    ids: RequestIds,
}

impl App {
    pub(crate) fn new(
        backend: AnswerBackend,
        limits: RequestLimits,
        access: AccessRules,
        journals: Option<JournalFolder>,
        id_prefix: String,
    ) -> Self {
        let metrics = Arc::<Metrics>::default();
        App {
            backend,
            most_body_bytes: limits.most_body_bytes,
            queue: RequestQueue::new(limits, Arc::clone(&metrics)),
            access,
            journals,
            metrics,
            tasks: AnswerTasks::default(),
            stopping: CancellationToken::new(),
            was_ready: AtomicBool::new(false),
            since: unix_seconds(),
            is_draining: AtomicBool::new(false),
            ids: RequestIds { prefix: id_prefix, next: AtomicU64::new(0) },
        }
    }

    /// Returns whether new requests are refused.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Refuses new requests from now on.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Checks that a small node is serving.
    ///
    /// What is wrong with the first small node, if none is serving.
    pub(crate) fn check_ready(&self) -> Result<(), String> {
        let reports = self.backend.small.reports();
        if reports.iter().any(|report| report.state == MemberState::Serving) {
            self.was_ready.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let Some(MemberReport { name, state, .. }) = reports.into_iter().next() else {
            return Err("none is named".to_owned());
        };
        Err(match state {
            MemberState::Gone(why) | MemberState::Unfit(why) => why,
            MemberState::Draining => format!("{name} is shutting down"),
            MemberState::SetAside => format!("{name} failed several times in a row"),
            MemberState::Unknown | MemberState::Serving => {
                format!("{name} has not reported yet")
            }
        })
    }

    /// Whether a small node was there at any time.
    ///
    /// # Errors
    /// As [`App::check_ready`].
    pub(crate) fn check_was_ready(&self) -> Result<(), String> {
        if self.was_ready.load(Ordering::Relaxed) { Ok(()) } else { self.check_ready() }
    }

    /// Returns all counters and gauges as text.
    pub(crate) fn metrics_text(&self) -> String {
        let count = |count: usize| count as u64;
        let mut readings = vec![
            Reading::new(&metrics::RUNNING, &[], count(self.tasks.count())),
            Reading::new(&metrics::WAITING, &[], count(self.queue.waiting())),
            Reading::new(&metrics::DRAINING, &[], self.is_draining().into()),
        ];
        let (mut states, mut open) = (Vec::new(), Vec::new());
        let AnswerBackend { small, large, .. } = &self.backend;
        for (part, pool) in [("small", small), ("large", large)] {
            for MemberReport { name, state, sessions, .. } in pool.reports() {
                let labels = [("part", part), ("node", name.as_str())];
                let is_up = state == MemberState::Serving;
                readings.push(Reading::new(&metrics::NODE_UP, &labels, is_up.into()));
                let stateful = [&labels[..], &[("state", state.name())]].concat();
                states.push(Reading::new(&metrics::NODE_STATE, &stateful, 1));
                open.push(Reading::new(&metrics::NODE_SESSIONS, &labels, sessions.into()));
            }
        }
        readings.append(&mut states);
        readings.append(&mut open);
        let mut requests = Vec::new();
        let nodes = [("small", small), ("large", large)];
        let nodes =
            nodes.map(|(part, pool)| pool.nodes().into_iter().map(move |node| (part, node)));
        for (part, node) in nodes.into_iter().flatten() {
            let Some(traffic) = node.thinker.traffic() else { continue };
            let labels = [("part", part), ("node", node.name.as_str())];
            for (direction, bytes) in
                [("sent", traffic.sent_bytes), ("received", traffic.received_bytes)]
            {
                let labels = [&labels[..], &[("direction", direction)]].concat();
                readings.push(Reading::new(&metrics::LINK_BYTES, &labels, bytes));
            }
            if traffic.requests > 0 {
                requests.push(Reading::new(&metrics::LINK_REQUESTS, &labels, traffic.requests));
            }
        }
        readings.append(&mut requests);
        self.metrics.text(&readings)
    }

    /// Returns an id for the next request.
    pub(crate) fn next_id(&self) -> String {
        let RequestIds { prefix, next } = &self.ids;
        format!("{prefix}-{:x}", next.fetch_add(1, Ordering::Relaxed))
    }
}

struct RequestIds {
    prefix: String,
    next: AtomicU64,
}

/// The tasks of the answers in progress. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct AnswerTasks {
    set: Mutex<JoinSet<()>>,
    open: watch::Sender<usize>,
}

impl Default for AnswerTasks {
    fn default() -> Self {
        AnswerTasks { set: Mutex::default(), open: watch::Sender::new(0) }
    }
}

impl AnswerTasks {
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let open = OpenAnswer::count(&self.open);
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = set.try_join_next() {
            if let Err(why) = ended {
                tracing::error!(%why, "the task of an answer failed");
            }
        }
        set.spawn(async move {
            work.await;
            drop(open);
        });
    }

    /// Returns how many answers are in progress.
    pub(crate) fn count(&self) -> usize {
        *self.open.borrow()
    }

    /// Waits until no answer is in progress.
    pub(crate) async fn all_ended(&self) {
        let mut open = self.open.subscribe();
        // This cannot fail: the sender is ours.
        let _ = open.wait_for(|open| *open == 0).await;
    }
}

/// An answer that counts as in progress until it is dropped.
struct OpenAnswer(watch::Sender<usize>);

impl OpenAnswer {
    fn count(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        OpenAnswer(open.clone())
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// Returns the current time, in seconds since 1970-01-01 UTC.
pub(crate) fn unix_seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "clients are told when they asked")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Returns a seed for a request that gives none.
pub(crate) fn seed_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
