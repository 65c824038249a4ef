//! One endpoint: where a node or a server is, and how it is reached. The file that names endpoints is in `endpoints`;
//! `node_endpoints` decides which node is shown the secret of `--token-file`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use hub::TokenizerPlace;
use pool::MemberTerms;
use serde::{Deserialize, Deserializer, de::Error as _};
use thinking::policy::ModelPrices;
use transport::{Address, AddressError, ClientTls, RemoteConfig, Token};
use upstream::{ApiKey, ServerKind, UpstreamAddress, UpstreamAddressError, UpstreamConfig};

use crate::exit::{CliError, Exit};

/// Where an endpoint is. The beginning of an address says what kind of endpoint it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum EndpointAddress {
    /// A node of this project, over gRPC.
    Node(Address),
    /// Nodes of this project, at every address of a DNS name, which is looked up again and again.
    Name(Address),
    /// A server with OpenAI's completions API, over HTTP.
    Server(UpstreamAddress),
}

/// The prefixes of an address that means every address of a name, and the scheme of each of those addresses.
const NAMES: [(&str, &str); 2] = [("dns://", "http://"), ("dns+https://", "https://")];

impl FromStr for EndpointAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if UpstreamAddress::is_meant(text) {
            let address = text.parse().map_err(|error: UpstreamAddressError| error.to_string());
            return address.map(EndpointAddress::Server);
        }
        let parsed = |text: &str| text.parse().map_err(|error: AddressError| error.to_string());
        let named =
            NAMES.iter().find_map(|(begin, scheme)| Some((scheme, text.strip_prefix(begin)?)));
        match named {
            Some((scheme, name)) => parsed(&format!("{scheme}{name}")).map(EndpointAddress::Name),
            None => parsed(text).map(EndpointAddress::Node),
        }
    }
}

/// What is at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndpointKind {
    /// A node of this project.
    Node,
    /// A server of this kind.
    Server(ServerKind),
}

impl FromStr for EndpointKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "node" => Ok(EndpointKind::Node),
            text => {
                let kind = text.parse().map(EndpointKind::Server);
                kind.map_err(|why: String| format!("{why}, and node"))
            }
        }
    }
}

/// How a node or a server is reached, and the endpoint that says so.
#[derive(Debug, Clone)]
pub struct NodePlace {
    /// How it is reached.
    pub way: NodeWay,
    /// The endpoint that it was made from.
    endpoint: Endpoint,
}

/// How a node or a server is reached.
#[derive(Debug, Clone)]
pub enum NodeWay {
    /// A node of this project.
    Node(RemoteConfig),
    /// Nodes of this project, at every address of a DNS name.
    Name(RemoteConfig),
    /// A third-party server, and where its model's tokenizer is, which may have to be downloaded first.
    Server(UpstreamConfig, Option<TokenizerPlace>),
}

/// Where a node or a server is, and how it is reached.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Endpoint {
    /// Its address.
    #[serde(deserialize_with = "parsed")]
    pub(crate) address: EndpointAddress,
    /// What is there. Absent: the address decides, and a server is asked what it is.
    #[serde(default, deserialize_with = "some_parsed")]
    pub(crate) kind: Option<EndpointKind>,
    /// A name for people, shown beside its address.
    pub(crate) name: Option<String>,
    /// The model that a node must serve, or that a server is asked for. Absent: any model, or the server's only one.
    pub(crate) model: Option<String>,
    /// The tokenizer of a server's model: `tokenizer.json`, the folder that holds it, or the name of a repository.
    pub(crate) tokenizer: Option<String>,
    /// The longest session in tokens, if a server does not report it.
    pub(crate) context_tokens: Option<u32>,
    /// Leave out sampling parameters that a server does not know. Absent: refuse them.
    pub(crate) lenient: Option<bool>,
    /// Have a server prefill the other side's text ahead of time. Absent: unless its prompts cost money.
    pub(crate) keep_warm: Option<bool>,
    /// Allow a review by a server that computes the whole text for each paragraph. Absent: only if less will do.
    pub(crate) review: Option<ReviewExtent>,
    /// What its tokens cost.
    pub(crate) price: Option<ModelPrices>,
    /// Among nodes that are equally quick and cost the same, the one with the greatest weight is chosen. Absent: 1.
    pub(crate) weight: Option<f64>,
    /// The file with the token for the node.
    pub(crate) token_file: Option<PathBuf>,
    /// The authority that signed the node's certificate (PEM). Absent: those that the system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate (PEM), for a node that asks for one.
    pub(crate) client_cert: Option<PathBuf>,
    /// The private key of the client's certificate (PEM).
    pub(crate) client_key: Option<PathBuf>,
    /// Allow plain text to another machine, including the token. Absent: no.
    pub(crate) insecure: Option<bool>,
    /// The folder of the file that defines it.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
}

/// How much a server may compute for a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReviewExtent {
    /// The whole text for each paragraph.
    Full,
}

impl NodePlace {
    /// Returns how to reach the node, or `None` for a server or for a name with several addresses.
    pub fn node(&self) -> Option<&RemoteConfig> {
        match &self.way {
            NodeWay::Node(config) => Some(config),
            NodeWay::Name(_) | NodeWay::Server(..) => None,
        }
    }

    /// Returns what decides between it and others that are equally quick: the price of a token read and of a token
    /// written, and its weight.
    pub(crate) fn terms(&self) -> MemberTerms {
        let Endpoint { price, weight, .. } = &self.endpoint;
        let price = price.map_or(0.0, |it| it.input_per_million + it.output_per_million);
        MemberTerms { price, weight: weight.unwrap_or(1.0) }
    }

    /// Returns whether it is reached in the same way as another one of the same name.
    pub(crate) fn is_same(&self, other: &NodePlace) -> bool {
        self.endpoint == other.endpoint
    }

    /// Returns whether it means every address of a name.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.way, NodeWay::Name(_))
    }

    /// Returns the nodes at these addresses of its name; empty if it is not a name.
    pub(crate) fn at_each(&self, addresses: Vec<SocketAddr>) -> Vec<NodePlace> {
        let NodeWay::Name(config) = &self.way else { return Vec::new() };
        let at = |address| NodePlace { way: NodeWay::Node(config.at(address)), ..self.clone() };
        addresses.into_iter().map(at).collect()
    }

    /// Returns what to call it in messages.
    pub fn label(&self) -> String {
        match &self.way {
            NodeWay::Node(config) | NodeWay::Name(config) => config.label(),
            NodeWay::Server(config, _) => config.label(),
        }
    }
}

impl Endpoint {
    /// The keys of an endpoint's table.
    pub(crate) const KEYS: [&str; 16] = [
        "address",
        "kind",
        "name",
        "model",
        "tokenizer",
        "context-tokens",
        "lenient",
        "keep-warm",
        "review",
        "price",
        "weight",
        "token-file",
        "ca",
        "client-cert",
        "client-key",
        "insecure",
    ];

    /// Returns an endpoint with only an address.
    pub(crate) fn at(address: EndpointAddress) -> Self {
        Endpoint {
            address,
            kind: None,
            name: None,
            model: None,
            tokenizer: None,
            context_tokens: None,
            lenient: None,
            keep_warm: None,
            review: None,
            price: None,
            weight: None,
            token_file: None,
            ca: None,
            client_cert: None,
            client_key: None,
            insecure: None,
            folder: PathBuf::new(),
        }
    }

    /// Returns whether it says anything about security.
    pub(crate) fn is_secured(&self) -> bool {
        self.files().into_iter().any(|file| file.is_some()) || self.insecure.is_some()
    }

    /// Returns how to reach it. A connection is given up after `patience` of silence, but not earlier than the
    /// transport's own limit. Reads the token's file; without one, `shared_token` is shown.
    ///
    /// # Errors
    /// When that file cannot be read or holds no token.
    pub(crate) fn place(
        &self,
        max_message_bytes: u64,
        patience: Duration,
        shared_token: Option<Token>,
    ) -> Result<NodePlace, CliError> {
        let token = self.token_file.as_deref().map(Token::from_file).transpose();
        let token =
            token.map_err(|error| CliError::new(Exit::Credentials, error))?.or(shared_token);
        let node = |address: &Address, token| {
            let mut config = RemoteConfig::new(address.clone());
            config.max_message_bytes = usize::try_from(max_message_bytes).unwrap_or(usize::MAX);
            config.token = token;
            self.node(config, patience)
        };
        let way = match &self.address {
            EndpointAddress::Node(address) => NodeWay::Node(node(address, token)),
            EndpointAddress::Name(address) => NodeWay::Name(node(address, token)),
            EndpointAddress::Server(address) => {
                let mut config = UpstreamConfig::new(address.clone());
                config.key = token.map(|token| ApiKey::new(&token.reveal()));
                NodeWay::Server(self.server(config, patience)?, self.tokenizer_place(address)?)
            }
        };
        Ok(NodePlace { way, endpoint: self.clone() })
    }

    fn node(&self, mut config: RemoteConfig, patience: Duration) -> RemoteConfig {
        config.silence = config.silence.max(patience);
        config.name = self.name.clone();
        config.model = self.model.clone();
        config.tls = ClientTls {
            ca: self.ca.clone(),
            identity: self.client_cert.clone().zip(self.client_key.clone()),
        };
        config.insecure = self.insecure.unwrap_or(false);
        config
    }

    fn server(
        &self,
        mut config: UpstreamConfig,
        patience: Duration,
    ) -> Result<UpstreamConfig, CliError> {
        if self.client_cert.is_some() {
            let why = "it is a server, and a client certificate is shown to nodes only";
            let message = format!("{}: {why}: leave the certificate out", config.address);
            return Err(CliError::new(Exit::Usage, message));
        }
        config.silence = config.silence.max(patience);
        config.name = self.name.clone();
        config.model = self.model.clone();
        config.kind = match self.kind {
            Some(EndpointKind::Server(kind)) => Some(kind),
            Some(EndpointKind::Node) | None => None,
        };
        config.context_tokens = self.context_tokens;
        config.lenient = self.lenient.unwrap_or(false);
        let costs_money = self.price.is_some_and(|price| price.input_per_million > 0.0);
        config.keep_warm = self.keep_warm.or(costs_money.then_some(false));
        config.reviews_in_full = self.review.is_some();
        config.ca = self.ca.clone();
        config.insecure = self.insecure.unwrap_or(false);
        Ok(config)
    }

    /// Returns where the tokenizer of a server's model is.
    fn tokenizer_place(
        &self,
        server: &UpstreamAddress,
    ) -> Result<Option<TokenizerPlace>, CliError> {
        let place = self.tokenizer.as_ref().map(|text| TokenizerPlace::new(text, &self.folder));
        place.transpose().map_err(|error| {
            CliError::new(Exit::Usage, format!("the tokenizer of {server}: {error}"))
        })
    }

    /// Checks that a node has no keys that are for servers, and the other way round.
    pub(crate) fn check_kind(&self) -> Result<(), String> {
        let only_servers = [
            ("tokenizer", self.tokenizer.is_some()),
            ("context-tokens", self.context_tokens.is_some()),
            ("lenient", self.lenient.is_some()),
            ("keep-warm", self.keep_warm.is_some()),
            ("review", self.review.is_some()),
            ("kind", matches!(self.kind, Some(EndpointKind::Server(_)))),
        ];
        let of_server = only_servers.into_iter().find(|(_, given)| *given);
        match (&self.address, of_server) {
            (EndpointAddress::Node(_) | EndpointAddress::Name(_), Some((key, _))) => Err(format!(
                "{key} is for a server, but the address is a node's: write openai+ before the address of a server"
            )),
            (EndpointAddress::Server(_), _) if self.kind == Some(EndpointKind::Node) => {
                Err("its address is a server's, but its kind is node: leave out kind".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn files(&self) -> [Option<&PathBuf>; 4] {
        [&self.token_file, &self.ca, &self.client_cert, &self.client_key].map(Option::as_ref)
    }

    /// Makes the paths relative to the folder of the file that they are in.
    pub(crate) fn relative_to(&mut self, folder: &Path) {
        let files =
            [&mut self.token_file, &mut self.ca, &mut self.client_cert, &mut self.client_key];
        for path in files.into_iter().flatten() {
            *path = folder.join(&path);
        }
        self.folder = folder.to_owned();
    }
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn some_parsed<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    parsed(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_be_silent_for_as_long_as_its_timeout_says() {
        let node = Endpoint::at("127.0.0.1:7101".parse().unwrap());
        let silence = |patience| {
            let place = node.place(1, Duration::from_secs(patience), None).unwrap();
            place.node().unwrap().silence
        };
        assert_eq!(silence(120), Duration::from_secs(120));
        assert_eq!(silence(1), silence(2), "heartbeats must have time to come");
    }
}
