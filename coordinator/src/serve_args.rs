//! The arguments of `serve`, as clap reads them. `serving` decides what they mean together.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use cli::{AnsweringArgs, PolicyArgs};
use flags::{duration, positive_duration};
use thinking::policy::PolicySpec;

const SERVE_AFTER_HELP: &str = "\
Examples:
  The built-in pair, which can do multi-step arithmetic and nothing else; then open http://127.0.0.1:8080/ in a browser:
    specthink serve
    curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\",
      \"content\": \"Start with 303. Add 141. Double it. Take away 494. What is the result?\"}]}'
  Two nodes of your own, open to other machines:
    specthink serve --small http://127.0.0.1:7101 --large https://gpu.example.org:7102 \\
        --listen 0.0.0.0:8443 --listen-tls-cert cert.pem --listen-tls-key key.pem --api-key-file keys

The model name in a request chooses the policy: specthink (the policy of these flags), specthink:strict,
specthink:paper, specthink:review, specthink:strict+review, small, large, or a baseline such as specthink:random.
See docs/serve.md.";

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = SERVE_AFTER_HELP)]
pub(crate) struct ServeArgs {
    /// Read flags from this TOML file, by their names, together with endpoints and with policies that become models
    /// (see docs/serve.md). Flags on the command line override the file.
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    pub(crate) config: Option<PathBuf>,
    /// Check this configuration file, print one line for every mistake, and exit without serving.
    #[arg(long, value_name = "FILE", conflicts_with = "config", help_heading = "Configuration")]
    pub(crate) check: Option<PathBuf>,
    #[arg(skip)]
    pub(crate) policies: Vec<NamedPolicy>,
    /// Where to listen: HOST:PORT. Port 0 picks a free port; the line `listening on URL` on standard output says which.
    /// Opened in a browser, that URL is a page that shows which model wrote what.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", help_heading = "Serving")]
    pub(crate) listen: String,
    /// API keys that clients may use: a file with one key per line, as `NAME KEY` or `KEY`. Required unless on
    /// loopback.
    #[arg(long, value_name = "FILE", help_heading = "Serving")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// The server's certificate (PEM, followed by its chain). Required unless on loopback or with --listen-insecure.
    #[arg(long, value_name = "FILE", requires = "listen_tls_key", help_heading = "Serving")]
    pub(crate) listen_tls_cert: Option<PathBuf>,
    /// The private key of --listen-tls-cert (PEM).
    #[arg(long, value_name = "FILE", requires = "listen_tls_cert", help_heading = "Serving")]
    pub(crate) listen_tls_key: Option<PathBuf>,
    /// Accept only clients whose certificate is signed by one of these authorities (PEM): mutual TLS.
    #[arg(long, value_name = "FILE", requires = "listen_tls_cert", help_heading = "Serving")]
    pub(crate) listen_tls_client_ca: Option<PathBuf>,
    /// Allow plain text from other machines, including the API keys.
    #[arg(long, help_heading = "Serving")]
    pub(crate) listen_insecure: bool,
    /// Declare that only this machine can reach the address, as in a container whose port is published on 127.0.0.1
    /// only. The rules of loopback then apply: no key and no certificate is needed, and the Host header is checked.
    #[arg(long, help_heading = "Serving")]
    pub(crate) behind_loopback: bool,
    /// On loopback, accept this name in the Host header besides localhost. May be given more than once.
    #[arg(long, value_name = "NAME", help_heading = "Serving")]
    pub(crate) allow_host: Vec<String>,
    /// Let pages of this origin, such as https://chat.example.org, send requests (CORS). May be given more than once.
    #[arg(long, value_name = "ORIGIN", help_heading = "Serving")]
    pub(crate) allow_origin: Vec<String>,
    /// How many answers may run at a time.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=65_536),
        help_heading = "Serving"
    )]
    pub(crate) max_requests: u32,
    /// How many answers may run at a time for one key. [default: --max-requests]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=65_536),
        help_heading = "Serving"
    )]
    pub(crate) max_requests_per_key: Option<u32>,
    /// How many tokens the running answers may have together, each counted at its maximum length. A single answer may
    /// exceed this. [default: no limit]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Serving"
    )]
    pub(crate) max_running_tokens: Option<u64>,
    /// How many requests may wait for their turn; further ones are refused.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(..=65_536),
        help_heading = "Serving"
    )]
    pub(crate) max_queue: u32,
    /// How long a request may wait for its turn.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Serving")]
    pub(crate) queue_timeout: Duration,
    /// Maximum size of a request.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 4 << 20,
        value_parser = clap::value_parser!(u32).range(1024..),
        help_heading = "Serving"
    )]
    pub(crate) max_body_bytes: u32,
    /// The largest max_tokens that a request may ask for.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 32_768,
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Serving"
    )]
    pub(crate) max_answer_tokens: u32,
    /// Where to return the thought before an answer: `split` returns it as reasoning_content, `inline` leaves it in the
    /// content.
    #[arg(long, value_enum, value_name = "HOW", default_value = "split", help_heading = "Serving")]
    pub(crate) reasoning: ReasoningPlace,
    /// How long running answers may continue after SIGTERM or Ctrl-C. A second signal ends the program at once.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = positive_duration, help_heading = "Serving")]
    pub(crate) drain: Duration,
    /// Write a journal of every answer, with its question, to a new file in this folder (see `specthink trace`).
    #[arg(long, value_name = "DIR", help_heading = "Serving")]
    pub(crate) journal_dir: Option<PathBuf>,
    /// How many journals to keep; older ones are removed.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..),
        requires = "journal_dir",
        help_heading = "Serving"
    )]
    pub(crate) journal_keep: u32,
    /// Remove a journal this long after its answer ended, such as 30m or 7d. [default: keep journals of any age]
    #[arg(
        long,
        value_name = "TIME",
        value_parser = positive_duration,
        requires = "journal_dir",
        help_heading = "Serving"
    )]
    pub(crate) journal_max_age: Option<Duration>,
    /// Maximum size of all journals together; the oldest are removed first. [default: no limit]
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(1..),
        requires = "journal_dir",
        help_heading = "Serving"
    )]
    pub(crate) journal_max_bytes: Option<u64>,
    #[command(flatten)]
    pub(crate) answering: AnsweringArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

/// A policy of the configuration file. Its name becomes a model.
#[derive(Debug, Clone)]
pub(crate) struct NamedPolicy {
    pub(crate) name: String,
    /// The file and line, for error messages.
    pub(crate) place: String,
    pub(crate) form: PolicyForm,
}

/// How a policy is written.
#[derive(Debug, Clone)]
pub(crate) enum PolicyForm {
    /// As flags.
    Flags {
        /// The flags.
        policy: Box<PolicyArgs>,
        /// Whether the preset is among them.
        has_preset: bool,
    },
    /// As a specification, in the form of a journal's header.
    Spec(Box<PolicySpec>),
}

/// Where the thought before an answer is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReasoningPlace {
    /// Beside the content.
    Split,
    /// In the content.
    Inline,
}
