//! The nodes of an answer, as a pool for each part.

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

/// How long an answer waits at first for several nodes to say how they are.
const SETTLES_WITHIN: Duration = Duration::from_secs(1);

/// The nodes, not yet connected to.
pub struct Nodes {
    /// The small nodes.
    pub small: Pool,
    /// The large nodes, where there is a use for them.
    pub large: Pool,
    /// Where their addresses come from; keeps the built-in pair running.
    pub source: EndpointSource,
    /// When a takeover is asked of a second large node.
    pub hedging: Option<Hedging>,
    /// All that were named, each with its part.
    asked: Vec<(Role, String, AskedThinker)>,
}

impl NodeEndpoints {
    /// The nodes to ask; connects to none yet. Looks names up, and downloads the tokenizers of servers that have names.
    ///
    /// # Errors
    /// When a node may not be reached in plain text, a name leads nowhere, or a file does not work.
    pub fn connect(self) -> Result<Nodes, CliError> {
        self.connected(Err)
    }

    /// The same for who is there for long: a name that leads nowhere yet is told of, and looked up again.
    ///
    /// # Errors
    /// When a node may not be reached in plain text, or a file does not work.
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

    /// Checks what [`Self::connect`] checks, without the network: what would be looked up or downloaded passes.
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

/// Another one for every process, so that many of them do not choose alike; in containers all have one number.
fn seed() -> u64 {
    RandomState::new().hash_one(())
}

/// Which nodes are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watching {
    /// All of them: questions come for a long time, and others want to know how the nodes are.
    Always,
    /// Those of a part for which there is a choice.
    Several,
}

impl Nodes {
    /// Asks the nodes that must serve a certain model for theirs, and the servers for what they serve, so that not
    /// every question of a run finds out; then as [`Self::settle_pools`].
    ///
    /// # Errors
    /// When one does not serve what it must, or another model than those named with it. One that cannot be asked
    /// passes: how an answer goes on without it is the answer's business.
    pub async fn settle(&self, watching: Watching) -> Result<(), CliError> {
        for (role, _, thinker) in &self.asked {
            thinker.check_model().await.map_err(|failure| {
                CliError::new(failure.code.into(), format!("{role} node: {failure}"))
            })?;
        }
        self.settle_pools(watching).await
    }

    /// Has nodes watched from now on, and waits a moment for what they say first.
    ///
    /// # Errors
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

    /// The same settings, with when a takeover of the next answer is asked of a second large node.
    pub fn hedged(&self, settings: Settings) -> Settings {
        let hedge_after = self.hedging.and_then(|hedging| self.large.hedge_after(hedging));
        Settings { hedge_after, ..settings }
    }

    /// What asks each server that was named for a part whether it is there.
    pub fn servers(&self, part: Role) -> impl Iterator<Item = (String, AskedServer)> {
        self.asked.iter().filter_map(move |(role, name, thinker)| match thinker {
            AskedThinker::Server(server) if *role == part => {
                Some((name.clone(), AskedServer(Arc::clone(server))))
            }
            _ => None,
        })
    }
}

/// A server that others wrote.
pub struct AskedServer(Arc<Upstream>);

impl AskedServer {
    /// Whether it answers, and serves the model that it must. Costs nothing at a server that bills tokens.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn answers(&self) -> Result<(), Failure> {
        self.0.answers().await
    }
}
