//! What all requests share: the nodes, the queue, the answers under way, and whether the server ends.

use std::{
    future::Future,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use thinking::thinker::{Code, Failure};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::AnswerBackend,
    gate::AccessRules,
    journals::JournalFolder,
    metrics::{Metrics, Reading, labels},
    queue::RequestQueue,
};

/// How long a small node may take to say that it is there.
const PROBE_TIME: Duration = Duration::from_secs(5);
/// How long what it said is good for.
const PROBE_AGE: Duration = Duration::from_secs(1);

/// Asks whether a small node answers.
pub type NodeProbe =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>> + Send + Sync>;

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
        queue: RequestQueue,
        most_body_bytes: usize,
        access: AccessRules,
        probe: NodeProbe,
        journals: Option<JournalFolder>,
        id_prefix: String,
    ) -> Self {
        App {
            backend,
            queue,
            access,
            most_body_bytes,
            journals,
            metrics: Arc::default(),
            tasks: AnswerTasks::default(),
            stopping: CancellationToken::new(),
            readiness: Readiness {
                probe,
                was_ready: AtomicBool::new(false),
                last: AsyncMutex::default(),
            },
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

    /// What is counted, and the numbers of the moment.
    pub(crate) fn metrics_text(&self) -> String {
        let moment = |name, help, value: usize| Reading {
            name,
            help,
            kind: "gauge",
            labels: String::new(),
            value: value as u64,
        };
        let mut readings = vec![
            moment("specthink_answers_running", "Answers that are made now.", self.tasks.count()),
            moment(
                "specthink_requests_waiting",
                "Requests that wait for their turn.",
                self.queue.waiting(),
            ),
        ];
        let AnswerBackend { small, large, .. } = &self.backend;
        let parts = [("small", small), ("large", large)];
        let nodes =
            parts.into_iter().flat_map(|(part, nodes)| nodes.iter().map(move |it| (part, it)));
        for (part, node) in nodes {
            let Some(traffic) = node.thinker.traffic() else { continue };
            let crossed = [("sent", traffic.sent_bytes), ("received", traffic.received_bytes)];
            readings.extend(crossed.map(|(direction, value)| Reading {
                name: "specthink_link_bytes_total",
                help: "Bytes to and from each node, everything counted.",
                kind: "counter",
                labels: labels(&[("part", part), ("node", &node.name), ("direction", direction)]),
                value,
            }));
        }
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

/// Whether questions can be answered.
pub(crate) struct Readiness {
    probe: NodeProbe,
    was_ready: AtomicBool,
    last: AsyncMutex<Option<(Instant, Result<(), Failure>)>>,
}

impl Readiness {
    /// Whether a small node answers now, or did a moment ago.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        let mut last = self.last.lock().await;
        if let Some((at, found)) = &*last
            && at.elapsed() < PROBE_AGE
        {
            return found.clone();
        }
        let found = timeout(PROBE_TIME, (self.probe)()).await.unwrap_or_else(|_| {
            let why = format!("no small node answers within {PROBE_TIME:?}");
            Err(Failure::new(Code::Unavailable, why))
        });
        if found.is_ok() {
            self.was_ready.store(true, Ordering::Relaxed);
        }
        *last = Some((Instant::now(), found.clone()));
        found
    }

    /// Whether a small node has ever answered.
    pub(crate) async fn was_ready(&self) -> Result<(), Failure> {
        if self.was_ready.load(Ordering::Relaxed) { Ok(()) } else { self.check().await }
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
