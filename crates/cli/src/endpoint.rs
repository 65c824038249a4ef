//! Where a node is and how it is reached, as one value; and the file that gives such values names. Which node is
//! shown the secret of `--token-file` is decided in `node_endpoints`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};
use thinking::{
    names::nearest,
    policy::{ModelPrices, TokenPrices},
};
use transport::{Address, ClientTls, RemoteConfig, Token};

use crate::{
    args::{NamedNode, NodesArgs},
    exit::{CliError, Exit},
};

/// What speaks at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EndpointKind {
    /// A node of this project, over gRPC.
    #[default]
    Node,
}

/// Where a node is, and how it is reached.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Endpoint {
    /// Its address.
    #[serde(deserialize_with = "address")]
    pub(crate) address: Address,
    /// What speaks there.
    #[serde(default)]
    pub(crate) kind: EndpointKind,
    /// What people call it, beside its address.
    pub(crate) name: Option<String>,
    /// The model that it must serve. Absent: any.
    pub(crate) model: Option<String>,
    /// What its tokens cost.
    pub(crate) price: Option<ModelPrices>,
    /// The file with the token that the node asks for.
    pub(crate) token_file: Option<PathBuf>,
    /// The authority that signed the node's certificate (PEM); absent: those that the system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// Our certificate (PEM), for a node that asks for one.
    pub(crate) client_cert: Option<PathBuf>,
    /// The private key of our certificate (PEM).
    pub(crate) client_key: Option<PathBuf>,
    /// Allow plain text, the token too, to another machine. Absent: no.
    pub(crate) insecure: Option<bool>,
}

impl Endpoint {
    /// The keys of an endpoint's table.
    const KEYS: [&str; 10] = [
        "address",
        "kind",
        "name",
        "model",
        "price",
        "token-file",
        "ca",
        "client-cert",
        "client-key",
        "insecure",
    ];

    /// An address, without credentials.
    pub(crate) fn at(address: Address) -> Self {
        Endpoint {
            address,
            kind: EndpointKind::Node,
            name: None,
            model: None,
            price: None,
            token_file: None,
            ca: None,
            client_cert: None,
            client_key: None,
            insecure: None,
        }
    }

    /// Whether it says anything about security.
    pub(crate) fn is_secured(&self) -> bool {
        self.files().into_iter().any(|file| file.is_some()) || self.insecure.is_some()
    }

    /// The connection that it describes, which gives a node up after `patience` of silence, though not before the
    /// transport would. Reads the token's file.
    ///
    /// # Errors
    /// When that file cannot be read or holds no token.
    pub(crate) fn remote(
        &self,
        max_message_bytes: u64,
        patience: Duration,
    ) -> Result<RemoteConfig, CliError> {
        let mut config = match self.kind {
            EndpointKind::Node => RemoteConfig::new(self.address.clone()),
        };
        config.silence = config.silence.max(patience);
        config.name = self.name.clone();
        config.model = self.model.clone();
        config.max_message_bytes = usize::try_from(max_message_bytes).unwrap_or(usize::MAX);
        config.tls = ClientTls {
            ca: self.ca.clone(),
            identity: self.client_cert.clone().zip(self.client_key.clone()),
        };
        let token = self.token_file.as_deref().map(Token::from_file).transpose();
        config.token = token.map_err(|error| CliError::new(Exit::Credentials, error))?;
        config.insecure = self.insecure.unwrap_or(false);
        Ok(config)
    }

    fn files(&self) -> [Option<&PathBuf>; 4] {
        [&self.token_file, &self.ca, &self.client_cert, &self.client_key].map(Option::as_ref)
    }

    /// Paths in a file are relative to the folder that it is in.
    fn relative_to(&mut self, folder: &Path) {
        let files =
            [&mut self.token_file, &mut self.ca, &mut self.client_cert, &mut self.client_key];
        for path in files.into_iter().flatten() {
            *path = folder.join(&path);
        }
    }
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// What tokens cost by the named nodes' endpoints: of the small nodes the first counts, and of the large ones.
///
/// # Errors
/// When the file of endpoints does not work, or only one of the two has a price.
pub(crate) fn prices(nodes: &NodesArgs) -> Result<Option<TokenPrices>, CliError> {
    let Some(path) = &nodes.endpoints else { return Ok(None) };
    let endpoints = Endpoints::read(path)?;
    let price = |node: Option<&NamedNode>| -> Result<_, EndpointsError> {
        let name = node.and_then(|node| node.place.strip_prefix('@'));
        Ok(name.map(|name| endpoints.get(name)).transpose()?.and_then(|endpoint| endpoint.price))
    };
    match (price(nodes.named.small.first())?, price(nodes.named.large.first())?) {
        (Some(small), Some(large)) => Ok(Some(TokenPrices { small, large })),
        (None, None) => Ok(None),
        (small, _) => {
            let (has, lacks) =
                if small.is_some() { ("small", "large") } else { ("large", "small") };
            let why = format!(
                "the {has} node has a price and the {lacks} one has none: write one for both, or for neither"
            );
            Err(EndpointsError { file: endpoints.file, why }.into())
        }
    }
}

/// Endpoints by their names: a TOML file with a table `[NAME]` for each.
#[derive(Debug)]
pub(crate) struct Endpoints {
    file: String,
    known: BTreeMap<String, Endpoint>,
}

/// A file of endpoints that cannot be used, or does not hold what is asked for. One line.
#[derive(Debug, thiserror::Error)]
#[error("the endpoints {file}: {why}")]
pub(crate) struct EndpointsError {
    file: String,
    why: String,
}

impl Endpoints {
    /// Reads a file of endpoints.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or an endpoint lacks something or holds something else.
    pub(crate) fn read(path: &Path) -> Result<Endpoints, EndpointsError> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|why| EndpointsError {
            file: file.clone(),
            why: format!("{why}; give --endpoints a TOML file that can be read"),
        })?;
        Endpoints::parse(file, &text, path.parent().unwrap_or(Path::new("")))
    }

    /// The endpoint with this name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn get(&self, name: &str) -> Result<&Endpoint, EndpointsError> {
        self.known.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.known.keys().map(String::as_str).collect();
            let why = match nearest(name, &names) {
                "" => format!("it is empty: write a table [{name}] with an address"),
                near => {
                    format!("no {name:?} is in it: write @{near}; it holds {}", names.join(", "))
                }
            };
            EndpointsError { file: self.file.clone(), why }
        })
    }

    fn parse(file: String, text: &str, folder: &Path) -> Result<Endpoints, EndpointsError> {
        let bad = |why: String| EndpointsError { file: file.clone(), why };
        let text = text.trim_start_matches('\u{feff}');
        let tables: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let (line, why) = (line_of(text, &error), error.message());
            bad(format!("line {line}: {why}; write tables as docs/ask.md shows them"))
        })?;
        let mut known = BTreeMap::new();
        for (name, value) in tables {
            let mut endpoint =
                endpoint(value).map_err(|why| bad(format!("endpoint {name:?}: {why}")))?;
            endpoint.relative_to(folder);
            known.insert(name, endpoint);
        }
        Ok(Endpoints { file, known })
    }
}

/// One table, or what is wrong with it and how to mend that.
fn endpoint(value: toml::Value) -> Result<Endpoint, String> {
    let toml::Value::Table(table) = &value else {
        return Err("it is no table: write [NAME] above its keys".to_owned());
    };
    let known = |key: &&String| Endpoint::KEYS.contains(&key.as_str());
    if let Some(key) = table.keys().find(|key| !known(key)) {
        let near = nearest(key, &Endpoint::KEYS);
        return Err(format!("{key:?} is no key of an endpoint: write {near}"));
    }
    if !table.contains_key("address") {
        return Err("it has no address: write address = \"http://HOST:PORT\"".to_owned());
    }
    let wrong = |error: toml::de::Error| {
        // Says in which key it is, on a second line.
        let why = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{why}; mend it as docs/ask.md shows")
    };
    let endpoint = Endpoint::deserialize(value).map_err(wrong)?;
    if let Some((key, price)) = endpoint.price.and_then(|price| price.out_of_range()) {
        return Err(format!("price.{key} is {price}, and a price is a number from 0 on"));
    }
    match (&endpoint.client_cert, &endpoint.client_key) {
        (Some(_), None) => Err("client-cert needs its key: write client-key too".to_owned()),
        (None, Some(_)) => Err("client-key is of no use alone: write client-cert too".to_owned()),
        _ => Ok(endpoint),
    }
}

/// The line that a fault is in, from 1 on.
fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let begin = error.span().map_or(0, |span| span.start);
    text.bytes().take(begin).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Endpoints, EndpointsError> {
        Endpoints::parse("nodes.toml".to_owned(), text, Path::new("/etc/specthink"))
    }

    const PRICE: &str = "{input_per_million=1, cached_input_per_million=0, output_per_million=2}";

    #[test]
    fn a_file_gives_endpoints_their_names() {
        let text = r#"
            [laptop]
            address = "127.0.0.1:7101"
            [gpu]
            address = "https://gpu.example.org:7102"
            kind = "node"
            name = "the server"
            model = "Qwen3-32B"
            price = { input_per_million = 0.1, cached_input_per_million = 0.01, output_per_million = 0.6 }
            token-file = "gpu.token"
            ca = "/ca.pem"
            client-cert = "me.pem"
            client-key = "me.key"
            insecure = false
        "#;
        let endpoints = parse(text).unwrap();
        let laptop = Endpoint::at("http://127.0.0.1:7101".parse().unwrap());
        assert_eq!(endpoints.get("laptop").unwrap(), &laptop);
        assert!(!laptop.is_secured());
        let path = |path: &str| Some(PathBuf::from(path));
        let gpu = Endpoint {
            address: "https://gpu.example.org:7102".parse().unwrap(),
            kind: EndpointKind::Node,
            name: Some("the server".to_owned()),
            model: Some("Qwen3-32B".to_owned()),
            price: Some(ModelPrices {
                input_per_million: 0.1,
                cached_input_per_million: 0.01,
                output_per_million: 0.6,
            }),
            token_file: path("/etc/specthink/gpu.token"),
            ca: path("/ca.pem"),
            client_cert: path("/etc/specthink/me.pem"),
            client_key: path("/etc/specthink/me.key"),
            insecure: Some(false),
        };
        assert_eq!(endpoints.get("gpu").unwrap(), &gpu);
        assert!(gpu.is_secured());
    }

    #[test]
    fn every_key_is_known_and_says_something_about_security_or_what_the_node_is() {
        for key in Endpoint::KEYS {
            let value = match key {
                "address" => "\"h:1\"",
                "kind" => "\"node\"",
                "price" => PRICE,
                "insecure" => "true",
                _ => "\"file\"",
            };
            let mut text = format!("[n]\n{key} = {value}\n");
            for (one, other) in
                [("client-cert", "client-key"), ("client-key", "client-cert"), ("", "address")]
            {
                if key == one || (one.is_empty() && key != other) {
                    text += &format!("{other} = \"h:1\"\n");
                }
            }
            let endpoints = parse(&text).unwrap();
            let is_secured = !["address", "kind", "name", "model", "price"].contains(&key);
            assert_eq!(endpoints.get("n").unwrap().is_secured(), is_secured, "{key}");
        }
    }

    #[test]
    fn a_wrong_file_is_one_line_with_the_endpoint_and_its_mend() {
        let node = "[gpu]\naddress = \"h:1\"\n";
        for (text, words) in [
            (
                format!("{node}token_file = \"x\""),
                &["\"gpu\"", "token_file", "write token-file"][..],
            ),
            (format!("{node}tls-ca = \"x\""), &["tls-ca", "write ca"]),
            (format!("{node}ca = 3"), &["\"gpu\"", "ca", "integer"]),
            (format!("{node}insecure = \"yes\""), &["insecure", "boolean"]),
            (format!("{node}kind = \"server\""), &["kind", "server", "node"]),
            (format!("{node}client-cert = \"x\""), &["client-key"]),
            (format!("{node}client-key = \"x\""), &["client-cert"]),
            (format!("{node}price = 3"), &["price", "integer"]),
            (
                format!("{node}price = {}", PRICE.replace("=2", "=-2")),
                &["price.output_per_million is -2"],
            ),
            (format!("{node}ca = "), &["line 3"]),
            ("[gpu]\nca = \"x\"".to_owned(), &["no address", "http://HOST:PORT"]),
            ("[gpu]\naddress = \"h\"".to_owned(), &["'h'", "names no port"]),
            ("gpu = \"h:1\"".to_owned(), &["\"gpu\"", "no table", "[NAME]"]),
        ] {
            let line = parse(&text).unwrap_err().to_string();
            assert!(line.starts_with("the endpoints nodes.toml: "), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
            for word in words {
                assert!(line.contains(word), "{word:?} is not in {line:?}");
            }
        }
    }

    #[test]
    fn a_node_may_be_silent_for_as_long_as_its_timeout_says() {
        let node = Endpoint::at("127.0.0.1:7101".parse().unwrap());
        let silence = |patience| node.remote(1, Duration::from_secs(patience)).unwrap().silence;
        assert_eq!(silence(120), Duration::from_secs(120));
        assert_eq!(silence(1), silence(2), "heartbeats must have time to come");
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_and_all() {
        let two = "[gpu]\naddress = \"h:1\"\n[laptop]\naddress = \"h:2\"\n";
        let line = parse(two).unwrap().get("labtop").unwrap_err().to_string();
        let said =
            "the endpoints nodes.toml: no \"labtop\" is in it: write @laptop; it holds gpu, laptop";
        assert_eq!(line, said);
        let line = parse("").unwrap().get("gpu").unwrap_err().to_string();
        assert!(line.contains("it is empty: write a table [gpu]"), "{line}");
    }
}
