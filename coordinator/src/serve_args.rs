//! Arguments of `serve`, as clap reads them. What they mean together is in `serving`.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use cli::{AnsweringArgs, PolicyArgs};
use flags::{duration, positive_duration};
use thinking::policy::PolicySpec;

const SERVE_AFTER_HELP: &str = "\
Examples:
  The built-in pair, which can do multi-step arithmetic and nothing else; open http://127.0.0.1:8080/ in a browser:
    specthink serve
    curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\",
      \"content\": \"Start with 303. Add 58. Subtract 114. What is the result?\"}]}'
  Two nodes, for other machines too:
    specthink serve --small http://127.0.0.1:7101 --large https://gpu.example.org:7102 \\
        --listen 0.0.0.0:8443 --listen-tls-cert cert.pem --listen-tls-key key.pem --api-key-file keys

The model's name in a request chooses who writes: specthink (what these flags say), specthink:strict,
specthink:paper, specthink:review, specthink:strict+review, small, large, and the baselines by their names. See
docs/serve.md.";

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = SERVE_AFTER_HELP)]
pub(crate) struct ServeArgs {
    /// Read flags from this TOML file, by their names, with endpoints and policies that become models (see
    /// docs/serve.md). What the command line says wins.
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    pub(crate) config: Option<PathBuf>,
    /// Say what is wrong with this configuration file, a line for every mistake, and serve nothing.
    #[arg(long, value_name = "FILE", conflicts_with = "config", help_heading = "Configuration")]
    pub(crate) check: Option<PathBuf>,
    #[arg(skip)]
    pub(crate) policies: Vec<NamedPolicy>,
    /// Where to listen: HOST:PORT. Port 0 takes a free one; the line `listening on URL` on standard output says which.
    /// That URL in a browser is a page that shows who wrote what.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", help_heading = "Serving")]
    pub(crate) listen: String,
    /// Who may come in: a file with a key a line, as `NAME KEY` or alone. Off loopback there must be one.
    #[arg(long, value_name = "FILE", help_heading = "Serving")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// The server's certificate (PEM, its chain after it). Off loopback there must be one.
    #[arg(long, value_name = "FILE", requires = "listen_tls_key", help_heading = "Serving")]
    pub(crate) listen_tls_cert: Option<PathBuf>,
    /// The private key of --listen-tls-cert (PEM).
    #[arg(long, value_name = "FILE", requires = "listen_tls_cert", help_heading = "Serving")]
    pub(crate) listen_tls_key: Option<PathBuf>,
    /// Let in only clients whose certificate one of these authorities signed (PEM): mutual TLS.
    #[arg(long, value_name = "FILE", requires = "listen_tls_cert", help_heading = "Serving")]
    pub(crate) listen_tls_client_ca: Option<PathBuf>,
    /// Allow plain text, the keys too, from other machines.
    #[arg(long, help_heading = "Serving")]
    pub(crate) listen_insecure: bool,
    /// Only this machine reaches the address, whatever it is: that of a container whose port is published on 127.0.0.1
    /// alone. Then the rules of loopback hold: no key and no certificate is needed, and the Host header is checked.
    #[arg(long, help_heading = "Serving")]
    pub(crate) behind_loopback: bool,
    /// A name that the server may be called by on loopback, beside localhost. Give several.
    #[arg(long, value_name = "NAME", help_heading = "Serving")]
    pub(crate) allow_host: Vec<String>,
    /// Pages of another server that may ask this one, such as https://chat.example.org. Give several.
    #[arg(long, value_name = "ORIGIN", help_heading = "Serving")]
    pub(crate) allow_origin: Vec<String>,
    /// Answers at a time.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=65_536),
        help_heading = "Serving"
    )]
    pub(crate) max_requests: u32,
    /// Answers that are made at a time for one key. [default: as many as for all]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=65_536),
        help_heading = "Serving"
    )]
    pub(crate) max_requests_per_key: Option<u32>,
    /// Tokens of the answers that are made at a time, together, at their greatest lengths; a single answer may be
    /// longer. [default: no limit]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Serving"
    )]
    pub(crate) max_running_tokens: Option<u64>,
    /// Requests that wait for their turn; one more is refused.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(..=65_536),
        help_heading = "Serving"
    )]
    pub(crate) max_queue: u32,
    /// How long a request waits for its turn.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Serving")]
    pub(crate) queue_timeout: Duration,
    /// Greatest size of a request.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 4 << 20,
        value_parser = clap::value_parser!(u32).range(1024..),
        help_heading = "Serving"
    )]
    pub(crate) max_body_bytes: u32,
    /// The most that a request may ask for as max_tokens.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 32_768,
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Serving"
    )]
    pub(crate) max_answer_tokens: u32,
    /// What becomes of the thought before an answer: `split` gives it as reasoning_content, `inline` leaves it in the
    /// content.
    #[arg(long, value_enum, value_name = "HOW", default_value = "split", help_heading = "Serving")]
    pub(crate) reasoning: ReasoningPlace,
    /// How long answers may go on after SIGTERM or Ctrl-C. A second signal ends the program at once.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = positive_duration, help_heading = "Serving")]
    pub(crate) drain: Duration,
    /// Log every answer to a new file in this folder, with its question (see `specthink trace`).
    #[arg(long, value_name = "DIR", help_heading = "Serving")]
    pub(crate) journal_dir: Option<PathBuf>,
    /// The most journals that are kept; older ones are removed.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..),
        requires = "journal_dir",
        help_heading = "Serving"
    )]
    pub(crate) journal_keep: u32,
    /// Remove a journal this long after its answer's end, such as 30m or 7d. [default: never for its age]
    #[arg(
        long,
        value_name = "TIME",
        value_parser = positive_duration,
        requires = "journal_dir",
        help_heading = "Serving"
    )]
    pub(crate) journal_max_age: Option<Duration>,
    /// The greatest size of all journals together; the oldest are removed first. [default: any]
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

/// A policy of the configuration file, which is a model by its name.
#[derive(Debug, Clone)]
pub(crate) struct NamedPolicy {
    pub(crate) name: String,
    /// Where it stands, for what is wrong with it.
    pub(crate) place: String,
    pub(crate) form: PolicyForm,
}

/// How a policy is written.
#[derive(Debug, Clone)]
pub(crate) enum PolicyForm {
    /// In the words of the flags.
    Flags {
        /// The flags.
        policy: Box<PolicyArgs>,
        /// Whether the preset is among them.
        has_preset: bool,
    },
    /// As a journal's header has it.
    Spec(Box<PolicySpec>),
}

/// What becomes of the thought before an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReasoningPlace {
    /// Beside the content.
    Split,
    /// In the content.
    Inline,
}
