//! The pool, its members and the tasks that watch them. See the crate documentation.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use answer::{
    Node,
    question::{Candidates, SessionLedger, Standing, Standings},
};
use futures_util::future::BoxFuture;
use roster::{MemberId, MemberState, MemberTerms, Roster};
use thinking::thinker::{Condition, Failure, Load, ModelCard};
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// The least time to wait for nodes that have not reported anything yet.
const LEAST_WAIT: Duration = Duration::from_millis(50);

/// The nodes that can play one part. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    began: Instant,
    members: Mutex<Members>,
    /// What answers in progress receive.
    standings: watch::Sender<Standings>,
}

struct Members {
    roster: Roster,
    nodes: BTreeMap<MemberId, PooledNode>,
    /// Whether nodes are being watched.
    is_watching: bool,
    /// A task that runs next to the pool while it is watched.
    beside: Option<Task>,
}

struct PooledNode {
    node: Node,
    watch: Task,
}

/// A future that runs from when it is started until it is dropped.
struct Task {
    waits: Option<BoxFuture<'static, ()>>,
    runs: JoinSet<()>,
}

/// A node, and what watches it.
pub struct Watched {
    /// The node. Its name must be unique in the pool.
    pub node: Node,
    /// What decides between nodes that are equally fast.
    pub terms: MemberTerms,
    /// Reports the node's condition for as long as it runs.
    pub watch: Box<dyn FnOnce(Teller) -> BoxFuture<'static, ()> + Send>,
}

/// Reports a node's condition to its pool.
#[derive(Clone)]
pub struct Teller {
    pool: Weak<Shared>,
    id: MemberId,
}

/// A reference to a pool that does not keep it alive.
pub struct WeakPool(Weak<Shared>);

impl WeakPool {
    /// Returns the pool, if it still exists.
    pub fn upgrade(&self) -> Option<Pool> {
        self.0.upgrade().map(Pool)
    }
}

/// When to ask a second node for a takeover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hedging {
    /// When its first text takes longer than 19 in 20 first texts did.
    WhenLate,
    /// When there is no first text after this time.
    After(Duration),
}

/// The state of a node.
#[derive(Debug, Clone)]
pub struct MemberReport {
    /// Its name for people.
    pub name: String,
    /// Its state.
    pub state: MemberState,
    /// Whether it takes sessions.
    pub takes_sessions: bool,
    /// How many sessions answers of this pool have with it.
    pub sessions: u32,
    /// How busy it reported to be.
    pub load: Option<Load>,
}

impl Pool {
    /// A pool without nodes, whose draws are seeded with this.
    pub fn new(seed: u64) -> Self {
        let members = Members {
            roster: Roster::new(seed),
            nodes: BTreeMap::new(),
            is_watching: false,
            beside: None,
        };
        Pool(Arc::new(Shared {
            began: Instant::now(),
            members: Mutex::new(members),
            standings: watch::Sender::new(Standings::default()),
        }))
    }

    /// A pool of nodes that are assumed to serve and are not watched.
    pub fn unwatched(nodes: impl IntoIterator<Item = Node>) -> Self {
        let pool = Pool::new(0);
        for node in nodes {
            let serving = |teller: Teller| {
                teller.tell(Condition::Serving(Box::default()));
                Box::pin(std::future::pending()) as BoxFuture<'static, ()>
            };
            pool.join(Watched { node, terms: MemberTerms::default(), watch: Box::new(serving) });
        }
        pool
    }

    /// Adds a node, replacing one of the same name.
    pub fn join(&self, watched: Watched) {
        let Watched { mut node, terms, watch } = watched;
        self.leave(&node.name);
        let now = self.0.now();
        let id = self.0.members().roster.join(node.name.as_str(), terms, now);
        let teller = Teller { pool: Arc::downgrade(&self.0), id };
        node.sessions = Some(Arc::new(teller.clone()));
        let mut pooled = PooledNode { node, watch: Task::new(watch(teller)) };
        let mut members = self.0.members();
        if members.is_watching {
            pooled.watch.begin();
        }
        members.nodes.insert(id, pooled);
        self.0.publish(&members);
    }

    /// Removes a node. Answers that have a session with it keep it.
    pub fn leave(&self, name: &str) {
        let mut members = self.0.members();
        let named = members.roster.ids().find(|id| members.roster.name(*id) == name);
        if let Some(id) = named {
            members.roster.leave(id);
            members.nodes.remove(&id);
            self.0.publish(&members);
        }
    }

    /// Starts watching the nodes. Must be called in a tokio runtime.
    pub fn watch(&self) {
        let mut members = self.0.members();
        members.is_watching = true;
        let Members { nodes, beside, .. } = &mut *members;
        nodes.values_mut().map(|it| &mut it.watch).chain(beside).for_each(Task::begin);
    }

    /// Runs a task next to the pool while its nodes are watched. The task may add and remove nodes.
    pub fn run_beside(&self, task: impl FnOnce(WeakPool) -> BoxFuture<'static, ()>) {
        let task = task(WeakPool(Arc::downgrade(&self.0)));
        self.0.members().beside = Some(Task::new(task));
    }

    /// Returns whether such a task exists.
    pub fn is_renewed(&self) -> bool {
        self.0.members().beside.is_some()
    }

    /// Waits until something is known of every node, but at most for this time. Once one node serves, the others get at
    /// most about as long again as that one took.
    pub async fn settled(&self, at_most: Duration) {
        let mut standings = self.0.standings.subscribe();
        let (began, mut until) = (Instant::now(), Instant::now() + at_most);
        loop {
            let (now, reports) = (self.0.now(), self.reports());
            if self.0.members().roster.has_heard_all(now) {
                return;
            }
            if reports.iter().any(|report| report.state == MemberState::Serving) {
                until = until.min(began + (2 * began.elapsed()).max(LEAST_WAIT));
            }
            let changed = timeout_at(until, standings.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Returns the candidates for an answer, best first. Nodes whose models do not fit are left out if others fit.
    pub fn candidates(&self, fits: impl Fn(&ModelCard) -> bool) -> Candidates {
        let now = self.0.now();
        let mut members = self.0.members();
        let chosen = members.roster.choose(fits, now);
        let nodes = chosen.iter().filter_map(|id| members.nodes.get(id)).map(|it| it.node.clone());
        Candidates { nodes: nodes.collect(), standings: Some(self.0.standings.subscribe()) }
    }

    /// Returns after how long a takeover without text is asked of a second node; `None` (never) while the usual time is
    /// not known.
    pub fn hedge_after(&self, hedging: Hedging) -> Option<Duration> {
        match hedging {
            Hedging::After(time) => Some(time),
            Hedging::WhenLate => self.0.members().roster.late_after(),
        }
    }

    /// Returns the nodes, in the order in which they were added.
    pub fn nodes(&self) -> Vec<Node> {
        self.0.members().nodes.values().map(|it| it.node.clone()).collect()
    }

    /// Returns the state of each node, in the order in which they were added.
    pub fn reports(&self) -> Vec<MemberReport> {
        let now = self.0.now();
        let Members { roster, .. } = &*self.0.members();
        let report = |id| MemberReport {
            name: roster.name(id).to_owned(),
            state: roster.state(id, now),
            takes_sessions: roster.takes_sessions(id, now),
            sessions: roster.sessions(id),
            load: roster.load(id),
        };
        roster.ids().map(report).collect()
    }

    /// Returns why a node does not fit the others, if one serves another model.
    pub fn misfit(&self) -> Option<String> {
        self.0.members().roster.misfit().map(str::to_owned)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pool").field(&self.nodes()).finish()
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells answers in progress which nodes there are and whether each takes sessions.
    fn publish(&self, members: &Members) {
        let now = self.now();
        let standing = |(id, pooled): (&MemberId, &PooledNode)| Standing {
            node: pooled.node.clone(),
            takes_sessions: members.roster.takes_sessions(*id, now),
        };
        self.standings.send_modify(|standings| {
            *standings = members.nodes.iter().map(standing).collect();
        });
    }

    fn change(&self, id: MemberId, change: impl FnOnce(&mut Roster, Duration)) {
        let now = self.now();
        let mut members = self.members();
        let seen = |roster: &Roster| (roster.state(id, now), roster.takes_sessions(id, now));
        let before = seen(&members.roster);
        change(&mut members.roster, now);
        let after = seen(&members.roster);
        if before == after {
            return;
        }
        let name = members.roster.name(id);
        match &after.0 {
            MemberState::Gone(why) => tracing::warn!(node = name, why, "node gone"),
            MemberState::Unfit(why) => tracing::warn!(node = name, why, "node unfit"),
            state => tracing::info!(node = name, state = state.name(), "node"),
        }
        self.publish(&members);
    }
}

impl Task {
    fn new(task: BoxFuture<'static, ()>) -> Self {
        Task { waits: Some(task), runs: JoinSet::new() }
    }

    fn begin(&mut self) {
        if let (Ok(runtime), Some(task)) = (Handle::try_current(), self.waits.take()) {
            self.runs.spawn_on(task, &runtime);
        }
    }
}

impl Teller {
    /// Reports the node's condition.
    pub fn tell(&self, condition: Condition) {
        self.change(|roster, id, now| roster.heard(id, condition, now));
    }

    fn change(&self, change: impl FnOnce(&mut Roster, MemberId, Duration)) {
        if let Some(pool) = self.pool.upgrade() {
            pool.change(self.id, |roster, now| change(roster, self.id, now));
        }
    }
}

impl SessionLedger for Teller {
    fn begun(&self) {
        self.change(|roster, id, now| roster.begun(id, now));
    }

    fn wrote(&self, after: Duration) {
        self.change(|roster, id, _| roster.wrote(id, after));
    }

    fn ended(&self, failure: Option<&Failure>) {
        self.change(|roster, id, now| roster.ended(id, failure, now));
    }
}
