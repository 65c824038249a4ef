//! The raw arguments, as clap reads them. What they mean together is in `config`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    ArgAction, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use thinking::policy::{PolicyKind, Preset};

use super::exit;

/// A small model answers; a large one takes over where it doubts, checks or agrees with itself.
#[derive(Debug, Parser)]
#[command(name = "specthink", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Log to standard error; twice for more. RUST_LOG works too.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    #[command(subcommand)]
    pub(super) command: Command,
}

const AFTER_HELP: &str = "\
Start two nodes first, each in its own terminal or on its own machine:
  small-node --model small.gguf
  large-node --model large.gguf
Then ask:
  specthink ask \"How many primes are there below 100?\"";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Ask a question and watch both models write the answer.
    Ask(Box<AskArgs>),
    /// Show a journal again, as it looked when it was written.
    Trace(TraceArgs),
}

const ASK_AFTER_HELP: &str = "\
Examples:
  Two nodes on this machine, on their default ports:
    specthink ask \"Is 221 prime?\"
  The large model on a server, a second small node in reserve, a journal:
    specthink ask --small http://127.0.0.1:7101 --small http://10.0.0.7:7101 \\
        --large https://gpu.example.org:7102 --tls-ca ca.pem --token-file token \\
        --journal run.jsonl \"Is 221 prime?\"
  A small model that does not reason (an instruct model):
    specthink ask --preset instruct \"Is 221 prime?\"
  The small model alone, for comparison, reproducibly:
    specthink ask --policy small-only --temperature 0 --seed 1 \"Is 221 prime?\"
  For a script:
    specthink ask --json --fail-degraded - < question.txt | jq -r .answer

Standard output is the answer. On a terminal the large model's words are coloured; in a pipe
they stand between marks: ⟦large: reflection⟧ ... ⟦/⟧. The summary goes to standard error.";

/// Arguments of `ask`.
#[derive(Debug, clap::Args)]
#[command(after_help = ASK_AFTER_HELP, after_long_help = long_after_help())]
pub(super) struct AskArgs {
    /// The question; `-` reads it from standard input.
    pub(super) question: OsString,

    /// A small node. Give several: when one is lost in mid-answer, the next one goes on.
    /// [default: http://127.0.0.1:7101]
    #[arg(long, value_name = "URL", help_heading = "Nodes")]
    pub(super) small: Vec<String>,
    /// The large node. When it is gone, late or refuses, the small model finishes alone and the
    /// answer is degraded. [default: http://127.0.0.1:7102]
    #[arg(long, value_name = "URL", help_heading = "Nodes")]
    pub(super) large: Option<String>,
    /// Give up a takeover when the large node is silent for so long; the small one goes on alone.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Nodes")]
    pub(super) large_timeout: Duration,
    /// Give up a small node when it is silent for so long.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration, help_heading = "Nodes")]
    pub(super) small_timeout: Duration,
    /// Send a node the other's text only when it must write, instead of ahead (to measure what
    /// reading ahead is worth).
    #[arg(long, help_heading = "Nodes")]
    pub(super) no_keep_warm: bool,

    /// Who writes when. `strict`: the paper's rules without the leaks of its published loop; `paper`:
    /// that loop to the letter; the others are for comparison.
    #[arg(long, value_name = "NAME", default_value_t, value_parser = policies(), help_heading = "Policy")]
    pub(super) policy: PolicyKind,
    /// What kind of small model it is: one that reasons by itself (R1-Distill, Qwen3), or one that
    /// does not (Qwen2.5-Instruct, SmolLM2), for which the large one begins.
    #[arg(long, value_name = "NAME", default_value_t, value_parser = presets(), help_heading = "Policy")]
    pub(super) preset: Preset,
    /// The policy's parameters: a YAML file with the keys of the paper's authors. For `paper` and
    /// `strict`; the preset is then not used.
    #[arg(long, value_name = "FILE", conflicts_with = "preset", help_heading = "Policy")]
    pub(super) policy_file: Option<PathBuf>,
    /// The large model's share of the tokens, from 0 to 1. For `random` and `periodic`.
    #[arg(long, value_name = "SHARE", help_heading = "Policy")]
    pub(super) share: Option<f64>,

    /// Greatest number of tokens made for the answer by both models together, those that are cut off
    /// at a trigger too; with `--policy paper` of the prompt and the tokens kept.
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Writing")]
    pub(super) max_tokens: u32,
    /// How freely tokens are drawn; 0 always takes the likeliest.
    #[arg(long, value_name = "T", default_value_t = 0.6, help_heading = "Writing")]
    pub(super) temperature: f32,
    /// Draw from the K likeliest tokens only; 0 is off.
    #[arg(long, value_name = "K", default_value_t = 50, help_heading = "Writing")]
    pub(super) top_k: u32,
    /// Draw from the likeliest tokens that together reach this probability; 0 or 1 is off.
    #[arg(long, value_name = "P", default_value_t = 0.95, help_heading = "Writing")]
    pub(super) top_p: f32,
    /// Draw only tokens at least this fraction as likely as the likeliest; 0 is off.
    #[arg(long, value_name = "P", default_value_t = 0.0, help_heading = "Writing")]
    pub(super) min_p: f32,
    /// Make tokens that were used already less likely; 1 is off.
    #[arg(long, value_name = "R", default_value_t = 1.0, help_heading = "Writing")]
    pub(super) repetition_penalty: f32,
    /// The same question, seed, models and devices give the same answer, but for near-ties that a
    /// node's rounding decides (see docs/ask.md).
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Writing")]
    pub(super) seed: u64,
    /// A system message before the question.
    #[arg(long, value_name = "TEXT", conflicts_with = "raw", help_heading = "Writing")]
    pub(super) system: Option<String>,
    /// Take the question as the model's raw input, without a chat template.
    #[arg(long, help_heading = "Writing")]
    pub(super) raw: bool,
    /// Time for the whole answer, such as 90s or 2m; then it is cut off.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Writing")]
    pub(super) deadline: Option<Duration>,

    /// Log the whole run to this new file, one JSON object a line (see `specthink trace`).
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) journal: Option<PathBuf>,
    /// Print one JSON object (answer, spans, summary) when the answer is complete.
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
    /// Exit with code 10 when the answer is degraded.
    #[arg(long, help_heading = "Output")]
    pub(super) fail_degraded: bool,
    #[command(flatten)]
    pub(super) look: LookArgs,

    /// Trust nodes whose certificate this authority signed (PEM), and no others.
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    pub(super) tls_ca: Option<PathBuf>,
    /// Our own certificate (PEM), for nodes that ask for one.
    #[arg(
        long,
        visible_alias = "tls-client-cert",
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Security"
    )]
    pub(super) tls_cert: Option<PathBuf>,
    /// The private key of our certificate (PEM).
    #[arg(
        long,
        visible_alias = "tls-client-key",
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Security"
    )]
    pub(super) tls_key: Option<PathBuf>,
    /// A file with the token that the nodes ask for; else the variable SPECTHINK_TOKEN holds it.
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    pub(super) token_file: Option<PathBuf>,
    /// Allow plain text, the token too, to other machines.
    #[arg(long, help_heading = "Security")]
    pub(super) insecure: bool,
    /// Greatest size of a message, either way.
    #[arg(long, value_name = "BYTES", default_value_t = transport::DEFAULT_MAX_MESSAGE_BYTES as u64, value_parser = clap::value_parser!(u64).range(1024..), help_heading = "Security")]
    pub(super) max_message_bytes: u64,
}

/// How the answer looks.
#[derive(Debug, clap::Args)]
pub(super) struct LookArgs {
    /// Colour the large model's words, or set marks around them. NO_COLOR turns `auto` off.
    #[arg(long, value_enum, default_value = "auto", help_heading = "Output")]
    pub(super) color: When,
}

/// Arguments of `trace`.
#[derive(Debug, clap::Args)]
pub(super) struct TraceArgs {
    /// The journal, as `specthink ask --journal FILE` wrote it.
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) look: LookArgs,
}

/// When something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

fn policies() -> impl TypedValueParser<Value = PolicyKind> {
    let names = PolicyKind::ALL.map(PolicyKind::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<PolicyKind>())
}

fn presets() -> impl TypedValueParser<Value = Preset> {
    let names = Preset::ALL.map(Preset::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Preset>())
}

fn long_after_help() -> String {
    format!("{ASK_AFTER_HELP}\n\n{}", exit::help())
}

/// Reads "90s", "2m", "1h", "500ms"; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a time such as 500ms, 90s, 2m or 1h".to_owned()),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * scale);
    seconds
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "write a time above zero, such as 500ms, 90s, 2m or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0", "-1s", "s", "1d", "1.2.3", "99999999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
