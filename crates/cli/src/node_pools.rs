//! The nodes of an answer, as a pool for each part: connected, watched, and renewed where a name leads to other
//! addresses or the file of endpoints changes.

use std::{
    collections::BTreeMap, net::SocketAddr, net::ToSocketAddrs as _, path::PathBuf, sync::Arc,
    time::Duration,
};

use answer::{Node, Settings};
use hub::{Console, Hub, HubError, TokenizerPlace};
use pool::{Hedging, Pool, Teller, Watched, WeakPool};
use thinking::{
    policy::Role,
    thinker::{Condition, Failure, Serving},
};
use tokio::{
    net::lookup_host,
    runtime,
    time::{Instant, sleep},
};
use transport::{Remote, RemoteConfig};
use upstream::{Upstream, UpstreamConfig};

use crate::{
    endpoint::{NodePlace, NodeWay},
    exit::{CliError, Exit},
    node_endpoints::{EndpointSource, NodeEndpoints, Renewal},
};

/// How often a node is asked how busy it is, and one that is gone whether it is back.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// How often a server that others wrote is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked where names lead and what the file of endpoints says.
const LOOK_EVERY: Duration = Duration::from_secs(5);
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
            let mut keeper = Keeper { places, renewal, members: BTreeMap::new() };
            let all = keeper.looked_up(&leads_nowhere)?;
            for place in all {
                let thinker = keeper.join(&pool, &place)?;
                asked.push((role, place.label(), thinker));
            }
            if keeper.renewal.is_some() || keeper.places.iter().any(NodePlace::is_name) {
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

/// Another one for every process, so that many of them do not choose alike.
fn seed() -> u64 {
    u64::from(std::process::id())
}

/// Keeps a pool's members those that are named.
struct Keeper {
    places: Vec<NodePlace>,
    renewal: Option<Renewal>,
    /// What each member was made from, by its name.
    members: BTreeMap<String, String>,
}

impl Keeper {
    /// The places with names looked up, in this thread.
    fn looked_up(
        &self,
        leads_nowhere: impl Fn(CliError) -> Result<(), CliError>,
    ) -> Result<Vec<NodePlace>, CliError> {
        let mut all = Vec::new();
        for place in &self.places {
            let NodeWay::Name(config) = &place.way else {
                all.push(place.clone());
                continue;
            };
            let host = (config.address.host(), config.address.port());
            let found: Vec<SocketAddr> = match host.to_socket_addrs() {
                Ok(found) => found.collect(),
                Err(why) => {
                    leads_nowhere(nowhere(config, &why.to_string()))?;
                    continue;
                }
            };
            if found.is_empty() {
                leads_nowhere(nowhere(config, "it has no address"))?;
            }
            all.extend(place.at_each(found));
        }
        Ok(all)
    }

    /// Makes a place a member, in the place of the one of this name.
    fn join(&mut self, pool: &Pool, place: &NodePlace) -> Result<AskedThinker, CliError> {
        let (node, thinker) = connected(place, Download::Yes)?;
        self.members.insert(node.name.clone(), format!("{place:?}"));
        let watched = thinker.clone();
        pool.join(Watched {
            node,
            terms: place.terms,
            watch: Box::new(|teller| Box::pin(watched.keep_watching(teller))),
        });
        Ok(thinker)
    }

    /// Goes on for as long as the pool is there.
    async fn keep(mut self, pool: WeakPool) {
        loop {
            sleep(LOOK_EVERY).await;
            let Some(pool) = pool.upgrade() else { return };
            if let Err(why) = self.look(&pool).await {
                tracing::warn!("{why}; the nodes stay what they are");
            }
        }
    }

    /// Looks where names lead and what the file says.
    async fn look(&mut self, pool: &Pool) -> Result<(), CliError> {
        if let Some(renewal) = &self.renewal
            && let Some(places) = renewal()?
        {
            self.places = places;
        }
        let mut all = Vec::new();
        for place in &self.places {
            let NodeWay::Name(config) = &place.way else {
                all.push(place.clone());
                continue;
            };
            let host = (config.address.host(), config.address.port());
            let found = lookup_host(host).await;
            let found = found.map_err(|why| nowhere(config, &why.to_string()))?;
            all.extend(place.at_each(found.collect()));
        }
        let is_named = |name: &str| all.iter().any(|place| place.label() == name);
        for name in self.members.keys().filter(|name| !is_named(name)) {
            tracing::info!(node = name, "no longer named");
            pool.leave(name);
        }
        self.members.retain(|name, _| all.iter().any(|place| place.label() == *name));
        for place in &all {
            if self.members.get(&place.label()) != Some(&format!("{place:?}")) {
                tracing::info!(node = place.label(), "named");
                self.join(pool, place)?;
            }
        }
        Ok(())
    }
}

fn nowhere(config: &RemoteConfig, why: &str) -> CliError {
    let message = format!(
        "{} leads to no node: {why}; check the name, or wait until its nodes are there",
        config.address
    );
    CliError::new(Exit::Unreachable, message)
}

/// A node or a server, where it is asked for more than sessions.
#[derive(Clone)]
enum AskedThinker {
    Node(Remote),
    Server(Arc<Upstream>),
}

impl AskedThinker {
    /// Whether it serves the model that it must. One that cannot be asked passes.
    async fn check_model(&self) -> Result<(), Failure> {
        match self {
            AskedThinker::Node(remote) => remote.check_model().await,
            AskedThinker::Server(upstream) => upstream.check_model().await,
        }
    }

    /// Tells what becomes of it, for as long as it is polled.
    async fn keep_watching(self, teller: Teller) {
        match self {
            AskedThinker::Node(remote) => {
                remote.keep_watching(WATCH_EVERY, |condition| teller.tell(condition)).await;
            }
            AskedThinker::Server(upstream) => loop {
                let asked = Instant::now();
                // Costs nothing at a server that bills tokens.
                teller.tell(match upstream.answers().await {
                    Ok(()) => Condition::Serving(Box::new(Serving {
                        round_trip: asked.elapsed(),
                        ..Serving::default()
                    })),
                    Err(failure) => Condition::Gone(failure),
                });
                sleep(ASK_EVERY).await;
            },
        }
    }
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

/// Whether what is not in the hub's cache is downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Download {
    Yes,
    No,
}

/// A node to ask; connects to nothing yet.
fn connected(place: &NodePlace, download: Download) -> Result<(Node, AskedThinker), CliError> {
    Ok(match &place.way {
        NodeWay::Node(config) | NodeWay::Name(config) => {
            let (name, remote) = (config.label(), Remote::new(config.clone())?);
            (Node::new(name, Arc::new(remote.clone())), AskedThinker::Node(remote))
        }
        NodeWay::Server(config, tokenizer) => {
            let mut config = config.clone();
            if let Some(place) = tokenizer {
                config.tokenizer = brought(place, &config, download)?;
            }
            let (name, upstream) = (config.label(), Arc::new(Upstream::new(config)?));
            let thinker = Arc::clone(&upstream);
            (Node::new(name, thinker), AskedThinker::Server(upstream))
        }
    })
}

/// The tokenizer of a server's model; `None` where it would have to be downloaded and may not be.
fn brought(
    place: &TokenizerPlace,
    server: &UpstreamConfig,
    download: Download,
) -> Result<Option<PathBuf>, CliError> {
    let mut hub = Hub::from_vars(|name| std::env::var(name).ok());
    // With the user's own word that nothing is downloaded, what is not in the cache will be missing.
    let may_be_missing = download == Download::No && !hub.offline;
    hub.offline |= may_be_missing;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|why| CliError::new(Exit::Internal, format!("cannot start the runtime: {why}")))?;
    match runtime.block_on(hub.tokenizer(place, &Console::stdio())) {
        Ok(path) => Ok(Some(path)),
        Err(HubError::NotCached { .. }) if may_be_missing => Ok(None),
        Err(error) => {
            let message = format!("the tokenizer of {}: {error}", server.address);
            Err(CliError::new(Exit::from(&error), message))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::endpoint::Endpoint;

    fn place(address: &str, weight: f64) -> NodePlace {
        let endpoint = Endpoint { weight: Some(weight), ..Endpoint::at(address.parse().unwrap()) };
        endpoint.place(1, Duration::from_secs(1), None).unwrap()
    }

    fn names(pool: &Pool) -> Vec<String> {
        pool.nodes().into_iter().map(|node| node.name).collect()
    }

    #[tokio::test]
    async fn a_pool_has_the_nodes_that_are_named_by_now() {
        let next = Mutex::new(vec![
            Ok(None),
            Err(CliError::new(Exit::Usage, "the file is broken")),
            Ok(Some(vec![place("127.0.0.1:2", 1.0), place("127.0.0.1:3", 1.0)])),
        ]);
        let renewal = move || next.lock().unwrap().pop().unwrap_or(Ok(None));
        let places = vec![place("127.0.0.1:1", 1.0), place("127.0.0.1:2", 2.0)];
        let mut keeper =
            Keeper { places, renewal: Some(Box::new(renewal)), members: BTreeMap::new() };
        let pool = Pool::new(0);
        for place in keeper.looked_up(Err).unwrap() {
            keeper.join(&pool, &place).unwrap();
        }
        assert_eq!(names(&pool), ["http://127.0.0.1:1", "http://127.0.0.1:2"]);
        keeper.look(&pool).await.unwrap();
        // The one that stays has another weight now: it is a new member.
        assert_eq!(names(&pool), ["http://127.0.0.1:2", "http://127.0.0.1:3"]);
        assert!(keeper.look(&pool).await.is_err());
        keeper.look(&pool).await.unwrap();
        assert_eq!(names(&pool), ["http://127.0.0.1:2", "http://127.0.0.1:3"]);
    }

    #[tokio::test]
    async fn a_name_is_a_node_at_each_of_its_addresses() {
        let places = vec![place("dns://localhost:1", 1.0)];
        let keeper = Keeper { places, renewal: None, members: BTreeMap::new() };
        let all = keeper.looked_up(Err).unwrap();
        let labels: Vec<String> = all.iter().map(NodePlace::label).collect();
        assert!(labels.contains(&"127.0.0.1:1 (http://localhost:1)".to_owned()), "{labels:?}");
        let places = vec![place("dns://no-such-host.invalid:1", 1.0)];
        let error = Keeper { places, ..keeper }.looked_up(Err).unwrap_err();
        assert_eq!(error.exit, Exit::Unreachable);
        let line = error.to_string();
        assert!(line.starts_with("http://no-such-host.invalid:1 leads to no node: "), "{line}");
    }
}
