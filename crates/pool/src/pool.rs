//! See the crate.

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

/// For so long all nodes are waited for that say nothing of themselves.
const LEAST_WAIT: Duration = Duration::from_millis(50);

/// Nodes that can play one part. Cheap to clone; clones are one pool.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    began: Instant,
    members: Mutex<Members>,
    /// What answers on their way see.
    standings: watch::Sender<Standings>,
}

struct Members {
    roster: Roster,
    nodes: BTreeMap<MemberId, PooledNode>,
    /// Whether nodes are watched from now on.
    is_watching: bool,
    /// Runs beside the pool while it is watched.
    beside: Option<Task>,
}

struct PooledNode {
    node: Node,
    watch: Task,
}

/// Something that runs from when it is begun until it is dropped.
struct Task {
    waits: Option<BoxFuture<'static, ()>>,
    runs: JoinSet<()>,
}

/// A node, and what watches it.
pub struct Watched {
    /// The node. Its name tells it from the pool's others.
    pub node: Node,
    /// What decides between nodes that are equally quick.
    pub terms: MemberTerms,
    /// Tells what becomes of the node for as long as it runs.
    pub watch: Box<dyn FnOnce(Teller) -> BoxFuture<'static, ()> + Send>,
}

/// Tells a pool what becomes of a node.
#[derive(Clone)]
pub struct Teller {
    pool: Weak<Shared>,
    id: MemberId,
}

/// A pool that does not live on for this.
pub struct WeakPool(Weak<Shared>);

impl WeakPool {
    /// The pool, while anybody has it.
    pub fn upgrade(&self) -> Option<Pool> {
        self.0.upgrade().map(Pool)
    }
}

/// When a takeover is asked of a second node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hedging {
    /// When its first text takes longer than that of nineteen in twenty.
    WhenLate,
    /// When it has none after this time.
    After(Duration),
}

/// How it is with a node.
#[derive(Debug, Clone)]
pub struct MemberReport {
    /// What people call it.
    pub name: String,
    /// How it is with it.
    pub state: MemberState,
    /// Whether it takes sessions.
    pub takes_sessions: bool,
    /// Sessions that answers of this pool have with it.
    pub sessions: u32,
    /// How busy it said that it is.
    pub load: Option<Load>,
}

impl Pool {
    /// A pool without nodes, whose draws follow from the seed.
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

    /// A pool of nodes that are thought to be there, and that nobody watches.
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

    /// Adds a node; one by the name of another takes its place.
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

    /// Takes a node out. Answers that have a session with it keep it.
    pub fn leave(&self, name: &str) {
        let mut members = self.0.members();
        let named = members.roster.ids().find(|id| members.roster.name(*id) == name);
        if let Some(id) = named {
            members.roster.leave(id);
            members.nodes.remove(&id);
            self.0.publish(&members);
        }
    }

    /// Has the nodes watched from now on. Must be called in a tokio runtime.
    pub fn watch(&self) {
        let mut members = self.0.members();
        members.is_watching = true;
        let Members { nodes, beside, .. } = &mut *members;
        nodes.values_mut().map(|it| &mut it.watch).chain(beside).for_each(Task::begin);
    }

    /// Runs this beside the pool while its nodes are watched: it may add nodes and take them out.
    pub fn run_beside(&self, task: impl FnOnce(WeakPool) -> BoxFuture<'static, ()>) {
        let task = task(WeakPool(Arc::downgrade(&self.0)));
        self.0.members().beside = Some(Task::new(task));
    }

    /// Whether something adds nodes and takes them out.
    pub fn is_renewed(&self) -> bool {
        self.0.members().beside.is_some()
    }

    /// Waits until something is known of every node, but not for longer than this, and once a node serves not much
    /// longer for the others than it took that one to say so.
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

    /// The nodes that an answer may be given by, the best first; those whose models do not fit are left out where
    /// others do.
    pub fn candidates(&self, fits: impl Fn(&ModelCard) -> bool) -> Candidates {
        let now = self.0.now();
        let mut members = self.0.members();
        let chosen = members.roster.choose(fits, now);
        let nodes = chosen.iter().filter_map(|id| members.nodes.get(id)).map(|it| it.node.clone());
        Candidates { nodes: nodes.collect(), standings: Some(self.0.standings.subscribe()) }
    }

    /// When a takeover that has no text is asked of a second node; never, while the usual time is not known.
    pub fn hedge_after(&self, hedging: Hedging) -> Option<Duration> {
        match hedging {
            Hedging::After(time) => Some(time),
            Hedging::WhenLate => self.0.members().roster.late_after(),
        }
    }

    /// The nodes, in the order in which they were added.
    pub fn nodes(&self) -> Vec<Node> {
        self.0.members().nodes.values().map(|it| it.node.clone()).collect()
    }

    /// How it is with each node, in the order in which they were added.
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

    /// Why a node does not belong to the others, where one serves another model.
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

    /// Lets answers know where a node has come or gone, or takes sessions and did not, or the other way round.
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
    /// This has become of the node.
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
