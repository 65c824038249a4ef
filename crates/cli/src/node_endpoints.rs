//! Where the nodes are: those that are named, those at the usual addresses, or the built-in pair; and which of them is
//! shown which secret.

use std::{ffi::OsStr, io::Write as _, path::PathBuf, sync::Arc, time::Duration};

use answer::Node;
use hub::{Console, Hub, HubError, TokenizerPlace};
use pair::{Builtin, BuiltinNodes};
use thinking::{policy::Role, thinker::Failure};
use tokio::runtime;
use transport::{Remote, Token};
use upstream::{Upstream, UpstreamConfig};

use crate::{
    args::{NamedNode, NodesArgs, SecurityArgs},
    builtin,
    endpoint::{Endpoint, EndpointAddress, NodePlace},
    endpoints::Endpoints,
    exit::{CliError, Exit},
};

/// Where a small node listens unless told otherwise.
pub const DEFAULT_SMALL: &str = "http://127.0.0.1:7101";
/// Where a large node listens unless told otherwise.
pub const DEFAULT_LARGE: &str = "http://127.0.0.1:7102";
/// The variable that holds the token when no file is given.
const TOKEN_VARIABLE: &str = "SPECTHINK_TOKEN";

/// Where the nodes are, and how they are reached.
pub struct NodeEndpoints {
    /// The small nodes, in order.
    pub small: Vec<NodePlace>,
    /// The large nodes, in order, where there is a use for them.
    pub large: Vec<NodePlace>,
    /// Where the addresses come from; keeps the built-in pair running.
    pub source: EndpointSource,
}

impl NodeEndpoints {
    /// The nodes that are named, the built-in pair, or those at the usual addresses. Starts the pair; connects to
    /// nothing yet.
    ///
    /// # Errors
    /// When an address or a credential does not work, or the pair cannot be started.
    pub fn new(
        nodes: &NodesArgs,
        security: &SecurityArgs,
        wants_large: bool,
        builtin: Option<&dyn Builtin>,
    ) -> Result<NodeEndpoints, CliError> {
        if let Some(builtin) = builtin::answering(builtin, nodes) {
            let pair = builtin::start(builtin, wants_large, security)?;
            let place = |url: &String, patience| {
                Endpoint::at(parsed(url)?).place(security.max_message_bytes, patience, None)
            };
            return Ok(NodeEndpoints {
                small: vec![place(&pair.small, nodes.small_timeout)?],
                large: (pair.large.iter())
                    .map(|url| place(url, nodes.large_timeout))
                    .collect::<Result<_, _>>()?,
                source: EndpointSource::Builtin { _pair: pair, banner: builtin::banner(builtin) },
            });
        }
        let named = &nodes.named;
        let (usual, source) = match (named.small.is_empty(), !named.large.is_empty()) {
            (false, _) => (None, EndpointSource::Named),
            (true, true) => {
                (Some(NamedNode::from(DEFAULT_SMALL.to_owned())), EndpointSource::SmallUsual)
            }
            (true, false) => {
                (Some(NamedNode::from(DEFAULT_SMALL.to_owned())), EndpointSource::Usual)
            }
        };
        let endpoints = nodes.endpoints()?;
        let reach = Reach { endpoints, security };
        // One secret is for one node: the first large one's is not shown to another, the small ones' neither.
        let has_large = wants_large || !named.large.is_empty();
        let small = named.small.iter().chain(&usual).enumerate();
        let small = small
            .map(|(index, node)| reach.place(node, !has_large && index == 0, nodes.small_timeout));
        let small = small.collect::<Result<_, CliError>>()?;
        let usual = named.large.is_empty().then(|| NamedNode::from(DEFAULT_LARGE.to_owned()));
        let large = named.large.iter().chain(&usual).filter(|_| wants_large).enumerate();
        let large = large.map(|(index, node)| reach.place(node, index == 0, nodes.large_timeout));
        let large = large.collect::<Result<_, CliError>>()?;
        Ok(NodeEndpoints { small, large, source })
    }

    /// The nodes to ask; connects to none yet. Downloads the tokenizers of servers that have names.
    ///
    /// # Errors
    /// When a node may not be reached in plain text, or a file does not work.
    pub fn connect(self) -> Result<Nodes, CliError> {
        self.nodes(Download::Yes)
    }

    /// Checks what [`Self::connect`] checks, without the network: a tokenizer that would be downloaded passes.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn check(self) -> Result<(), CliError> {
        self.nodes(Download::No).map(drop)
    }

    fn nodes(self, download: Download) -> Result<Nodes, CliError> {
        let mut asked = Vec::new();
        let mut connect = |role, places: Vec<NodePlace>| {
            let node = |place: NodePlace| -> Result<Node, CliError> {
                let (node, thinker) = connected(place, download)?;
                asked.push((role, thinker));
                Ok(node)
            };
            places.into_iter().map(node).collect::<Result<Vec<_>, _>>()
        };
        let (small, large) = (connect(Role::Small, self.small)?, connect(Role::Large, self.large)?);
        Ok(Nodes { small, large, source: self.source, asked })
    }
}

/// The nodes, not yet connected to.
pub struct Nodes {
    /// The small nodes, in order.
    pub small: Vec<Node>,
    /// The large nodes, in order, where there is a use for them.
    pub large: Vec<Node>,
    /// Where their addresses come from; keeps the built-in pair running.
    pub source: EndpointSource,
    /// All of them, each with its part.
    asked: Vec<(Role, AskedThinker)>,
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

    /// Whether it answers, and serves the model that it must. Costs nothing at a server that bills tokens.
    async fn answers(&self) -> Result<(), Failure> {
        match self {
            AskedThinker::Node(remote) => remote.describe().await.map(drop),
            AskedThinker::Server(upstream) => upstream.answers().await,
        }
    }
}

/// Asks a node whether it is there.
#[derive(Clone)]
pub struct AskedNode(AskedThinker);

impl AskedNode {
    /// Whether it answers, and serves the model that it must.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn answers(&self) -> Result<(), Failure> {
        self.0.answers().await
    }
}

impl Nodes {
    /// What asks the nodes of a part whether they are there, in order.
    pub fn asked(&self, part: Role) -> Vec<AskedNode> {
        let asked = self.asked.iter().filter(|(role, _)| *role == part);
        asked.map(|(_, thinker)| AskedNode(thinker.clone())).collect()
    }

    /// Asks the nodes that must serve a certain model for theirs, and the servers for what they serve, so that not
    /// every question of a run finds out.
    ///
    /// # Errors
    /// When one does not serve what it must. One that cannot be asked passes: how an answer goes on without it is the
    /// answer's business.
    pub async fn check_models(&self) -> Result<(), CliError> {
        for (role, thinker) in &self.asked {
            thinker.check_model().await.map_err(|failure| {
                CliError::new(failure.code.into(), format!("{role} node: {failure}"))
            })?;
        }
        Ok(())
    }
}

/// Where the nodes' addresses come from.
pub enum EndpointSource {
    /// The user named the small node.
    Named,
    /// The user named only the large node.
    SmallUsual,
    /// The user named none.
    Usual,
    /// The user named none: the nodes in this process, and what is to be said of them.
    Builtin {
        /// Stops them when it is dropped.
        _pair: BuiltinNodes,
        /// What is to be said.
        banner: String,
    },
}

impl EndpointSource {
    /// Says who answers when it is the built-in pair.
    pub fn announce(&self) {
        if let EndpointSource::Builtin { banner, .. } = self {
            note(banner);
        }
    }
}

/// How nodes are reached that somebody else runs.
struct Reach<'a> {
    /// What names stand for.
    endpoints: Option<Endpoints>,
    security: &'a SecurityArgs,
}

impl Reach<'_> {
    /// The connection to a node. The one token of `--token-file` or the variable is only for a node that
    /// `takes_shared_token`.
    fn place(
        &self,
        node: &NamedNode,
        takes_shared_token: bool,
        patience: Duration,
    ) -> Result<NodePlace, CliError> {
        let security = self.security;
        let mut endpoint = self.endpoint(&node.place)?;
        // A name whose table says how it is secured is secured so and in no other way.
        let takes_flags = !endpoint.is_secured();
        if takes_flags {
            endpoint.ca = security.tls_ca.clone();
            endpoint.client_cert = security.tls_cert.clone();
            endpoint.client_key = security.tls_key.clone();
            endpoint.insecure = Some(security.insecure);
        }
        endpoint.token_file = node.token_file.clone().or(endpoint.token_file);
        endpoint.model = node.model.clone().or(endpoint.model);
        let is_shown = takes_shared_token && takes_flags && endpoint.token_file.is_none();
        if is_shown {
            endpoint.token_file = security.token_file.clone();
        } else if takes_shared_token && security.token_file.is_some() {
            note(&format!(
                "--token-file is for {}, which has security of its own, so that no node is shown it: leave it out, \
                 or give it behind the node that asks for it, with --small-token-file or --large-token-file",
                node.place
            ));
        }
        let is_in_variable = is_shown && endpoint.token_file.is_none();
        let token = if is_in_variable { token_of_variable()? } else { None };
        endpoint.place(security.max_message_bytes, patience, token)
    }

    /// What an address, or `@NAME`, stands for.
    fn endpoint(&self, place: &str) -> Result<Endpoint, CliError> {
        match (place.strip_prefix('@'), &self.endpoints) {
            (None, _) => Ok(Endpoint::at(parsed(place)?)),
            (Some(name), Some(endpoints)) => Ok(endpoints.get(name)?.clone()),
            (Some(_), None) => {
                let message = format!(
                    "{place} is a name, and nothing says what it stands for: give --endpoints FILE too"
                );
                Err(CliError::new(Exit::Usage, message))
            }
        }
    }
}

fn note(text: &str) {
    // Standard error may be gone; the answer is not less for it.
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

fn parsed(address: &str) -> Result<EndpointAddress, CliError> {
    address.parse().map_err(|error| CliError::new(Exit::Usage, error))
}

fn token_of_variable() -> Result<Option<Token>, CliError> {
    token_in(&std::env::var_os(TOKEN_VARIABLE).unwrap_or_default())
}

/// The token in the variable's value. One that is not Unicode is a mistake, never an absent one.
fn token_in(value: &OsStr) -> Result<Option<Token>, CliError> {
    let text = value.to_string_lossy();
    let token = (!text.is_empty()).then(|| Token::new(&text)).transpose();
    token.map_err(|error| {
        CliError::new(Exit::Credentials, format!("the variable {TOKEN_VARIABLE}: {error}"))
    })
}

/// Whether what is not in the hub's cache is downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Download {
    Yes,
    No,
}

/// A node to ask; connects to nothing yet.
fn connected(place: NodePlace, download: Download) -> Result<(Node, AskedThinker), CliError> {
    Ok(match place {
        NodePlace::Node(config) => {
            let (name, remote) = (config.label(), Remote::new(config)?);
            (Node::new(name, Arc::new(remote.clone())), AskedThinker::Node(remote))
        }
        NodePlace::Server(mut config, tokenizer) => {
            if let Some(place) = tokenizer {
                config.tokenizer = brought(&place, &config, download)?;
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
    use super::*;

    #[test]
    fn a_token_that_is_no_text_is_a_mistake_and_not_none() {
        assert!(token_in(OsStr::new("")).unwrap().is_none());
        assert!(token_in(OsStr::new("s3cret")).unwrap().is_some());
        #[cfg(unix)]
        {
            let value: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"s3cr\xff");
            let error = token_in(value).unwrap_err();
            assert_eq!(error.exit, Exit::Credentials);
            assert!(error.to_string().starts_with("the variable SPECTHINK_TOKEN: "), "{error}");
        }
    }
}
