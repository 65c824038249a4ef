//! Keeps a pool's members in step with the nodes that are named, also when a DNS name gets other addresses or the file
//! of endpoints changes.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

use pool::{Pool, Watched, WeakPool};
use tokio::{task::spawn_blocking, time::sleep};
use transport::RemoteConfig;

use crate::{
    connection::{AskedThinker, Download, connected},
    endpoint::{NodePlace, NodeWay},
    exit::{CliError, Exit},
    node_endpoints::Renewal,
};

/// How often names are looked up and the file of endpoints is checked.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Keeps a pool's members in step with the nodes that are named. Its work blocks: it looks names up and downloads
/// tokenizers.
pub(crate) struct Keeper {
    places: Vec<NodePlace>,
    renewal: Option<Renewal>,
    /// The members by their names.
    members: BTreeMap<String, Member>,
}

/// A member of the pool.
struct Member {
    place: NodePlace,
    /// The label of what was named: the node itself, or a DNS name that leads to it.
    named: String,
}

impl Keeper {
    /// Creates a keeper of the nodes at these places, until the renewal returns others.
    pub(crate) fn new(places: Vec<NodePlace>, renewal: Option<Renewal>) -> Self {
        Keeper { places, renewal, members: BTreeMap::new() }
    }

    /// Returns whether the members can change at all.
    pub(crate) fn is_needed(&self) -> bool {
        self.renewal.is_some() || self.places.iter().any(NodePlace::is_name)
    }

    /// Runs for as long as the pool exists.
    pub(crate) async fn keep(mut self, pool: WeakPool) {
        loop {
            sleep(LOOK_EVERY).await;
            let Some(pool) = pool.upgrade() else { return };
            let looked = spawn_blocking(move || {
                self.look(&pool);
                self
            });
            // It panicked, and the panic was printed.
            let Ok(keeper) = looked.await else { return };
            self = keeper;
        }
    }

    /// Updates the members once. Failures are logged, and the nodes that they concern stay as they are.
    fn look(&mut self, pool: &Pool) {
        match self.renewal.as_ref().map(|renewal| renewal()) {
            Some(Ok(Some(places))) => self.places = places,
            Some(Err(why)) => tracing::warn!("{why}; the nodes stay as they are"),
            Some(Ok(None)) | None => {}
        }
        let tell = |error| {
            tracing::warn!("{error}");
            Ok(())
        };
        if let Err(why) = self.update(pool, tell, |_, thinker| thinker.map(drop).or_else(tell)) {
            tracing::warn!("{why}");
        }
    }

    /// Makes the nodes that are named now the pool's members. `leads_nowhere` decides whether a name without addresses
    /// is an error, and `joined` whether a new node that cannot be used is one.
    ///
    /// What `leads_nowhere` or `joined` returns.
    pub(crate) fn update(
        &mut self,
        pool: &Pool,
        leads_nowhere: impl Fn(CliError) -> Result<(), CliError>,
        mut joined: impl FnMut(String, Result<AskedThinker, CliError>) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let named = self.named(leads_nowhere)?;
        self.members.retain(|name, _| {
            let is_named = named.iter().any(|(it, _)| it == name);
            if !is_named {
                tracing::info!(node = name, "no longer named");
                pool.leave(name);
            }
            is_named
        });
        for (name, member) in named {
            if self.members.get(&name).is_some_and(|it| it.place.is_same(&member.place)) {
                continue;
            }
            let connected = connected(&member.place, Download::Yes);
            let thinker = connected.map(|(node, thinker)| {
                let (terms, watched) = (member.place.terms(), thinker.clone());
                let watch = Box::new(|teller| Box::pin(watched.keep_watching(teller)) as _);
                pool.join(Watched { node, terms, watch });
                thinker
            });
            if thinker.is_ok() {
                self.members.insert(name.clone(), member);
            }
            joined(name, thinker)?;
        }
        Ok(())
    }

    /// Returns the nodes that are named now, with names looked up. A name that leads nowhere keeps the nodes that it
    /// had.
    fn named(
        &self,
        leads_nowhere: impl Fn(CliError) -> Result<(), CliError>,
    ) -> Result<Vec<(String, Member)>, CliError> {
        let mut all: Vec<(String, Member)> = Vec::new();
        for place in &self.places {
            let named = place.label();
            let found = match &place.way {
                NodeWay::Name(config) => match addresses(config) {
                    Ok(addresses) => place.at_each(addresses),
                    Err(error) => {
                        leads_nowhere(error)?;
                        let before = self.members.values().filter(|it| it.named == named);
                        before.map(|member| member.place.clone()).collect()
                    }
                },
                NodeWay::Node(_) | NodeWay::Server(..) => vec![place.clone()],
            };
            for place in found {
                let name = place.label();
                if all.iter().all(|(it, _)| *it != name) {
                    all.push((name, Member { place, named: named.clone() }));
                }
            }
        }
        Ok(all)
    }
}

/// Looks up the addresses of a name, at least one.
fn addresses(config: &RemoteConfig) -> Result<Vec<SocketAddr>, CliError> {
    let nowhere = |why: &str| {
        let message = format!(
            "{} leads to no node: {why}; check the name, or wait until its nodes are up",
            config.address
        );
        CliError::new(Exit::Unreachable, message)
    };
    let host = (config.address.host(), config.address.port());
    let found = host.to_socket_addrs().map_err(|why| nowhere(&why.to_string()))?;
    let found: Vec<SocketAddr> = found.collect();
    if found.is_empty() { Err(nowhere("it has no address")) } else { Ok(found) }
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

    /// Returns a keeper at work and its pool. It starts with these places and then gets these renewals, one after the
    /// other.
    fn kept(
        places: Vec<NodePlace>,
        mut then: Vec<Result<Option<Vec<NodePlace>>, CliError>>,
    ) -> (Keeper, Pool) {
        then.reverse();
        let next = Mutex::new(then);
        let renewal = move || next.lock().unwrap().pop().unwrap_or(Ok(None));
        let (mut keeper, pool) = (Keeper::new(places, Some(Box::new(renewal))), Pool::new(0));
        keeper.update(&pool, Err, |_, thinker| thinker.map(drop)).unwrap();
        (keeper, pool)
    }

    #[test]
    fn a_pool_has_the_nodes_that_are_named_by_now() {
        let then = vec![
            Ok(Some(vec![place("127.0.0.1:3", 1.0), place("127.0.0.1:1", 1.0)])),
            Err(CliError::new(Exit::Usage, "the file is broken")),
        ];
        let places = vec![place("127.0.0.1:2", 1.0), place("127.0.0.1:1", 2.0)];
        let (mut keeper, pool) = kept(places, then);
        assert_eq!(names(&pool), ["http://127.0.0.1:2", "http://127.0.0.1:1"]);
        keeper.look(&pool);
        // The node that stays has another weight now, so it is a new member.
        assert_eq!(names(&pool), ["http://127.0.0.1:3", "http://127.0.0.1:1"]);
        (0..2).for_each(|_| keeper.look(&pool));
        assert_eq!(names(&pool), ["http://127.0.0.1:3", "http://127.0.0.1:1"]);
    }

    #[test]
    fn a_name_is_a_node_at_each_of_its_addresses_and_one_that_leads_nowhere_holds_up_no_other() {
        let (keeper, pool) = kept(vec![place("dns://localhost:1", 1.0)], Vec::new());
        let at_localhost = names(&pool);
        let loopback = "127.0.0.1:1 (http://localhost:1)".to_owned();
        assert!(at_localhost.contains(&loopback), "{at_localhost:?}");
        assert!(keeper.is_needed());

        let nowhere = place("dns://no-such-host.invalid:1", 1.0);
        let mut alone = Keeper::new(vec![nowhere.clone()], None);
        let error = alone.update(&pool, Err, |_, _| Ok(())).unwrap_err();
        assert_eq!(error.exit, Exit::Unreachable);
        let line = error.to_string();
        assert!(line.starts_with("http://no-such-host.invalid:1 leads to no node: "), "{line}");

        let then = vec![Ok(Some(vec![nowhere, place("127.0.0.1:2", 1.0)]))];
        let (mut keeper, pool) = kept(vec![place("127.0.0.1:1", 1.0)], then);
        keeper.look(&pool);
        assert_eq!(names(&pool), ["http://127.0.0.1:2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_named_later_may_need_its_tokenizer_brought_here() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        let tokenizer = Some(folder.path().join("tokenizer.json").display().to_string());
        let server =
            Endpoint { tokenizer, ..Endpoint::at("openai+http://127.0.0.1:1/v1".parse().unwrap()) };
        let server = server.place(1, Duration::from_secs(1), None).unwrap();
        let then = vec![Ok(Some(vec![server])), Ok(Some(vec![place("127.0.0.1:2", 1.0)]))];
        let (keeper, pool) = kept(vec![place("127.0.0.1:1", 1.0)], then);
        pool.run_beside(|pool| Box::pin(keeper.keep(pool)));
        pool.watch();
        sleep(3 * LOOK_EVERY).await;
        assert_eq!(names(&pool), ["http://127.0.0.1:2"], "it goes on behind that");
    }
}
