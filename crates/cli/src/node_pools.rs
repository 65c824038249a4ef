//! The nodes for answers, as one pool for each part.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use answer::Settings;
use pool::{Hedging, Pool};
use thinking::{policy::Role, thinker::Failure};
use upstream::Upstream;

use crate::{
    connection::{AskedThinker, Download, connected},
    endpoint::NodePlace,
    exit::{CliError, Exit},
    keeper::Keeper,
    node_endpoints::{EndpointSource, NodeEndpoints, Renewal},
};

/// How long to wait at first for several nodes to report their condition.
const SETTLES_WITHIN: Duration = Duration::from_secs(1);

/// The nodes. Not connected yet.
pub struct Nodes {
    /// The small nodes.
    pub small: Pool,
    /// The large nodes; empty if the policy does not use any.
    pub large: Pool,
    /// Where their addresses come from; keeps the built-in pair running.
    pub source: EndpointSource,
    /// When a second large node is asked for a takeover.
    pub hedging: Option<Hedging>,
    /// All nodes that were named, each with its part.
    asked: Vec<(Role, String, AskedThinker)>,
}

impl NodeEndpoints {
    /// Returns the nodes to ask. Does not connect yet, but looks names up and downloads the tokenizers of servers that
    /// have names.
    ///
    /// # Errors
    /// When plain text to a node is not allowed, a name leads nowhere, or a file does not work.
    pub fn connect(self) -> Result<Nodes, CliError> {
        self.connected(Err)
    }

    /// As [`Self::connect`], for a long-running program: a name that leads nowhere yet is logged, and looked up again.
    ///
    /// # Errors
    /// When plain text to a node is not allowed, or a file does not work.
    pub fn connect_by_and_by(self) -> Result<Nodes, CliError> {
        self.connected(|error| {
            tracing::warn!("{error}");
            Ok(())
        })
    }

    fn connected(
        self,
        leads_nowhere: impl Fn(CliError) -> Result<(), CliError>,
    ) -> Result<Nodes, CliError> {
        let mut asked = Vec::new();
        let mut pool = |role, places: Vec<NodePlace>, renewal: Option<Renewal>| {
            let pool = Pool::new(seed());
            let mut keeper = Keeper::new(places, renewal);
            keeper.update(&pool, &leads_nowhere, |name, thinker| {
                asked.push((role, name, thinker?));
                Ok(())
            })?;
            if keeper.is_needed() {
                pool.run_beside(|pool| Box::pin(keeper.keep(pool)));
            }
            Ok::<Pool, CliError>(pool)
        };
        let NodeEndpoints { small, large, source, renewals, hedging } = self;
        let [small_renewal, large_renewal] = renewals;
        let small = pool(Role::Small, small, small_renewal)?;
        let large = pool(Role::Large, large, large_renewal)?;
        Ok(Nodes { small, large, source, hedging, asked })
    }

    /// Checks what [`Self::connect`] checks, without the network: what would have to be looked up or downloaded passes.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn check(self) -> Result<(), CliError> {
        self.small
            .iter()
            .chain(&self.large)
            .try_for_each(|place| connected(place, Download::No).map(drop))
    }
}

/// Returns another seed for every process, so that many processes do not choose alike. A process id would not do: in
/// containers it is always the same.
fn seed() -> u64 {
    RandomState::new().hash_one(())
}

/// Which nodes are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watching {
    /// All of them: questions keep coming, and others want to know the state of the nodes.
    Always,
    /// Those of a part with several nodes to choose from.
    Several,
}

impl Nodes {
    /// Checks the models of the nodes that must serve a certain one, and of the servers, so that not every question of
    /// a run discovers a mistake; then as [`Self::settle_pools`].
    ///
    /// When one does not serve the required model, or not the same as those named with it. One that cannot be asked
    /// passes: the answer itself deals with an unreachable node.
    pub async fn settle(&self, watching: Watching) -> Result<(), CliError> {
        for (role, _, thinker) in &self.asked {
            thinker.check_model().await.map_err(|failure| {
                CliError::new(failure.code.into(), format!("{role} node: {failure}"))
            })?;
        }
        self.settle_pools(watching).await
    }

    /// Has the nodes watched from now on, and waits a moment for their first reports.
    ///
    /// When a node serves another model than those named with it.
    pub async fn settle_pools(&self, watching: Watching) -> Result<(), CliError> {
        for (role, pool) in [(Role::Small, &self.small), (Role::Large, &self.large)] {
            let is_choice = pool.nodes().len() > 1 || pool.is_renewed();
            if watching == Watching::Always || is_choice {
                pool.watch();
                pool.settled(SETTLES_WITHIN).await;
            }
            if let Some(misfit) = pool.misfit() {
                return Err(CliError::new(Exit::Usage, format!("{role} node: {misfit}")));
            }
        }
        Ok(())
    }

    /// Returns the settings, with the time after which a second large node is asked for a takeover of the next answer.
    pub fn hedged(&self, settings: Settings) -> Settings {
        let hedge_after = self.hedging.and_then(|hedging| self.large.hedge_after(hedging));
        Settings { hedge_after, ..settings }
    }

    /// Returns the servers that were named for a part, to ask each whether it is reachable.
    pub fn servers(&self, part: Role) -> impl Iterator<Item = (String, AskedServer)> {
        self.asked.iter().filter_map(move |(role, name, thinker)| match thinker {
            AskedThinker::Server(server) if *role == part => {
                Some((name.clone(), AskedServer(Arc::clone(server))))
            }
            _ => None,
        })
    }
}

/// A third-party server.
pub struct AskedServer(Arc<Upstream>);

impl AskedServer {
    /// Checks that it answers and serves the required model. Costs nothing, even at a server that bills tokens.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn answers(&self) -> Result<(), Failure> {
        self.0.answers().await
    }
}
