//! What all requests share: the nodes, the queue, the answers under way, and whether the server ends.

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
use answer::Node;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::AnswerBackend,
    gate::AccessRules,
    journals::JournalFolder,
    metrics::{self, Metrics},
    queue::{RequestLimits, RequestQueue},
    readiness::{NodeProbes, Readiness},
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
    /// Ends the answers that are under way.
    pub(crate) stopping: CancellationToken,
    pub(crate) readiness: Readiness,
    /// Since when it serves, in seconds since 1970-01-01 UTC.
    pub(crate) since: u64,
    is_draining: AtomicBool,
    ids: RequestIds,
}

impl App {
    pub(crate) fn new(
        backend: AnswerBackend,
        limits: RequestLimits,
        access: AccessRules,
        probes: NodeProbes,
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
            readiness: Readiness::new(probes),
            since: unix_seconds(),
            is_draining: AtomicBool::new(false),
            ids: RequestIds { prefix: id_prefix, next: AtomicU64::new(0) },
        }
    }

    /// Whether new requests are refused.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Refuses new requests from now on.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// What is counted, and the numbers of the moment. Asks the nodes whether they are there.
    pub(crate) async fn metrics_text(&self) -> String {
        let count = |count: usize| count as u64;
        let mut readings = vec![
            Reading::new(&metrics::RUNNING, &[], count(self.tasks.count())),
            Reading::new(&metrics::WAITING, &[], count(self.queue.waiting())),
            Reading::new(&metrics::DRAINING, &[], self.is_draining().into()),
        ];
        let (small_up, large_up) = self.readiness.states().await;
        let AnswerBackend { small, large, .. } = &self.backend;
        let of = |part, nodes: &'_ [Node]| {
            nodes.iter().map(move |node| (part, node.clone())).collect::<Vec<_>>()
        };
        let nodes = [of("small", small), of("large", large)].concat();
        for ((part, node), is_up) in nodes.iter().zip(small_up.into_iter().chain(large_up)) {
            let labels = [("part", *part), ("node", node.name.as_str())];
            readings.push(Reading::new(&metrics::NODE_UP, &labels, is_up.into()));
        }
        let mut requests = Vec::new();
        for (part, node) in &nodes {
            let Some(traffic) = node.thinker.traffic() else { continue };
            let labels = [("part", *part), ("node", node.name.as_str())];
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

    /// A name for the next request.
    pub(crate) fn next_id(&self) -> String {
        let RequestIds { prefix, next } = &self.ids;
        format!("{prefix}-{:x}", next.fetch_add(1, Ordering::Relaxed))
    }
}

struct RequestIds {
    prefix: String,
    next: AtomicU64,
}

/// The answers under way; they end with this.
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
                tracing::error!(%why, "the task of an answer broke off");
            }
        }
        set.spawn(async move {
            work.await;
            drop(open);
        });
    }

    /// How many are under way.
    pub(crate) fn count(&self) -> usize {
        *self.open.borrow()
    }

    /// Waits until none is under way.
    pub(crate) async fn all_ended(&self) {
        let mut open = self.open.subscribe();
        // It fails when the sender is gone, which is ours.
        let _ = open.wait_for(|open| *open == 0).await;
    }
}

/// An answer that counts as under way until it is dropped.
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

/// Now, in seconds since 1970-01-01 UTC.
pub(crate) fn unix_seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "clients are told when they asked")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// A seed for a request that gives none.
pub(crate) fn seed_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
