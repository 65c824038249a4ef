//! Whether the nodes answer: asked by small requests, each node seldom and for a bounded time.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use thinking::thinker::{Code, Failure};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, timeout},
};

/// How long a node may take to say that it is there.
const PROBE_TIME: Duration = Duration::from_secs(5);
/// How long what it said is good for. However many ask, a node is not asked more often.
const PROBE_AGE: Duration = Duration::from_secs(5);

/// Asks whether a node answers, by a request that costs nothing.
pub type NodeProbe =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>> + Send + Sync>;

/// What asks each node, in the order of the nodes.
#[derive(Default)]
pub struct NodeProbes {
    /// The small nodes.
    pub small: Vec<NodeProbe>,
    /// The large nodes.
    pub large: Vec<NodeProbe>,
}

/// Whether questions can be answered.
pub(crate) struct Readiness {
    small: Vec<ProbedNode>,
    large: Vec<ProbedNode>,
    was_ready: AtomicBool,
}

/// A node, and what it said last.
struct ProbedNode {
    probe: NodeProbe,
    /// Locked while it is asked, so that a crowd asks once.
    last: AsyncMutex<Option<(Instant, Result<(), Failure>)>>,
}

impl Readiness {
    pub(crate) fn new(probes: NodeProbes) -> Readiness {
        let probed = |probes: Vec<NodeProbe>| {
            probes
                .into_iter()
                .map(|probe| ProbedNode { probe, last: AsyncMutex::default() })
                .collect()
        };
        let NodeProbes { small, large } = probes;
        let (small, large) = (probed(small), probed(large));
        Readiness { small, large, was_ready: AtomicBool::new(false) }
    }

    /// Whether a small node answers now, or did a moment ago.
    ///
    /// # Errors
    /// What one of them said, when none does.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        let mut asked: FuturesUnordered<_> = self.small.iter().map(ProbedNode::ask).collect();
        let mut first = None;
        while let Some(said) = asked.next().await {
            match said {
                Ok(()) => {
                    self.was_ready.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Err(failure) => first = first.or(Some(failure)),
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Whether a small node has ever answered.
    ///
    /// # Errors
    /// As [`Readiness::check`].
    pub(crate) async fn was_ready(&self) -> Result<(), Failure> {
        if self.was_ready.load(Ordering::Relaxed) { Ok(()) } else { self.check().await }
    }

    /// Whether each small and each large node answers now, or did a moment ago.
    pub(crate) async fn states(&self) -> (Vec<bool>, Vec<bool>) {
        tokio::join!(states_of(&self.small), states_of(&self.large))
    }
}

async fn states_of(nodes: &[ProbedNode]) -> Vec<bool> {
    let said = join_all(nodes.iter().map(ProbedNode::ask)).await;
    said.iter().map(Result::is_ok).collect()
}

impl ProbedNode {
    /// Whether it answers now, or did a moment ago.
    async fn ask(&self) -> Result<(), Failure> {
        let mut last = self.last.lock().await;
        if let Some((at, said)) = &*last
            && at.elapsed() < PROBE_AGE
        {
            return said.clone();
        }
        let said = timeout(PROBE_TIME, (self.probe)()).await.unwrap_or_else(|_| {
            let why = format!("it does not answer within {PROBE_TIME:?}");
            Err(Failure::new(Code::Unavailable, why))
        });
        *last = Some((Instant::now(), said.clone()));
        said
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU32};

    use super::*;

    /// A probe that counts its calls, and what it says by them.
    fn probe(
        says: impl Fn(u32) -> Option<Result<(), Failure>> + Send + Sync + 'static,
    ) -> (Arc<AtomicU32>, NodeProbe) {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let probe: NodeProbe = Box::new(move || {
            let said = says(counted.fetch_add(1, Ordering::Relaxed));
            Box::pin(async move {
                match said {
                    Some(said) => said,
                    None => std::future::pending().await,
                }
            })
        });
        (calls, probe)
    }

    fn gone() -> Result<(), Failure> {
        Err(Failure::new(Code::Unavailable, "gone"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_asked_seldom_and_its_end_is_noticed() {
        let (calls, first) = probe(|call| Some(if call == 0 { Ok(()) } else { gone() }));
        let readiness = Readiness::new(NodeProbes { small: vec![first], large: Vec::new() });
        let crowd = join_all((0..100).map(|_| readiness.check()).collect::<Vec<_>>()).await;
        assert!(crowd.iter().all(Result::is_ok));
        assert_eq!(calls.load(Ordering::Relaxed), 1, "a crowd asks once");
        tokio::time::advance(PROBE_AGE).await;
        assert!(readiness.check().await.is_err(), "it is gone");
        assert!(readiness.was_ready().await.is_ok());
        assert_eq!(readiness.states().await, (vec![false], vec![]));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_holds_up_neither_its_stand_in_nor_for_ever() {
        let (_, silent) = probe(|_| None);
        let (_, well) = probe(|_| Some(Ok(())));
        let (_, large) = probe(|_| None);
        let probes = NodeProbes { small: vec![silent, well], large: vec![large] };
        let readiness = Readiness::new(probes);
        let begin = Instant::now();
        assert!(readiness.check().await.is_ok());
        assert_eq!(begin.elapsed(), Duration::ZERO, "the other one is there");
        assert_eq!(readiness.states().await, (vec![false, true], vec![false]));
        assert_eq!(begin.elapsed(), PROBE_TIME);
    }
}
