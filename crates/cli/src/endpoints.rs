//! The file that names endpoints: a TOML table for each. `endpoint` defines what an endpoint is.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize as _;
use thinking::names::nearest;

use crate::endpoint::Endpoint;

/// Endpoints by their names: a TOML file with a table `[NAME]` for each.
#[derive(Debug, Clone)]
pub struct Endpoints {
    file: String,
    known: BTreeMap<String, Vec<Endpoint>>,
}

/// A file of endpoints that is invalid, or lacks the name that was asked for. One line.
#[derive(Debug, thiserror::Error)]
#[error("the endpoints file {file}: {why}")]
pub(crate) struct EndpointsError {
    file: String,
    why: String,
}

impl Endpoints {
    /// Reads endpoints from the tables of a file.
    ///
    /// What is wrong with each of them, with the endpoint's name.
    pub fn of(file: &Path, tables: toml::Table) -> Result<Self, Vec<(String, String)>> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let (mut known, mut faults) = (BTreeMap::new(), Vec::new());
        for (name, value) in tables {
            match endpoints(value) {
                Ok(mut endpoints) => {
                    endpoints.iter_mut().for_each(|endpoint| endpoint.relative_to(folder));
                    known.insert(name, endpoints);
                }
                Err(why) => faults.push((name, why)),
            }
        }
        let file = file.display().to_string();
        if faults.is_empty() { Ok(Endpoints { file, known }) } else { Err(faults) }
    }

    /// Reads a file of endpoints.
    ///
    /// When it cannot be read, is not TOML, or an endpoint is incomplete or invalid.
    pub(crate) fn read(path: &Path) -> Result<Endpoints, EndpointsError> {
        let text = fs::read_to_string(path).map_err(|why| EndpointsError {
            file: path.display().to_string(),
            why: format!("{why}; give --endpoints a readable TOML file"),
        })?;
        Endpoints::parse(path, &text)
    }

    /// Returns the error that these endpoints do not fit together.
    pub(crate) fn fault(&self, why: String) -> EndpointsError {
        EndpointsError { file: self.file.clone(), why }
    }

    /// Returns the endpoints with this name, at least one.
    ///
    /// When there is none of this name.
    pub(crate) fn get(&self, name: &str) -> Result<&[Endpoint], EndpointsError> {
        self.known.get(name).map(Vec::as_slice).ok_or_else(|| {
            let names: Vec<&str> = self.known.keys().map(String::as_str).collect();
            let why = match nearest(name, &names) {
                "" => format!("it is empty: write a table [{name}] with an address"),
                near => {
                    format!("it has no {name:?}: write @{near}; it has {}", names.join(", "))
                }
            };
            self.fault(why)
        })
    }

    fn parse(file: &Path, text: &str) -> Result<Endpoints, EndpointsError> {
        let bad = |why: String| EndpointsError { file: file.display().to_string(), why };
        let text = text.trim_start_matches('\u{feff}');
        let tables: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let (line, why) = (line_of(text, &error), error.message());
            bad(format!("line {line}: {why}; write tables as shown in docs/ask.md"))
        })?;
        Endpoints::of(file, tables).map_err(|faults| {
            let first = faults.into_iter().next();
            bad(first.map(|(name, why)| format!("endpoint {name:?}: {why}")).unwrap_or_default())
        })
    }
}

/// Reads the endpoints of a table, one for each address. An error says what is wrong and how to fix it.
fn endpoints(value: toml::Value) -> Result<Vec<Endpoint>, String> {
    let Some(toml::Value::Array(addresses)) = value.get("address") else {
        return endpoint(value).map(|endpoint| vec![endpoint]);
    };
    if addresses.is_empty() {
        return Err("its list of addresses is empty: write at least one".to_owned());
    }
    let at = |address: &toml::Value| {
        let mut one = value.clone();
        one.as_table_mut()?.insert("address".to_owned(), address.clone());
        Some(endpoint(one))
    };
    addresses.iter().filter_map(at).collect()
}

/// Reads a table with one address. An error says what is wrong and how to fix it.
fn endpoint(value: toml::Value) -> Result<Endpoint, String> {
    let toml::Value::Table(table) = &value else {
        return Err("it is not a table: write [NAME] above its keys".to_owned());
    };
    let known = |key: &&String| Endpoint::KEYS.contains(&key.as_str());
    if let Some(key) = table.keys().find(|key| !known(key)) {
        let near = nearest(key, &Endpoint::KEYS);
        return Err(format!("{key:?} is not a key of an endpoint: write {near}"));
    }
    if !table.contains_key("address") {
        return Err("it has no address: write address = \"http://HOST:PORT\"".to_owned());
    }
    let wrong = |error: toml::de::Error| {
        // The second line of the error names the key.
        let why = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{why}; correct it as shown in docs/ask.md")
    };
    let endpoint = Endpoint::deserialize(value).map_err(wrong)?;
    if let Some((key, price)) = endpoint.price.and_then(|price| price.out_of_range()) {
        return Err(format!("price.{key} is {price}: a price must be 0 or more"));
    }
    if let Some(weight) = endpoint.weight.filter(|weight| !(*weight > 0.0 && weight.is_finite())) {
        return Err(format!("weight is {weight}: a weight must be a number over 0"));
    }
    endpoint.check_kind()?;
    match (&endpoint.client_cert, &endpoint.client_key) {
        (Some(_), None) => Err("client-cert needs its key: write client-key too".to_owned()),
        (None, Some(_)) => {
            Err("client-key needs its certificate: write client-cert too".to_owned())
        }
        _ => Ok(endpoint),
    }
}

/// Returns the line of an error, counted from 1.
fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let begin = error.span().map_or(0, |span| span.start);
    text.bytes().take(begin).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use error_lines::lines;
    use hub::TokenizerPlace;
    use thinking::policy::ModelPrices;
    use upstream::ServerKind;

    use super::*;
    use crate::endpoint::{EndpointAddress, EndpointKind, NodeWay};

    fn parse(text: &str) -> Result<Endpoints, EndpointsError> {
        Endpoints::parse(Path::new("/etc/specthink/nodes.toml"), text)
    }

    const SERVER: &str = "\"openai+http://h:1/v1\"";
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
        let folder = PathBuf::from("/etc/specthink");
        let at = |address: &str| Endpoint {
            folder: folder.clone(),
            ..Endpoint::at(address.parse().unwrap())
        };
        let laptop = at("http://127.0.0.1:7101");
        assert_eq!(endpoints.get("laptop").unwrap(), std::slice::from_ref(&laptop));
        assert!(!laptop.is_secured());
        let path = |path: &str| Some(PathBuf::from(path));
        let gpu = Endpoint {
            kind: Some(EndpointKind::Node),
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
            ..at("https://gpu.example.org:7102")
        };
        assert_eq!(endpoints.get("gpu").unwrap(), std::slice::from_ref(&gpu));
        assert!(gpu.is_secured());
    }

    #[test]
    fn a_name_may_have_several_addresses() {
        let text = "[gpus]\naddress = [\"h:1\", \"dns+https://nodes:2\"]\nweight = 2\n";
        let endpoints = parse(text).unwrap();
        let [one, many] = endpoints.get("gpus").unwrap() else { panic!("{endpoints:?}") };
        assert_eq!(one.address, "http://h:1".parse().unwrap());
        let name = EndpointAddress::Name("https://nodes:2".parse().unwrap());
        assert_eq!((&many.address, many.weight), (&name, Some(2.0)));
        for (address, words) in
            [("[]", "is empty"), ("[\"h\"]", "names no port"), ("[3]", "integer")]
        {
            let line = parse(&format!("[gpus]\naddress = {address}\n")).unwrap_err().to_string();
            assert!(line.contains(words), "{line}");
        }
    }

    #[test]
    fn every_key_is_known_and_says_something_about_security_or_what_the_node_is() {
        for key in Endpoint::KEYS {
            let value = match key {
                "address" => SERVER,
                "kind" => "\"vllm\"",
                "price" => PRICE,
                "insecure" | "lenient" | "keep-warm" => "true",
                "context-tokens" => "4096",
                "weight" => "2.5",
                "review" => "\"full\"",
                _ => "\"file\"",
            };
            let mut text = format!("[n]\n{key} = {value}\n");
            for (one, other) in
                [("client-cert", "client-key"), ("client-key", "client-cert"), ("", "address")]
            {
                if key == one || (one.is_empty() && key != other) {
                    text += &format!("{other} = {SERVER}\n");
                }
            }
            let endpoints = parse(&text).unwrap();
            let is_secured = ["token-file", "ca", "client-cert", "client-key", "insecure"];
            let is_secured = is_secured.contains(&key);
            assert_eq!(endpoints.get("n").unwrap()[0].is_secured(), is_secured, "{key}");
        }
    }

    #[test]
    fn a_wrong_file_is_one_line_with_the_endpoint_and_how_to_fix_it() {
        let node = "[gpu]\naddress = \"h:1\"\n";
        let faults = [
            format!("{node}token_file = \"x\""),
            format!("{node}tls-ca = \"x\""),
            format!("{node}ca = 3"),
            format!("{node}insecure = \"yes\""),
            format!("{node}kind = \"server\""),
            format!("{node}kind = \"vllm\""),
            format!("{node}lenient = true"),
            format!("{node}review = \"full\""),
            format!("{node}review = \"all\""),
            format!("[gpu]\naddress = {SERVER}\nkind = \"node\""),
            "[gpu]\naddress = \"openai+http://h:1/x\"".to_owned(),
            format!("{node}client-cert = \"x\""),
            format!("{node}client-key = \"x\""),
            format!("{node}price = 3"),
            format!("{node}price = {}", PRICE.replace("=2", "=-2")),
            format!("{node}weight = 0"),
            format!("{node}ca = "),
            "[gpu]\nca = \"x\"".to_owned(),
            "[gpu]\naddress = \"h\"".to_owned(),
            "[gpu]\naddress = []".to_owned(),
            "gpu = \"h:1\"".to_owned(),
        ]
        .map(|text| parse(&text).unwrap_err());
        insta::assert_snapshot!(lines(faults));
    }

    #[test]
    fn a_name_that_the_file_does_not_have_is_one_line_with_the_nearest() {
        let missing = |text: &str| parse(text).unwrap().get("gpus").unwrap_err();
        insta::assert_snapshot!(lines([missing("[gpu]\naddress = \"h:1\"\n"), missing("")]));
    }

    #[test]
    fn a_servers_table_says_how_it_is_asked() {
        let text = r#"
            [big]
            address = "openai+https://api.example.org/v1"
            kind = "completions"
            model = "big-32b"
            tokenizer = "owner/big"
            context-tokens = 4096
            lenient = true
            review = "full"
        "#;
        let endpoints = parse(text).unwrap();
        let place = endpoints.get("big").unwrap()[0].place(1, Duration::from_secs(60), None);
        let NodeWay::Server(server, tokenizer) = place.unwrap().way else {
            panic!("it is a server")
        };
        assert_eq!(server.address.to_string(), "openai+https://api.example.org/v1");
        assert_eq!(server.kind, Some(ServerKind::Completions));
        assert_eq!(server.model.as_deref(), Some("big-32b"));
        let name = TokenizerPlace::Name("owner/big".parse().unwrap());
        assert_eq!(tokenizer, Some(name));
        assert_eq!((server.context_tokens, server.lenient), (Some(4096), true));
        assert!(server.reviews_in_full);
        assert_eq!(server.silence, Duration::from_secs(60));
    }

    #[test]
    fn a_tokenizer_is_a_path_from_the_files_folder_or_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big/tokenizer.json");
        std::fs::create_dir(folder.path().join("big")).unwrap();
        std::fs::write(&path, "{}").unwrap();
        let tokenizer = |text: &str| {
            let text = format!("[n]\naddress = {SERVER}\ntokenizer = \"{text}\"\n");
            let file = folder.path().join("nodes.toml");
            let endpoints = Endpoints::parse(&file, &text).unwrap();
            let place = endpoints.get("n").unwrap()[0].place(1, Duration::from_secs(60), None);
            match place.map(|place| place.way) {
                Ok(NodeWay::Server(_, tokenizer)) => Ok(tokenizer.unwrap()),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.to_string()),
            }
        };
        assert_eq!(tokenizer("big/tokenizer.json"), Ok(TokenizerPlace::Path(path)));
        let name = TokenizerPlace::Name("owner/big@v2".parse().unwrap());
        assert_eq!(tokenizer("owner/big@v2"), Ok(name));
        let line = tokenizer("other/tokenizer.json").unwrap_err();
        let words = "the tokenizer of openai+http://h:1/v1: 'other/tokenizer.json' is neither an existing file";
        assert!(line.starts_with(words), "{line}");
    }

    #[test]
    fn text_is_read_ahead_unless_prompts_cost_money_or_the_table_says_otherwise() {
        let free = PRICE.replace("input_per_million=1", "input_per_million=0");
        for (keys, keep_warm) in [
            (String::new(), None),
            ("keep-warm = false".to_owned(), Some(false)),
            (format!("price = {PRICE}"), Some(false)),
            (format!("price = {free}"), None),
            (format!("price = {PRICE}\nkeep-warm = true"), Some(true)),
        ] {
            let endpoints = parse(&format!("[n]\naddress = {SERVER}\n{keys}\n")).unwrap();
            let place = endpoints.get("n").unwrap()[0].place(1, Duration::from_secs(60), None);
            let NodeWay::Server(server, _) = place.unwrap().way else { panic!("it is a server") };
            assert_eq!(server.keep_warm, keep_warm, "{keys}");
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_and_all() {
        let two = "[gpu]\naddress = \"h:1\"\n[laptop]\naddress = \"h:2\"\n";
        let line = parse(two).unwrap().get("labtop").unwrap_err().to_string();
        let said = "the endpoints file /etc/specthink/nodes.toml: it has no \"labtop\": write @laptop; it has gpu, \
             laptop";
        assert_eq!(line, said);
        let line = parse("").unwrap().get("gpu").unwrap_err().to_string();
        assert!(line.contains("it is empty: write a table [gpu]"), "{line}");
    }
}
