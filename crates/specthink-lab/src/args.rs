//! The raw arguments as clap reads them, and the file that can hold them. What they mean together is in `sweep`.

mod size;
mod speeds;
mod tune;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use answer::prices::{Prices, PricesError};
use clap::{
    Arg, ArgAction, ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    parser::ValueSource,
};
use cli::{AnsweringArgs, CliError, Exit, PolicyArgs, RunArgs};
use flags::LogFormat;
use lab::{link::Shaping, plan::PlanTarget};
use manual::ManualArgs;
use thinking::names::nearest;

pub(crate) use self::{
    size::SizeArgs,
    speeds::{MachinesArgs, SpeedsArgs},
    tune::{Threshold, TuneArgs},
};
use crate::pairs::{PairArg, Pairs};

/// Experiments over links that this machine does not have.
#[derive(Debug, Parser)]
#[command(name = "specthink-lab", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Log to standard error; repeat for more. SPECTHINK_LOG, or RUST_LOG if that is unset, takes a filter such as
    /// transport=debug, which overrides this flag.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// The format of the log: text, or json (one object per line).
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        env = "SPECTHINK_LOG_FORMAT",
        hide_default_value = true
    )]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the named links.
    Links(LinksArgs),
    /// List the machines and models that have a name, and how fast they are.
    Machines(MachinesArgs),
    /// Measure what links really deliver on this machine, about ten seconds per link.
    Calibrate(CalibrateArgs),
    /// Ask every question of a data set with every policy over every link.
    Sweep(Box<SweepArgs>),
    /// Compute what recorded answers would have cost over other links and on other machines, without models.
    Replay(ReplayArgs),
    /// Write a report on sweeps: figures, their numbers, and what was left out.
    Report(ReportArgs),
    /// Choose the policy that fits a link, from what sweeps measured.
    Plan(PlanArgs),
    /// Estimate how long users wait for shared nodes, and how many nodes a target needs.
    Size(Box<SizeArgs>),
    /// Choose the threshold of a review on a development set, and write it as a named policy.
    Tune(Box<TuneArgs>),
    /// Check the invariants of answers over simulated nodes and links, without models.
    Simulate(SimulateArgs),
    /// Write this program's completions and manual pages into a folder, for packagers.
    #[command(hide = true)]
    Manual(ManualArgs),
}

/// Where named links come from.
#[derive(Debug, clap::Args)]
pub(crate) struct LinksArgs {
    /// A TOML file with more links; see docs/links.md.
    #[arg(long, value_name = "FILE", help_heading = "Experiment")]
    pub(crate) links_file: Option<PathBuf>,
}

/// What shapes the links.
#[derive(Debug, clap::Args)]
pub(crate) struct ShapingArgs {
    /// Use links of real packets, shaped by the kernel's netem between network namespaces, instead of the proxy.
    /// Needs root on Linux, a kernel with sch_netem, and iproute2; see docs/links.md.
    #[arg(long, help_heading = "Experiment")]
    netem: bool,
}

impl ShapingArgs {
    pub(crate) fn chosen(&self) -> Shaping {
        if self.netem { Shaping::Netem } else { Shaping::Proxy }
    }
}

/// Arguments of `calibrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct CalibrateArgs {
    /// Links, by name or description. [default: every named link]
    pub(crate) link: Vec<String>,
    /// How long to measure round trips on each link. Rare stalls only show after minutes.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5s",
        value_parser = flags::duration,
        help_heading = "Experiment"
    )]
    pub(crate) time: Duration,
    #[command(flatten)]
    pub(crate) links: LinksArgs,
    #[command(flatten)]
    pub(crate) shaping: ShapingArgs,
}

const REPLAY_AFTER_HELP: &str = "\
Examples:
  The answers of a sweep over loopback, over every named link:
    specthink-lab replay sweep/strict/loopback
  One answer over a link of your own, row by row for other programs:
    specthink ask --journal one.jsonl \"What is 17 * 23?\"
    specthink-lab replay one.jsonl --link rtt=90ms,jitter=3ms --rows replayed.jsonl
  A 1.5B model on a laptop with a 32B one on an H200, over 4G:
    specthink-lab replay sweep/strict/loopback --link 4g-median \\
        --small-speeds laptop-cpu:1.5b-q4 --large-speeds h200:32b-bf16

docs/replay.md says what replay can and cannot show.";

/// Recorded answers.
#[derive(Debug, clap::Args)]
pub(crate) struct JournalsArgs {
    /// Journals, or folders with journals, best recorded over loopback.
    #[arg(required = true)]
    pub(crate) journal: Vec<PathBuf>,
    /// The journals were recorded over a link, not over loopback. Time that no node accounts for is then that link's,
    /// and left out.
    #[arg(long, help_heading = "Experiment")]
    pub(crate) recorded_over_link: bool,
}

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = REPLAY_AFTER_HELP)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) journals: JournalsArgs,
    /// A link between the coordinator and the large node, by name or description. May be repeated.
    /// [default: every named link]
    #[arg(long, value_name = "LINK", help_heading = "Experiment")]
    pub(crate) link: Vec<String>,
    /// The seed of the links' randomness.
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Experiment")]
    pub(crate) seed: u64,
    /// Also write every replayed answer to this file, as a line of JSON.
    #[arg(long, value_name = "FILE", help_heading = "Experiment")]
    pub(crate) rows: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) speeds: SpeedsArgs,
    #[command(flatten)]
    pub(crate) links: LinksArgs,
}

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Folders that `sweep` wrote, of one data set; finished or not.
    #[arg(required = true)]
    pub(crate) folder: Vec<PathBuf>,
    /// The report's folder. [default: `report` in the sweep's folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) prices: PricesArgs,
}

/// The prices of tokens.
#[derive(Debug, clap::Args)]
pub(crate) struct PricesArgs {
    /// A TOML file with the prices of tokens and traffic. [default: an example] See docs/report.md.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
}

impl PricesArgs {
    pub(crate) fn read(&self) -> Result<Prices, PricesError> {
        self.prices.as_deref().map_or_else(Prices::example, Prices::read)
    }
}

const PLAN_AFTER_HELP: &str = "\
Examples:
  The most accurate policy over a link that was not swept, by the answers over loopback:
    specthink-lab plan sweep --link 4g-median
  A policy within a budget:
    specthink-lab plan sweep --link geo --target \"share<=40%\" --target \"latency<=5s\"
  The same for a laptop and an H200, by the answers over loopback:
    specthink-lab plan sweep --link geo --small-speeds laptop-cpu:1.5b-q4 --large-speeds h200:32b-bf16

docs/plan.md says where the figures are from.";

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = PLAN_AFTER_HELP)]
pub(crate) struct PlanArgs {
    /// Folders that `sweep` wrote, of one data set; finished or not.
    #[arg(required = true)]
    pub(crate) folder: Vec<PathBuf>,
    /// The link between the coordinator and the large node, by name or description.
    #[arg(long, value_name = "LINK")]
    pub(crate) link: String,
    /// A target that the policy has to meet: accuracy>=80%, share<=10%, corrections<=2 (per answer), latency<=8s (at
    /// p95), cost<=0.002 (per answer). May be repeated.
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Vec<PlanTarget>,
    /// Only pairs whose name or models' names contain this text.
    #[arg(long, value_name = "TEXT")]
    pub(crate) pair: Option<String>,
    #[command(flatten)]
    pub(crate) speeds: SpeedsArgs,
    #[command(flatten)]
    pub(crate) prices: PricesArgs,
    #[command(flatten)]
    pub(crate) links: LinksArgs,
}

/// Arguments of `simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct SimulateArgs {
    /// How many answers to simulate, one per seed.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) from: u64,
    /// Simulate only the answer of this seed.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "from"])]
    pub(crate) seed: Option<u64>,
    /// Print everything that happens in it.
    #[arg(long, requires = "seed")]
    pub(crate) trace: bool,
    /// Use pools of nodes that come and go, crash and restart.
    #[arg(long)]
    pub(crate) pooled: bool,
}

const SWEEP_AFTER_HELP: &str = "\
Examples:
  The built-in pair over four links:
    specthink-lab sweep models/arithmetic/test.jsonl --limit 50 --out sweep
  Nodes of your own, over a link of your own:
    specthink-lab sweep gsm8k.jsonl --small http://127.0.0.1:7101 --large http://10.0.0.7:7102 \\
        --insecure --policy strict --policy random:share=0.3 --link rtt=90ms,loss=1% --out gsm8k
  Two pairs, one of them this program's own:
    specthink-lab sweep gsm8k.jsonl --pair builtin --pair qwen=http://127.0.0.1:7101,http://127.0.0.1:7102 --out both
  The same experiment from a file, with another limit:
    specthink-lab sweep --experiment experiment.toml --limit 10 --out short

An experiment's file is TOML with data and the flags by their names. A flag on the command line
overrides the file. To resume an interrupted sweep, run the same command again.";

/// The paper's policy, the models alone, and the baselines for every gain: switching at random and periodically at an
/// equal share, and sending the whole text at every takeover.
const DEFAULT_POLICIES: [&str; 6] = [
    "strict",
    "small-only",
    "large-only",
    "random:share=strict",
    "periodic:share=strict,period=50",
    "strict:resend",
];

/// Arguments of `sweep`.
#[derive(Debug, clap::Args)]
#[command(after_help = SWEEP_AFTER_HELP)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    pub(crate) asking: AskingArgs,
    /// A TOML file with the flags that are not given on the command line.
    #[arg(long, value_name = "FILE", help_heading = "Experiment")]
    pub(crate) experiment: Option<PathBuf>,
    /// A pair of models: NAME=SMALL,LARGE with the addresses of both nodes or their @NAMEs in --endpoints, or builtin.
    /// May be repeated. Each named pair gets its own folder inside the results, next to a report on all.
    #[arg(long, value_name = "PAIR", conflicts_with_all = ["small", "large"], help_heading = "Experiment")]
    pub(crate) pair: Vec<PairArg>,
    /// A policy and its parameters, which are the flags of `specthink eval`: random:share=0.3. May be repeated. A share
    /// may name a policy given before it, as in random:share=strict: it is then that policy's share, measured over the
    /// same link.
    #[arg(long, value_name = "POLICY", default_values = DEFAULT_POLICIES, help_heading = "Experiment")]
    pub(crate) policy: Vec<String>,
    /// A link between here and the large node, by name or description: geo, rtt=90ms,loss=1%; all means every named
    /// link. May be repeated.
    #[arg(
        long,
        value_name = "LINK",
        default_values = ["loopback", "fibre-metro", "4g-good", "geo"],
        help_heading = "Experiment"
    )]
    pub(crate) link: Vec<String>,
    #[command(flatten)]
    pub(crate) links: LinksArgs,
    #[command(flatten)]
    pub(crate) shaping: ShapingArgs,
}

/// What is asked and of which nodes, independent of policies and links.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AskingArgs {
    /// The data set, as JSON lines.
    pub(crate) data: Option<PathBuf>,
    /// The folder for the results: a new one, or one to resume in.
    #[arg(long, value_name = "FOLDER", help_heading = "Experiment")]
    pub(crate) out: Option<PathBuf>,
    /// The seed of the models' draws and of the links' randomness. May be repeated.
    #[arg(long, value_name = "S", default_values_t = [0], help_heading = "Experiment")]
    pub(crate) seed: Vec<u64>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) answering: AnsweringArgs,
}

impl AskingArgs {
    /// Returns the folder for the results.
    pub(crate) fn out(&self) -> Result<&Path, CliError> {
        let message = "no folder for the results: give --out FOLDER";
        self.out.as_deref().ok_or_else(|| CliError::new(Exit::Usage, message))
    }
}

/// A policy of a sweep.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// The policy as it was written.
    pub(crate) name: String,
    pub(crate) args: PolicyArgs,
    /// The index of the policy whose large share it uses, measured in the same sweep.
    pub(crate) share_of: Option<usize>,
}

impl SweepArgs {
    /// Returns the pairs as they were given.
    pub(crate) fn pairs(&self) -> Pairs<'_> {
        Pairs { named: &self.pair, answering: &self.asking.answering }
    }

    /// Parses the policies.
    pub(crate) fn policies(&self) -> Result<Vec<Choice>, CliError> {
        let refused =
            |text: &str, why: String| CliError::new(Exit::Usage, format!("policy {text:?}: {why}"));
        let mut choices: Vec<Choice> = Vec::new();
        for text in &self.policy {
            let (own, of) = split_share(text);
            let mut args: PolicyArgs = own.parse().map_err(|why| refused(text, why))?;
            let mut share_of = None;
            if let Some(of) = of {
                let of = choices.iter().position(|choice| choice.name == of).ok_or_else(|| {
                    let why = "give a number from 0 to 1, or name a policy that is given before it";
                    refused(text, format!("share={of}: {why}"))
                })?;
                if !choices[of].args.policy.uses_large() || choices[of].share_of.is_some() {
                    let why =
                        format!("share={}: that policy has no share of its own", choices[of].name);
                    return Err(refused(text, why));
                }
                // A placeholder for a value that is not known yet, so that everything else can be checked.
                args.share = Some(0.0);
                share_of = Some(of);
            }
            choices.push(Choice { name: text.clone(), args, share_of });
        }
        Ok(choices)
    }
}

/// Splits a share that names a policy off a policy's text: `random:share=strict` is `random:` with the share of
/// `strict`.
fn split_share(text: &str) -> (String, Option<&str>) {
    let Some((begin, rest)) = text.split_once("share=") else { return (text.to_owned(), None) };
    let (value, end) = rest.split_once(',').unwrap_or((rest, ""));
    match value.starts_with(|first: char| first.is_ascii_alphabetic()) {
        true => (format!("{begin},{end}"), Some(value.trim())),
        false => (text.to_owned(), None),
    }
}

/// Why there are no arguments.
pub(crate) enum Refused {
    /// clap printed help or the version, or refused the arguments.
    Clap(clap::Error),
    /// The experiment's file cannot be used.
    File(CliError),
}

impl Args {
    /// Reads the arguments, and the experiment's file if they name one.
    pub(crate) fn read(mut arguments: Vec<OsString>) -> Result<Args, Refused> {
        let parse = |arguments: &[OsString]| {
            Args::command().try_get_matches_from(arguments).map_err(Refused::Clap)
        };
        let mut matches = parse(&arguments)?;
        if let Some(("sweep", sweep)) = matches.subcommand()
            && let Some(path) = sweep.get_one::<PathBuf>("experiment")
        {
            let shown = path.display().to_string();
            let refused = |why: String| {
                let remedy = "give --experiment a TOML file with the flags of sweep by their names";
                Refused::File(CliError::new(Exit::Usage, format!("{shown}: {why}; {remedy}")))
            };
            let text = std::fs::read_to_string(path).map_err(|why| refused(why.to_string()))?;
            let table: toml::Table =
                text.parse().map_err(|why: toml::de::Error| refused(why.message().to_owned()))?;
            arguments.extend(flags(&table, sweep).map_err(refused)?);
            matches = parse(&arguments)?;
        }
        Args::from_arg_matches(&matches).map_err(Refused::Clap)
    }
}

/// The flags that name the nodes.
const NODES: [&str; 5] = ["small", "small-token-file", "large", "large-token-file", "pair"];

/// Returns the file's keys as arguments, except those that the command line has.
fn flags(table: &toml::Table, given: &ArgMatches) -> Result<Vec<OsString>, String> {
    let is_given =
        |key: &str| given.value_source(&key.replace('-', "_")) == Some(ValueSource::CommandLine);
    let command = Args::command();
    let sweep = command.find_subcommand("sweep").into_iter().flat_map(clap::Command::get_arguments);
    let known: Vec<&str> = sweep.filter_map(Arg::get_long).chain(["data"]).collect();
    let mut flags = Vec::new();
    for (key, value) in table {
        let key = key.replace('_', "-");
        if key == "experiment" || !known.contains(&key.as_str()) {
            let nearest = nearest(&key, &known);
            return Err(format!("{key:?} is not a flag of sweep, {nearest} is"));
        }
        // The flags that name nodes belong together: one of them on the command line overrides all of the file's.
        let one_of_nodes = NODES.contains(&key.as_str()) && NODES.into_iter().any(is_given);
        if one_of_nodes || is_given(&key) {
            continue;
        }
        let values = match value {
            toml::Value::Array(values) if values.is_empty() => {
                return Err(format!("{key} is empty: leave it out, or give it a value"));
            }
            toml::Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            flags.push(match value {
                toml::Value::Boolean(true) => format!("--{key}").into(),
                toml::Value::Boolean(false) => continue,
                toml::Value::String(text) if key == "data" => text.into(),
                _ if key == "data" => return Err("data is not a path: put it in quotes".to_owned()),
                toml::Value::String(text) => format!("--{key}={text}").into(),
                toml::Value::Table(_) | toml::Value::Array(_) => {
                    return Err(format!("{key} is neither a value nor a list of values"));
                }
                number => format!("--{key}={number}").into(),
            });
        }
    }
    Ok(flags)
}
