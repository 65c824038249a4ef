//! Turns raw arguments into one validated configuration, once. Nothing is loaded, bound or downloaded here.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use engine::ModelLocation;
use hub::{Hub, ModelName, TokenizerPlace, is_revision};
use machines::{Machines, Speeds};
use thinking::thinker::ModelCard;
use transport::{ServerConfig, ServerTls, Token};
use upstream::UpstreamConfig;

use crate::{
    args::{Defaults, NodeArgs},
    builtin::EmbeddedModel,
    error::NodeError,
    hint,
};

/// A node's configuration; every value is valid.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The model.
    pub model: ModelSource,
    /// The GGUF file to use if there are several.
    pub file: Option<String>,
    /// The hub from which a named model is downloaded.
    pub hub: Hub,
    /// Where the tokenizer for a server's model is.
    pub tokenizer: Option<TokenizerPlace>,
    /// The address to listen on, `HOST:PORT`.
    pub listen: String,
    /// The address of the metrics endpoint, `HOST:PORT`; absent: none.
    pub metrics: Option<String>,
    /// The model's name as clients see it.
    pub name: Option<String>,
    /// Where to compute.
    pub device: DeviceChoice,
    /// The number type to compute safetensors in.
    pub dtype: Option<Dtype>,
    /// Longest session in tokens; absent: the model's own context.
    pub context_tokens: Option<u32>,
    /// CPU threads to compute with; absent: as the environment specifies.
    pub threads: Option<usize>,
    /// Memory for the sessions' caches; absent: the engine's default.
    pub kv_memory_bytes: Option<u64>,
    /// The machine that the node is paced to.
    pub pace: Option<Speeds>,
    /// How the model is served; the card is filled in after loading.
    pub server: ServerConfig,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// An existing file or folder.
    Path(PathBuf),
    /// A repository on the hub.
    Name(ModelName),
    /// Built into the program.
    Builtin(EmbeddedModel),
    /// In another server, which computes it.
    Upstream(Box<UpstreamConfig>),
}

impl ModelSource {
    /// Returns a short name to display.
    pub fn name(&self) -> String {
        match self {
            ModelSource::Name(name) => name.to_string(),
            ModelSource::Path(path) => ModelLocation::from(path.as_path()).name(),
            ModelSource::Builtin(model) => model.name.to_owned(),
            ModelSource::Upstream(config) => config.address.to_string(),
        }
    }
}

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
    /// An Apple GPU.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = NodeError;

    fn from_str(text: &str) -> Result<Self, NodeError> {
        let choice = match text.split_once(':') {
            None if text == "cpu" => Some(DeviceChoice::Cpu),
            None if text == "cuda" => Some(DeviceChoice::Cuda(0)),
            None if text == "metal" => Some(DeviceChoice::Metal),
            Some(("cuda", number)) => number.parse().ok().map(DeviceChoice::Cuda),
            _ => None,
        };
        choice.ok_or_else(|| {
            NodeError::Usage(format!(
                "--device '{}' is not known; use cpu, cuda, cuda:N or metal",
                text.escape_debug()
            ))
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(number) => write!(f, "cuda:{number}"),
            DeviceChoice::Metal => f.write_str("metal"),
        }
    }
}

/// The number type to compute safetensors in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// 16 bits with the range of 32.
    Bf16,
    /// 16 bits.
    F16,
}

impl FromStr for Dtype {
    type Err = NodeError;

    fn from_str(text: &str) -> Result<Self, NodeError> {
        match text {
            "f32" => Ok(Dtype::F32),
            "bf16" => Ok(Dtype::Bf16),
            "f16" => Ok(Dtype::F16),
            _ => Err(NodeError::Usage(format!(
                "--dtype '{}' is not known; use f32, bf16 or f16",
                text.escape_debug()
            ))),
        }
    }
}

impl NodeConfig {
    /// A node on a free loopback port, for this process alone: without credentials, and without the environment
    /// variables, which are meant for the programs.
    pub fn local(model: ModelSource) -> NodeConfig {
        NodeConfig {
            model,
            file: None,
            hub: Hub::from_vars(|_| None),
            tokenizer: None,
            listen: "127.0.0.1:0".to_owned(),
            metrics: None,
            name: None,
            device: DeviceChoice::Cpu,
            dtype: None,
            context_tokens: None,
            threads: None,
            kv_memory_bytes: None,
            pace: None,
            server: ServerConfig::new(ModelCard::default()),
        }
    }

    /// Validates arguments. `var` looks up an environment variable.
    ///
    /// # Errors
    /// When an argument is invalid, names something that does not exist, or contradicts another.
    pub fn new(
        defaults: &Defaults,
        args: NodeArgs,
        var: impl Fn(&str) -> Option<OsString>,
    ) -> Result<NodeConfig, NodeError> {
        let upstream = args.upstream.clone().config(&var)?;
        let tokenizer = args.upstream.tokenizer.as_deref().map(tokenizer).transpose()?;
        let model = match (upstream, &args.model) {
            (Some(mut upstream), _) => {
                upstream.card_name = args.name.clone();
                upstream.context_tokens = args.context;
                upstream.insecure = args.insecure;
                ModelSource::Upstream(Box::new(upstream))
            }
            (None, Some(text)) => model(text, args.revision)?,
            (None, None) => builtin(defaults, &args)?,
        };
        let mut hub = Hub::from_vars(|name| var(name)?.into_string().ok());
        hub.offline |= args.offline;
        let token = match &args.token_file {
            Some(path) => Some(Token::from_file(path)?),
            // A token that is not Unicode is an error. Treating it as absent would admit everyone.
            None => var("SPECTHINK_TOKEN")
                .map(|text| Token::new(&text.to_string_lossy()))
                .transpose()?,
        };
        let heartbeat = Duration::from(args.heartbeat);
        if heartbeat > transport::MAX_HEARTBEAT {
            return Err(NodeError::Usage(format!(
                "--heartbeat {} is too long: clients would consider the node dead; give at most {}",
                args.heartbeat,
                humantime::format_duration(transport::MAX_HEARTBEAT)
            )));
        }
        let tls = args.tls_cert.zip(args.tls_key).map(|(cert, key)| ServerTls {
            cert,
            key,
            client_ca: args.tls_client_ca,
        });
        Ok(NodeConfig {
            model,
            file: args.file,
            hub,
            tokenizer,
            listen: args.listen.ok_or_else(|| {
                NodeError::Usage("give an address with --listen HOST:PORT".to_owned())
            })?,
            metrics: args.metrics,
            name: args.name,
            device: args.device.parse()?,
            dtype: args.dtype.as_deref().map(str::parse).transpose()?,
            context_tokens: args.context,
            threads: None,
            kv_memory_bytes: args.kv_memory.map(|size| size.as_u64()),
            pace: args.pace.as_deref().map(pace).transpose()?,
            server: ServerConfig {
                tls,
                token,
                insecure: args.insecure,
                max_message_bytes: args.max_message_bytes as usize,
                max_sessions: args.max_sessions,
                max_connections: args
                    .max_connections
                    .unwrap_or(args.max_sessions + transport::SPARE_CONNECTIONS),
                heartbeat,
                drain: args.drain.into(),
                ..ServerConfig::new(ModelCard::default())
            },
        })
    }
}

/// Returns the model to serve if none is named.
fn builtin(defaults: &Defaults, args: &NodeArgs) -> Result<ModelSource, NodeError> {
    let usage = |line: String| Err(NodeError::Usage(line));
    let Some(model) = defaults.builtin else {
        return usage(format!(
            "no model: give --model PATH or --model OWNER/NAME (for instance --model {}), or build \
             {} with its feature builtin, which puts a model into it",
            defaults.example, defaults.program
        ));
    };
    let with = |flag: &str| {
        format!(
            "{flag} goes with --model, but without one the built-in model {} is served: give \
             --model too, or leave out {flag}",
            model.name
        )
    };
    match args {
        NodeArgs { file: Some(_), .. } => usage(with("--file")),
        NodeArgs { revision: Some(_), .. } => usage(with("--revision")),
        _ => Ok(ModelSource::Builtin(model)),
    }
}

/// Returns where `--tokenizer` is.
fn tokenizer(text: &str) -> Result<TokenizerPlace, NodeError> {
    let place = TokenizerPlace::new(text, Path::new(""));
    place.map_err(|error| NodeError::Usage(format!("--tokenizer {error}")))
}

/// An existing path is a path. Anything else that can be a name is a name.
fn model(text: &str, revision: Option<String>) -> Result<ModelSource, NodeError> {
    let path = Path::new(text);
    if path.exists() {
        return match revision {
            Some(_) => Err(NodeError::Usage(format!(
                "--revision goes with the name of a repository, but {} is a path",
                path.display()
            ))),
            None => Ok(ModelSource::Path(path.to_owned())),
        };
    }
    let no_model = || {
        let remedy = match hint::flags(text) {
            Some(flags) => format!("if you mean the repository, write {flags}"),
            None if text.contains("://") => "download the model, and give its path".to_owned(),
            None => "check the spelling".to_owned(),
        };
        NodeError::NoModel { path: text.escape_debug().to_string(), remedy }
    };
    let file = |ending: &str| text.to_ascii_lowercase().ends_with(ending);
    if file(".gguf") || file(".safetensors") {
        return Err(no_model());
    }
    let mut name: ModelName = text.parse().map_err(|_| no_model())?;
    if let Some(revision) = revision {
        if !is_revision(&revision) {
            return Err(NodeError::Usage(format!(
                "--revision '{}' is not a branch, tag or commit",
                revision.escape_debug()
            )));
        }
        if name.revision.as_ref().is_some_and(|other| *other != revision) {
            return Err(NodeError::Usage(format!("{name} and --revision {revision} differ")));
        }
        name.revision = Some(revision);
    }
    Ok(ModelSource::Name(name))
}

/// The speeds that a node is paced to.
fn pace(name: &str) -> Result<Speeds, NodeError> {
    let speeds = Machines::shipped().and_then(|machines| machines.speeds(name));
    speeds.map_err(|why| NodeError::Usage(format!("--pace: {why}")))
}

#[cfg(test)]
mod tests {
    use upstream::{ApiKey, ServerKind};

    use super::*;

    const BARE: Defaults = Defaults {
        program: "bare-node",
        about: "",
        listen: "127.0.0.1:0",
        example: "a/b",
        builtin: None,
    };
    const FULL: Defaults =
        Defaults { builtin: Some(EmbeddedModel { name: "carried", bytes: b"GGUF" }), ..BARE };

    fn config(defaults: &Defaults, args: &[&str]) -> Result<NodeConfig, NodeError> {
        let line = [&["node"], args].concat().into_iter().map(OsString::from);
        NodeConfig::new(defaults, NodeArgs::parse_with(defaults, line).unwrap(), |_| None)
    }

    fn usage(defaults: &Defaults, args: &[&str]) -> String {
        match config(defaults, args).unwrap_err() {
            NodeError::Usage(line) if !line.contains('\n') => line,
            other => panic!("{args:?}: {other}"),
        }
    }

    #[test]
    fn without_a_name_the_built_in_model_is_served() {
        let model = config(&FULL, &[]).unwrap().model;
        assert_eq!(
            (model.name().as_str(), Some(model)),
            ("carried", FULL.builtin.map(ModelSource::Builtin))
        );
        let named = config(&FULL, &["--model", "a/b", "--file", "c.gguf"]).unwrap().model;
        assert!(matches!(named, ModelSource::Name(_)), "{named:?}");
        let file = usage(&FULL, &["--file", "c.gguf"]);
        assert!(file.starts_with("--file goes with --model, "), "{file}");
        let revision = usage(&FULL, &["--revision", "main"]);
        assert!(revision.starts_with("--revision goes with --model, "), "{revision}");
    }

    #[test]
    fn what_is_no_name_of_a_model_is_answered_with_what_was_meant() {
        let line = |model| match config(&FULL, &["--model", model]).unwrap_err() {
            error @ NodeError::NoModel { .. } => error.to_string(),
            other => panic!("{model}: {other}"),
        };
        assert!(
            line("https://huggingface.co/a/b")
                .ends_with("; if you mean the repository, write --model a/b")
        );
        assert!(line("a/b:Q4_K_M").contains("write --model a/b --file "));
        assert!(line("a/b/c.gguf").ends_with("write --model a/b --file c.gguf"));
        assert!(
            line("https://example.org/m.gguf").ends_with("download the model, and give its path")
        );
        assert!(line("none.gguf").ends_with("check the spelling"));
    }

    #[test]
    fn a_server_takes_the_place_of_a_model() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "secret\n").unwrap();
        let key = key.to_str().unwrap();
        let given = ["--upstream", "http://127.0.0.1:8000", "--upstream-model", "big"];
        let more = ["--upstream-kind", "vllm", "--name", "large", "--context", "4096"];
        let line = [&given[..], &more, &["--upstream-token-file", key]].concat();
        let line = [&line[..], &["--upstream-keep-warm", "off"]].concat();
        let ModelSource::Upstream(upstream) = config(&FULL, &line).unwrap().model else {
            panic!("{line:?}")
        };
        assert_eq!(upstream.address.to_string(), "openai+http://127.0.0.1:8000/v1");
        assert_eq!(
            (upstream.model.as_deref(), upstream.kind),
            (Some("big"), Some(ServerKind::Vllm))
        );
        assert_eq!(
            (upstream.card_name.as_deref(), upstream.context_tokens),
            (Some("large"), Some(4096))
        );
        assert_eq!(upstream.key, Some(ApiKey::new("secret")));
        assert_eq!(upstream.keep_warm, Some(false));
        let line = [&given[..2], &["--upstream-keep-warm", "on"]].concat();
        let on = config(&FULL, &line).unwrap().model;
        assert!(matches!(on, ModelSource::Upstream(on) if on.keep_warm == Some(true)));
        let line = [&given[..2], &["--tokenizer", "a/b", "--review-upstream", "full"]].concat();
        let full = config(&FULL, &line).unwrap().model;
        assert!(matches!(full, ModelSource::Upstream(full) if full.reviews_in_full));
        let tokenizer = |text: &str| -> Result<_, NodeError> {
            Ok(config(&FULL, &[&given[..2], &["--tokenizer", text]].concat())?.tokenizer.unwrap())
        };
        let place = |text| TokenizerPlace::new(text, Path::new("")).unwrap();
        for text in [key, "a/b@c"] {
            assert_eq!(tokenizer(text).unwrap(), place(text));
        }
        let line = tokenizer("none").unwrap_err().to_string();
        assert!(line.starts_with("--tokenizer 'none' is neither an existing file"), "{line}");
        let refused = |more: &[&str]| {
            let line = [&["node"], &given[..2], more].concat().into_iter().map(OsString::from);
            NodeArgs::parse_with(&FULL, line).unwrap_err().to_string()
        };
        for flag in ["--model", "--file", "--dtype", "--kv-memory", "--threads", "--pace"] {
            let line = refused(&[flag, "1"]);
            assert!(line.contains("cannot be used with"), "{flag}: {line}");
        }
        let line = refused(&["--upstream-kind", "vlm"]);
        assert!(line.contains("write vllm"), "{line}");
        let line = refused(&["--upstream-keep-warm", "true"]);
        assert!(line.contains("[possible values: on, off]"), "{line}");
        assert!(!refused(&["--help"]).contains("true, false"));
    }

    #[test]
    fn times_are_read_as_in_every_program() {
        let server = config(&FULL, &["--drain", "90", "--heartbeat", "0.5"]).unwrap().server;
        assert_eq!(server.drain, Duration::from_secs(90));
        assert_eq!(server.heartbeat, Duration::from_millis(500));
        let line = ["node", "--heartbeat", "0"].map(OsString::from);
        let refused = NodeArgs::parse_with(&FULL, line).unwrap_err().to_string();
        assert!(refused.contains("above zero"), "{refused}");
    }

    #[test]
    fn there_are_more_connections_than_sessions_unless_it_is_said() {
        let connections = |args: &[&str]| config(&FULL, args).unwrap().server.max_connections;
        assert_eq!(connections(&[]), 116);
        assert_eq!(connections(&["--max-sessions", "500"]), 600);
        assert_eq!(connections(&["--max-sessions", "500", "--max-connections", "4"]), 4);
    }

    #[test]
    fn without_any_model_the_line_says_both_ways_to_get_one() {
        for args in [&[][..], &["--file", "c.gguf"]] {
            let line = usage(&BARE, args);
            for part in ["--model", "a/b", "feature builtin"] {
                assert!(line.contains(part), "{part:?} is not in: {line}");
            }
        }
    }

    #[test]
    fn the_help_says_what_is_served_by_default() {
        let help = |defaults| crate::command(defaults).render_long_help().to_string();
        assert!(help(&FULL).contains("[default: the built-in model carried: "));
        assert!(help(&BARE).contains("[default: none: "));
    }
}
