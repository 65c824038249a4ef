//! The raw arguments, as clap reads them. What they mean together is in `config` and in the crate `cli`.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use cli::{AnsweringArgs, PolicyArgs, RunArgs, SeedArgs, exit_help};
use flags::LogFormat;
use manual::ManualArgs;

use crate::{certs::CertsArgs, doctor::DoctorArgs, probe::ProbeArgs, serve_args::ServeArgs};

/// A small model answers; a large one takes over where it doubts, checks or agrees with itself.
#[derive(Debug, Parser)]
#[command(name = "specthink", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Log to standard error; twice for more. SPECTHINK_LOG, or RUST_LOG where that is unset, takes a filter such as
    /// transport=debug, which wins over the flag.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How the log is written: text, or json: an object a line.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        env = "SPECTHINK_LOG_FORMAT",
        hide_default_value = true
    )]
    pub(crate) log_format: LogFormat,
    /// Send traces to this collector, which takes OTLP over HTTP; OTEL_EXPORTER_OTLP_ENDPOINT does the same. Needs a
    /// build with the feature otel.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Try it with the built-in pair of tiny models, which can do multi-step arithmetic and nothing else:
  specthink ask \"Start with 303. Add 58. Subtract 114. What is the result?\"
For other questions start two nodes, each in its own terminal or on its own machine:
  small-node --model small.gguf
  large-node --model large.gguf
Then ask them:
  specthink ask --small http://127.0.0.1:7101 --large http://127.0.0.1:7102 \"Is 221 prime?\"";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask a question and watch both models write the answer.
    Ask(Box<AskArgs>),
    /// Ask every question of a data set, and grade the answers.
    Eval(Box<EvalArgs>),
    /// Serve OpenAI's API: any client of it gets answers that both models wrote.
    Serve(Box<ServeArgs>),
    /// Show a journal again, as it looked when it was written.
    Trace(TraceArgs),
    /// Make an authority, and certificates of nodes and clients for mutual TLS.
    Certs(CertsArgs),
    /// Look at the nodes and the way to them: what works, what does not, and what to do.
    Doctor(Box<DoctorArgs>),
    /// Ask addresses whether one of them is well: for health checks where there is no other program to ask with.
    Probe(ProbeArgs),
    /// Write completions and manual pages of this program into a folder: for who packages it.
    #[command(hide = true)]
    Manual(ManualArgs),
}

const ASK_AFTER_HELP: &str = "\
Examples:
  The built-in pair, which can do multi-step arithmetic and nothing else:
    specthink ask \"Start with 303. Add 58. Subtract 114. What is the result?\"
  Two nodes on this machine, on their default ports:
    specthink ask --small http://127.0.0.1:7101 --large http://127.0.0.1:7102 \"Is 221 prime?\"
  The large model on a server, a second small node in reserve, a journal:
    specthink ask --small http://127.0.0.1:7101 --small http://10.0.0.7:7101 \\
        --large https://gpu.example.org:7102 --tls-ca ca.pem --large-token-file token \\
        --journal run.jsonl \"Is 221 prime?\"
  The same large node by its name in a file:
    specthink ask --endpoints nodes.toml --small http://127.0.0.1:7101 --large @gpu \"Is 221 prime?\"
  A small model that does not reason (an instruct model):
    specthink ask --large http://127.0.0.1:7102 --preset instruct \"Is 221 prime?\"
  The small model alone, for comparison, reproducibly:
    specthink ask --small http://127.0.0.1:7101 --policy small-only --temperature 0 --seed 1 \"Is 221 prime?\"
  For a script:
    specthink ask --large http://127.0.0.1:7102 --json --fail-degraded - < question.txt | jq -r .answer

Where one of --small and --large is given, the other one's default is its usual address on this
machine. Where neither is, the built-in pair answers.

Standard output is the answer. On a terminal the large model's words are coloured; in a pipe
they stand between marks: ⟦large: reflection⟧ ... ⟦/⟧. The summary goes to standard error.";

/// Arguments of `ask`.
#[derive(Debug, clap::Args)]
#[command(after_help = ASK_AFTER_HELP, after_long_help = long_after_help())]
pub(crate) struct AskArgs {
    /// The question; `-` reads it from standard input.
    pub(crate) question: OsString,

    #[command(flatten)]
    pub(crate) answering: AnsweringArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) seed: SeedArgs,
    /// Take the question as the model's raw input, without a chat template.
    #[arg(long, conflicts_with = "system", help_heading = "Writing")]
    pub(crate) raw: bool,
    /// End the answer before this text, whoever writes it; may be given more than once. Looked for behind the thought.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new(), help_heading = "Writing")]
    pub(crate) stop: Vec<String>,

    /// Log the whole run to this new file, one JSON object a line (see `specthink trace`).
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) journal: Option<PathBuf>,
    /// Print one JSON object (answer, spans, summary) when the answer is complete.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Exit with code 10 when the answer is degraded.
    #[arg(long, help_heading = "Output")]
    pub(crate) fail_degraded: bool,
    #[command(flatten)]
    pub(crate) look: LookArgs,
}

const EVAL_AFTER_HELP: &str = "\
Examples:
  The default policy over GSM8K's test set; run it again to go on after an interruption:
    specthink eval gsm8k.jsonl --log strict.jsonl
  The small model alone, for comparison; the first 50 questions:
    specthink eval gsm8k.jsonl --policy small-only --limit 50
  Random switching at the share that strict had:
    specthink eval gsm8k.jsonl --policy random --share 0.21 --log random.jsonl

A data set is JSON lines. Read are our own shape (id, question, answer) and those of GSM8K, MATH-500,
AIME, AMC 23 and SVAMP as published. The answer is what stands in the last \\boxed{}, else the last
number. Standard output gets the figures, standard error the progress.";

/// Arguments of `eval`.
#[derive(Debug, clap::Args)]
#[command(after_help = EVAL_AFTER_HELP)]
pub(crate) struct EvalArgs {
    /// The data set: JSON lines.
    pub(crate) data: PathBuf,
    /// Write a line for every question to this file, or take it up again: what is graded in it is
    /// not asked again.
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
    /// Colour the large model's words, or set marks around them. NO_COLOR turns `auto` off.
    #[arg(long, value_enum, default_value = "auto", help_heading = "Output")]
    pub(crate) color: When,
}

/// Arguments of `trace`.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceArgs {
    /// The journal, as `specthink ask --journal FILE` wrote it.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) look: LookArgs,
}

/// When something is done.
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
