//! Where the nodes are: those that are named, those at the usual addresses, or the built-in pair; and which of them is
//! shown which secret.

use std::{io::Write as _, sync::Arc, time::Duration};

use answer::Node;
use pair::{Builtin, BuiltinNodes};
use transport::{Remote, Token};
use upstream::Upstream;

use crate::{
    args::{NamedNode, NodesArgs, SecurityArgs},
    builtin,
    endpoint::{Endpoint, EndpointAddress, NodePlace},
    endpoints::Endpoints,
    exit::{Exit, Stop},
};

/// Where a small node listens unless told otherwise.
pub const DEFAULT_SMALL: &str = "http://127.0.0.1:7101";
/// Where a large node listens unless told otherwise.
pub const DEFAULT_LARGE: &str = "http://127.0.0.1:7102";
/// The variable that holds the token when no file is given.
const TOKEN_VARIABLE: &str = "SPECTHINK_TOKEN";

/// Where the nodes are, and how they are reached.
pub struct Places {
    /// The small nodes, in order.
    pub small: Vec<NodePlace>,
    /// The large nodes, in order, where there is a use for them.
    pub large: Vec<NodePlace>,
    /// Where the addresses come from; keeps the built-in pair running.
    pub origin: Origin,
}

impl Places {
    /// The nodes that are named, the built-in pair, or those at the usual addresses. Starts the pair; connects to
    /// nothing yet.
    ///
    /// # Errors
    /// When an address or a credential does not work, or the pair cannot be started.
    pub fn new(
        nodes: &NodesArgs,
        wants_large: bool,
        security: &SecurityArgs,
        builtin: Option<&dyn Builtin>,
    ) -> Result<Places, Stop> {
        if let Some(builtin) = builtin::answering(builtin, nodes) {
            let pair = builtin::start(builtin, wants_large, security)?;
            let place = |url: &String, patience| {
                Endpoint::at(parsed(url)?).place(security.max_message_bytes, patience, None)
            };
            return Ok(Places {
                small: vec![place(&pair.small, nodes.small_timeout)?],
                large: (pair.large.iter())
                    .map(|url| place(url, nodes.large_timeout))
                    .collect::<Result<_, _>>()?,
                origin: Origin::Builtin { _pair: pair, banner: builtin::banner(builtin) },
            });
        }
        let named = &nodes.named;
        let (usual, origin) = match (named.small.is_empty(), !named.large.is_empty()) {
            (false, _) => (None, Origin::Named),
            (true, true) => (Some(NamedNode::from(DEFAULT_SMALL.to_owned())), Origin::SmallUsual),
            (true, false) => (Some(NamedNode::from(DEFAULT_SMALL.to_owned())), Origin::Usual),
        };
        let endpoints = nodes.endpoints.as_deref().map(Endpoints::read).transpose()?;
        let reach = Reach { endpoints, security };
        // One secret is for one node: the first large one's is not shown to another, the small ones' neither.
        let has_large = wants_large || !named.large.is_empty();
        let small = named.small.iter().chain(&usual).enumerate();
        let small = small
            .map(|(index, node)| reach.place(node, !has_large && index == 0, nodes.small_timeout));
        let small = small.collect::<Result<_, Stop>>()?;
        let usual = named.large.is_empty().then(|| NamedNode::from(DEFAULT_LARGE.to_owned()));
        let large = named.large.iter().chain(&usual).filter(|_| wants_large).enumerate();
        let large = large.map(|(index, node)| reach.place(node, index == 0, nodes.large_timeout));
        let large = large.collect::<Result<_, Stop>>()?;
        Ok(Places { small, large, origin })
    }

    /// The nodes to ask; connects to nothing yet.
    ///
    /// # Errors
    /// When a node may not be reached in plain text, or a file does not work.
    pub fn connect(self) -> Result<Nodes, Stop> {
        Ok(Nodes {
            small: self.small.into_iter().map(connect).collect::<Result<_, _>>()?,
            large: self.large.into_iter().map(connect).collect::<Result<_, _>>()?,
            origin: self.origin,
        })
    }
}

/// The nodes, not yet connected to.
pub struct Nodes {
    /// The small nodes, in order.
    pub small: Vec<Node>,
    /// The large nodes, in order, where there is a use for them.
    pub large: Vec<Node>,
    /// Where their addresses come from; keeps the built-in pair running.
    pub origin: Origin,
}

/// Where the nodes' addresses come from.
pub enum Origin {
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

impl Origin {
    /// Says who answers when it is the built-in pair.
    pub fn announce(&self) {
        if let Origin::Builtin { banner, .. } = self {
            // Standard error may be gone; the answer is not less for it.
            let _ = writeln!(std::io::stderr(), "{banner}");
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
    ) -> Result<NodePlace, Stop> {
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
        let takes_shared_token = takes_shared_token && takes_flags && endpoint.token_file.is_none();
        if takes_shared_token {
            endpoint.token_file = security.token_file.clone();
        }
        let is_in_variable = takes_shared_token && endpoint.token_file.is_none();
        let token = if is_in_variable { token_of_variable()? } else { None };
        endpoint.place(security.max_message_bytes, patience, token)
    }

    /// What an address, or `@NAME`, stands for.
    fn endpoint(&self, place: &str) -> Result<Endpoint, Stop> {
        match (place.strip_prefix('@'), &self.endpoints) {
            (None, _) => Ok(Endpoint::at(parsed(place)?)),
            (Some(name), Some(endpoints)) => Ok(endpoints.get(name)?.clone()),
            (Some(_), None) => {
                let message = format!(
                    "{place} is a name, and nothing says what it stands for: give --endpoints FILE too"
                );
                Err(Stop::new(Exit::Usage, message))
            }
        }
    }
}

fn parsed(address: &str) -> Result<EndpointAddress, Stop> {
    address.parse().map_err(|error| Stop::new(Exit::Usage, error))
}

fn token_of_variable() -> Result<Option<Token>, Stop> {
    let text = std::env::var(TOKEN_VARIABLE).unwrap_or_default();
    let token = (!text.is_empty()).then(|| Token::new(&text)).transpose();
    token.map_err(|error| {
        Stop::new(Exit::Credentials, format!("the variable {TOKEN_VARIABLE}: {error}"))
    })
}

/// A node to ask; connects to nothing yet.
fn connect(place: NodePlace) -> Result<Node, Stop> {
    Ok(match place {
        NodePlace::Node(config) => Node::new(config.label(), Arc::new(Remote::new(config)?)),
        NodePlace::Server(config) => Node::new(config.label(), Arc::new(Upstream::new(config)?)),
    })
}
