//! The command line of a node, as written. `config` validates it.

use std::{ffi::OsString, path::PathBuf};

use bytesize::ByteSize;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use flags::{BadDuration, LogFormat};

use crate::{
    builtin::{self, EmbeddedModel},
    error::NodeExit,
    upstream_args::UpstreamArgs,
};

/// The defaults that distinguish one node from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// The program's name.
    pub program: &'static str,
    /// Its purpose, in one line.
    pub about: &'static str,
    /// The address to listen on.
    pub listen: &'static str,
    /// An example of a suitable model, as `--model` takes it.
    pub example: &'static str,
    /// The model that is built into the program and served without `--model`.
    pub builtin: Option<EmbeddedModel>,
}

/// The arguments of a node.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct NodeArgs {
    /// The model: a .gguf file (any part of a split one), a folder of safetensors, or the name of a Hugging Face
    /// repository (OWNER/NAME or OWNER/NAME@REVISION), which is downloaded once.
    #[arg(long, value_name = "PATH|NAME", env = "SPECTHINK_MODEL")]
    pub model: Option<String>,

    /// The GGUF file to use if the repository or folder holds several; for a split model, any of its parts.
    #[arg(long, value_name = "NAME.gguf", env = "SPECTHINK_FILE")]
    pub file: Option<String>,

    /// Branch, tag or commit of the repository; the same as NAME@REVISION.
    #[arg(long, value_name = "REVISION", env = "SPECTHINK_REVISION")]
    pub revision: Option<String>,

    /// Never use the network to get a model: a file missing from the cache (HF_HOME) is an error.
    #[arg(long)]
    pub offline: bool,

    /// The server that computes the model, if it is not computed here.
    #[command(flatten)]
    pub upstream: UpstreamArgs,

    /// The address to listen on: HOST:PORT. Port 0 picks a free port; the line `listening on URL` on standard output
    /// shows which.
    #[arg(long, value_name = "ADDR", env = "SPECTHINK_LISTEN")]
    pub listen: Option<String>,

    /// A second address, HOST:PORT, for monitoring: /metrics in Prometheus' format, /healthz and /readyz. Plain HTTP
    /// for everyone who can reach it; it shows only numbers, no text and no names. [default: none]
    #[arg(long, value_name = "ADDR", env = "SPECTHINK_METRICS")]
    pub metrics: Option<String>,

    /// The model's name as clients see it. [default: the file's or repository's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Where to compute: cpu, cuda, cuda:1, metal. cuda and metal need a build with that feature.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", env = "SPECTHINK_DEVICE")]
    pub device: String,

    /// The number type to compute safetensors in: f32, bf16 or f16. GGUF files specify their own. [default: f32 on the
    /// CPU, otherwise as the model specifies]
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<String>,

    /// CPU threads to compute with. If two nodes share a machine, give each half of its cores. [default:
    /// RAYON_NUM_THREADS, or the number of physical cores available to the process; 1 for a built-in model]
    #[arg(long, value_name = "N", env = "SPECTHINK_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Longest session in tokens, prompt and answer together; never more than the model's own context. Less takes less
    /// memory. [default: the model's context, or as much as fits in memory]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..))]
    pub context: Option<u32>,

    /// Sessions at a time; further ones are refused as overloaded.
    #[arg(
        long,
        value_name = "N",
        default_value_t = transport::DEFAULT_MAX_SESSIONS,
        value_parser = clap::value_parser!(u32).range(1..=65_536)
    )]
    pub max_sessions: u32,

    /// Connections at a time. When all are taken, a connection that has made no call yet is closed for the next one; if
    /// there is none, the next one is closed. A client needs one connection, however many sessions it has. A connection
    /// that makes no call within 20s is closed, and so is one without a session for 5 minutes. [default: 100 more than
    /// --max-sessions]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: Option<u32>,

    /// Memory for the sessions' KV caches, such as 2GiB or 512MiB. When it is used up, a session that waits for its
    /// caller gives its cache to others and computes it again later. Never more than seven eighths of the memory that
    /// the machine has available and that the node's memory groups (cgroups) have left, or that an NVIDIA GPU has free.
    /// [default: enough for all sessions at full length, but at most half of what is left]
    #[arg(long, value_name = "SIZE", env = "SPECTHINK_KV_MEMORY")]
    pub kv_memory: Option<ByteSize>,

    /// Compute as slowly as another machine: MACHINE:MODEL, such as h200:32b-bf16, or a file of speeds. For
    /// experiments: a small model that answers at the pace of a large one. `specthink-lab machines` lists the names.
    #[arg(long, value_name = "SPEEDS", env = "SPECTHINK_PACE")]
    pub pace: Option<String>,

    /// The node's certificate (PEM, followed by its chain): encrypts the connection. Needs --tls-key.
    #[arg(long, value_name = "FILE", env = "SPECTHINK_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert (PEM).
    #[arg(long, value_name = "FILE", env = "SPECTHINK_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Accept only clients whose certificate one of these authorities signed (PEM): mutual TLS.
    #[arg(long, value_name = "FILE", env = "SPECTHINK_TLS_CLIENT_CA", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,

    /// A file with the token that clients must show; the environment variable SPECTHINK_TOKEN does the same.
    #[arg(long, value_name = "FILE", env = "SPECTHINK_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// Allow plain text to other machines: anyone on the path can read and change everything.
    #[arg(long)]
    pub insecure: bool,

    /// The largest message accepted from a client, in bytes.
    #[arg(
        long,
        value_name = "N",
        default_value_t = transport::DEFAULT_MAX_MESSAGE_BYTES as u32,
        value_parser = clap::value_parser!(u32).range(1024..)
    )]
    pub max_message_bytes: u32,

    /// Send a heartbeat on a session that has been silent for this long; at most 10s.
    #[arg(long, value_name = "TIME", default_value_t = transport::DEFAULT_HEARTBEAT.into(), value_parser = heartbeat)]
    pub heartbeat: humantime::Duration,

    /// How long running sessions may continue after SIGTERM or Ctrl-C. A second signal ends them at once.
    #[arg(long, value_name = "TIME", default_value_t = transport::DEFAULT_DRAIN.into(), value_parser = drain)]
    pub drain: humantime::Duration,

    /// Log more on standard error: -v events, -vv every detail. SPECTHINK_LOG, or RUST_LOG if that is unset, takes a
    /// filter such as transport=debug, which overrides the flag.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// The format of the log: text, or json with one object per line.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        env = "SPECTHINK_LOG_FORMAT",
        hide_default_value = true
    )]
    pub log_format: LogFormat,

    /// Send traces to this collector, which must accept OTLP over HTTP; OTEL_EXPORTER_OTLP_ENDPOINT does the same.
    /// Needs a build with the feature otel.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,

    /// Write shell completions and the manual page of this program into a folder, and serve nothing: for packagers.
    #[arg(long, value_name = "FOLDER", hide = true, exclusive = true)]
    pub manual: Option<PathBuf>,
}

impl NodeArgs {
    /// Parses a command line, which starts with the program's name.
    ///
    /// # Errors
    /// An error from clap, including `--help` and `--version`.
    pub fn parse_with(
        defaults: &Defaults,
        line: impl IntoIterator<Item = OsString>,
    ) -> Result<NodeArgs, clap::Error> {
        let mut command = command(defaults);
        let matches = command.try_get_matches_from_mut(line)?;
        NodeArgs::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// Returns the clap command with a node's defaults filled in.
pub fn command(defaults: &Defaults) -> clap::Command {
    let Defaults { program, about, listen, example, builtin } = *defaults;
    let without_model = match builtin {
        Some(_) => format!("{program}\n  "),
        None => String::new(),
    };
    let mut help = format!(
        "Examples:\n  {without_model}\
         {program} --model ~/models/model.gguf\n  \
         {program} --model {example}\n  \
         {program} --model ./safetensors-folder --listen 127.0.0.1:0 --threads 4\n  \
         {program} --upstream http://127.0.0.1:8000\n  \
         {program} --model model.gguf --listen 0.0.0.0:443 --tls-cert node.pem --tls-key node.key \
         --token-file token\n\n\
         Exit codes:\n"
    );
    for &exit in NodeExit::ALL {
        help.push_str(&format!("  {:>2}  {}\n", exit as u8, exit.meaning()));
    }
    NodeArgs::command()
        .name(program)
        .bin_name(program)
        .about(about)
        .mut_arg("model", |arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help}. [default: {}]", builtin::as_default(builtin)))
        })
        .mut_arg("listen", |arg| arg.default_value(listen))
        .after_help(help)
}

fn heartbeat(text: &str) -> Result<humantime::Duration, BadDuration> {
    flags::positive_duration(text).map(Into::into)
}

fn drain(text: &str) -> Result<humantime::Duration, BadDuration> {
    flags::duration(text).map(Into::into)
}
