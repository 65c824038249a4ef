//! Where the nodes are: the named ones, those at the usual addresses, or the built-in pair; and which node is shown
//! which secret.

use std::{
    ffi::OsStr,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pair::{Builtin, BuiltinNodes};
use pool::Hedging;
use reload::Reloaded;
use thinking::policy::Role;
use transport::Token;

use crate::{
    args::{NamedNode, NodesArgs, SecurityArgs},
    builtin,
    endpoint::{Endpoint, EndpointAddress, NodePlace},
    endpoints::Endpoints,
    exit::{CliError, Exit},
};

/// Where a small node listens by default.
pub const DEFAULT_SMALL: &str = "http://127.0.0.1:7101";
/// Where a large node listens by default.
pub const DEFAULT_LARGE: &str = "http://127.0.0.1:7102";
/// The variable that holds the token if no file is given.
const TOKEN_VARIABLE: &str = "SPECTHINK_TOKEN";

/// Where the nodes are, and how they are reached.
pub struct NodeEndpoints {
    /// The small nodes, in order.
    pub small: Vec<NodePlace>,
    /// The large nodes, in order; empty if the policy does not use any.
    pub large: Vec<NodePlace>,
    /// Where the addresses come from; keeps the built-in pair running.
    pub source: EndpointSource,
    /// Reports which small and which large nodes there are now, if a file names them.
    pub(crate) renewals: [Option<Renewal>; 2],
    /// When a second large node is asked for a takeover.
    pub(crate) hedging: Option<Hedging>,
}

/// Returns which nodes there are now, or `None` if nothing has changed.
pub(crate) type Renewal = Box<dyn Fn() -> Result<Option<Vec<NodePlace>>, CliError> + Send + Sync>;

impl NodeEndpoints {
    /// Resolves the named nodes, the built-in pair, or those at the usual addresses. Starts the pair; does not connect
    /// yet.
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
            let small = vec![place(&pair.small, nodes.small_timeout)?];
            let large = pair.large.iter().map(|url| place(url, nodes.large_timeout));
            let large = large.collect::<Result<_, _>>()?;
            let banner = builtin::banner(builtin);
            let source = EndpointSource::Builtin { _pair: pair, banner };
            return Ok(NodeEndpoints::of(small, large, source));
        }
        let named = &nodes.named;
        let source = match (named.small.is_empty(), named.large.is_empty()) {
            (false, _) => EndpointSource::Named,
            (true, false) => EndpointSource::SmallUsual,
            (true, true) => EndpointSource::Usual,
        };
        let reach = Reach { endpoints: nodes.endpoints()?, nodes, security, wants_large };
        let (small, large) = (reach.places(Role::Small)?, reach.places(Role::Large)?);
        let renewals = [Role::Small, Role::Large].map(|role| reach.renewal(role));
        Ok(NodeEndpoints { small, large, source, renewals, hedging: nodes.hedge })
    }

    /// Returns nodes that were named elsewhere.
    pub fn of(small: Vec<NodePlace>, large: Vec<NodePlace>, source: EndpointSource) -> Self {
        NodeEndpoints { small, large, source, renewals: [None, None], hedging: None }
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
    /// The user named none: the nodes run in this process.
    Builtin {
        /// Stops them when it is dropped.
        _pair: BuiltinNodes,
        /// The note to print.
        banner: String,
    },
}

impl EndpointSource {
    /// Prints a note if the built-in pair answers.
    pub fn announce(&self) {
        if let EndpointSource::Builtin { banner, .. } = self {
            note(banner);
        }
    }
}

/// How nodes outside this process are reached.
struct Reach<'a> {
    /// What names mean.
    endpoints: Option<Endpoints>,
    nodes: &'a NodesArgs,
    security: &'a SecurityArgs,
    wants_large: bool,
}

impl Reach<'_> {
    /// Returns the nodes of a part, in the order in which they are named.
    fn places(&self, role: Role) -> Result<Vec<NodePlace>, CliError> {
        let named = &self.nodes.named;
        let (named, usual, patience) = match role {
            Role::Small => (&named.small, DEFAULT_SMALL, self.nodes.small_timeout),
            Role::Large if !self.wants_large => return Ok(Vec::new()),
            Role::Large => (&named.large, DEFAULT_LARGE, self.nodes.large_timeout),
        };
        let usual = named.is_empty().then(|| NamedNode::from(usual.to_owned()));
        // The shared secret is for one node only: the first large one, or the first small one if no large one is used.
        let has_large = self.wants_large || !self.nodes.named.large.is_empty();
        let takes_shared = role == Role::Large || !has_large;
        let mut places = Vec::new();
        for node in named.iter().chain(&usual) {
            for endpoint in self.endpoints_of(&node.place)? {
                let takes_shared = takes_shared && places.is_empty();
                places.push(self.place(node, endpoint, takes_shared, patience)?);
            }
        }
        Ok(places)
    }

    /// Returns what reports which nodes of a part there are now, if a file names any.
    fn renewal(&self, role: Role) -> Option<Renewal> {
        let named = match role {
            Role::Small => &self.nodes.named.small,
            Role::Large => &self.nodes.named.large,
        };
        let (path, endpoints) = (self.nodes.endpoints.clone()?, self.endpoints.clone()?);
        if !named.iter().any(|node| node.place.starts_with('@')) {
            return None;
        }
        let (what, files) = (format!("the endpoints file {}", path.display()), vec![path.clone()]);
        let endpoints = Reloaded::new(what, files, endpoints, move || Endpoints::read(&path));
        let (nodes, security) = (self.nodes.clone(), self.security.clone());
        let (seen, wants_large) = (Mutex::new(endpoints.current()), self.wants_large);
        Some(Box::new(move || {
            let current = endpoints.current();
            let seen = std::mem::replace(
                &mut *seen.lock().unwrap_or_else(PoisonError::into_inner),
                Arc::clone(&current),
            );
            if Arc::ptr_eq(&seen, &current) {
                return Ok(None);
            }
            let endpoints = Some(Endpoints::clone(&current));
            let reach = Reach { endpoints, nodes: &nodes, security: &security, wants_large };
            reach.places(role).map(Some)
        }))
    }

    /// Returns how to reach a node. The shared token of `--token-file` or the variable is only for a node with
    /// `takes_shared_token`.
    fn place(
        &self,
        node: &NamedNode,
        mut endpoint: Endpoint,
        takes_shared_token: bool,
        patience: Duration,
    ) -> Result<NodePlace, CliError> {
        let security = self.security;
        // If the table says how the node is secured, the flags about security do not apply.
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
                "--token-file is for {}, which has security settings of its own, so no node is shown the token: leave \
                 it out, or give it to a node with --small-token-file or --large-token-file after that node",
                node.place
            ));
        }
        let is_in_variable = is_shown && endpoint.token_file.is_none();
        let token = if is_in_variable { token_of_variable()? } else { None };
        endpoint.place(security.max_message_bytes, patience, token)
    }

    /// Returns the endpoints that an address or `@NAME` means.
    fn endpoints_of(&self, place: &str) -> Result<Vec<Endpoint>, CliError> {
        match (place.strip_prefix('@'), &self.endpoints) {
            (None, _) => Ok(vec![Endpoint::at(parsed(place)?)]),
            (Some(name), Some(endpoints)) => Ok(endpoints.get(name)?.to_vec()),
            (Some(_), None) => {
                let message =
                    format!("{place} is a name, and nothing defines it: give --endpoints FILE too");
                Err(CliError::new(Exit::Usage, message))
            }
        }
    }
}

fn note(text: &str) {
    // Standard error may be closed; that does not affect the answer.
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

fn parsed(address: &str) -> Result<EndpointAddress, CliError> {
    address.parse().map_err(|error| CliError::new(Exit::Usage, error))
}

fn token_of_variable() -> Result<Option<Token>, CliError> {
    token_in(&std::env::var_os(TOKEN_VARIABLE).unwrap_or_default())
}

/// Returns the token in the variable's value. A value that is not Unicode is an error, not a missing token.
fn token_in(value: &OsStr) -> Result<Option<Token>, CliError> {
    let text = value.to_string_lossy();
    let token = (!text.is_empty()).then(|| Token::new(&text)).transpose();
    token.map_err(|error| {
        CliError::new(Exit::Credentials, format!("the variable {TOKEN_VARIABLE}: {error}"))
    })
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
