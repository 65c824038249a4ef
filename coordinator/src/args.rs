//! The raw arguments, as clap reads them. `config` and the crate `cli` decide what they mean together.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use cli::{AnsweringArgs, PolicyArgs, RunArgs, SeedArgs, exit_help};
use flags::LogFormat;
use manual::ManualArgs;

use crate::{certs::CertsArgs, doctor::DoctorArgs, probe::ProbeArgs, serve_args::ServeArgs};

/// A small model writes the answer; a large one takes over where the small one would doubt, check or agree with itself.
#[derive(Debug, Parser)]
#[command(name = "specthink", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Log to standard error; give it twice for more detail. SPECTHINK_LOG (or RUST_LOG if that is unset) takes a
    /// filter such as transport=debug, and overrides this flag.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log format: `text`, or `json` for one JSON object per line.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        env = "SPECTHINK_LOG_FORMAT",
        hide_default_value = true
    )]
    pub(crate) log_format: LogFormat,
    /// Send traces to this collector, by OTLP over HTTP; OTEL_EXPORTER_OTLP_ENDPOINT does the same. Needs a build with
    /// the feature `otel`.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Try it with the built-in pair of tiny models, which can do multi-step arithmetic and nothing else:
  specthink ask \"Start with 303. Add 141. Double it. Take away 494. What is the result?\"
For other questions, start two nodes, each in its own terminal or on its own machine:
  small-node --model small.gguf
  large-node --model large.gguf
Then ask them:
  specthink ask --small http://127.0.0.1:7101 --large http://127.0.0.1:7102 \"Is 221 prime?\"";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask a question and watch both models write the answer.
    Ask(Box<AskArgs>),
    /// Ask every question of a data set and grade the answers.
    Eval(Box<EvalArgs>),
    /// Serve OpenAI's API: any OpenAI client gets answers written by both models.
    Serve(Box<ServeArgs>),
    /// Show the answer in a journal again, as it looked when it was written.
    Trace(TraceArgs),
    /// Create a certificate authority, and certificates for nodes and clients, for mutual TLS.
    Certs(CertsArgs),
    /// Check the nodes and the connections to them: what works, what does not, and how to fix it.
    Doctor(Box<DoctorArgs>),
    /// Check whether one of these URLs answers: for health checks in images that have no other HTTP client.
    Probe(ProbeArgs),
    /// Write this program's shell completions and manual pages into a folder, for packagers.
    #[command(hide = true)]
    Manual(ManualArgs),
}

const ASK_AFTER_HELP: &str = "\
Examples:
  The built-in pair, which can do multi-step arithmetic and nothing else:
    specthink ask \"Start with 303. Add 141. Double it. Take away 494. What is the result?\"
  Two nodes on this machine, on their default ports:
    specthink ask --small http://127.0.0.1:7101 --large http://127.0.0.1:7102 \"Is 221 prime?\"
  The large model on a server, a pool of two small nodes, and a journal:
    specthink ask --small http://127.0.0.1:7101 --small https://10.0.0.7:7101 \\
        --large https://gpu.example.org:7102 --tls-ca ca.pem --large-token-file token \\
        --journal run.jsonl \"Is 221 prime?\"
  The large node by its name in a file of endpoints:
    specthink ask --endpoints nodes.toml --small http://127.0.0.1:7101 --large @gpu \"Is 221 prime?\"
  A small model that does not reason (an instruct model):
    specthink ask --large http://127.0.0.1:7102 --preset instruct \"Is 221 prime?\"
  The small model alone, for comparison, reproducibly:
    specthink ask --small http://127.0.0.1:7101 --policy small-only --temperature 0 --seed 1 \"Is 221 prime?\"
  For a script:
    specthink ask --large http://127.0.0.1:7102 --json --fail-degraded - < question.txt | jq -r .answer

If only one of --small and --large is given, the other node is expected at its usual address on
this machine. If neither is given, the built-in pair answers.

The answer goes to standard output. On a terminal the large model's words are coloured; in a pipe
they are marked: ⟦large: reflection⟧ ... ⟦/⟧. The summary goes to standard error.";

/// Arguments of `ask`.
#[derive(Debug, clap::Args)]
#[command(after_help = ASK_AFTER_HELP, after_long_help = long_after_help())]
pub(crate) struct AskArgs {
    /// The question, or `-` to read it from standard input.
    pub(crate) question: OsString,

    #[command(flatten)]
    pub(crate) answering: AnsweringArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) seed: SeedArgs,
    /// Use the question as the model's raw input, without a chat template.
    #[arg(long, conflicts_with = "system", help_heading = "Writing")]
    pub(crate) raw: bool,
    /// End the answer before this text, whichever model writes it. Not searched for within the thought. May be given
    /// more than once.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new(), help_heading = "Writing")]
    pub(crate) stop: Vec<String>,

    /// Write the whole run to this new file as a journal, one JSON object per line (see `specthink trace`).
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) journal: Option<PathBuf>,
    /// Print one JSON object (answer, spans, summary) once the answer is complete.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Exit with code 10 if the answer is degraded.
    #[arg(long, help_heading = "Output")]
    pub(crate) fail_degraded: bool,
    #[command(flatten)]
    pub(crate) look: LookArgs,
}

const EVAL_AFTER_HELP: &str = "\
Examples:
  The default policy over GSM8K's test set; after an interruption, run it again to resume:
    specthink eval gsm8k.jsonl --log strict.jsonl
  The small model alone, for comparison; the first 50 questions:
    specthink eval gsm8k.jsonl --policy small-only --limit 50
  Random switching, with the large model's share set to what strict had:
    specthink eval gsm8k.jsonl --policy random --share 0.21 --log random.jsonl

A data set is a file of JSON lines, in our own format (id, question, answer) or as published for GSM8K,
MATH-500, AIME, AMC 23 or SVAMP. What is graded is the content of the last \\boxed{}, or else the last
number in the answer. The figures go to standard output, the progress to standard error.";

/// Arguments of `eval`.
#[derive(Debug, clap::Args)]
#[command(after_help = EVAL_AFTER_HELP)]
pub(crate) struct EvalArgs {
    /// The data set, as JSON lines.
    pub(crate) data: PathBuf,
    /// Write a line for every question to this file. If the file exists, resume it: questions that are graded in it
    /// are not asked again.
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub(crate) log: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Print the figures as one JSON object.
    #[arg(long, help_heading = "Run")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) answering: AnsweringArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) seed: SeedArgs,
}

/// How the answer looks.
#[derive(Debug, clap::Args)]
pub(crate) struct LookArgs {
    /// Colour the large model's words (`always`), or put marks around them (`never`). `auto` colours on a terminal
    /// unless NO_COLOR is set.
    #[arg(long, value_enum, default_value = "auto", help_heading = "Output")]
    pub(crate) color: When,
}

/// Arguments of `trace`.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceArgs {
    /// The journal, as written by `specthink ask --journal FILE`.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) look: LookArgs,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

fn long_after_help() -> String {
    format!("{ASK_AFTER_HELP}\n\n{}", exit_help())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
