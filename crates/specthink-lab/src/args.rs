//! The raw arguments, as clap reads them, and a file of them. What they mean together is in `sweep`.

mod size;
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
    tune::{Threshold, TuneArgs},
};
use crate::pairs::{PairArg, Pairs};

/// Experiments over links that this machine does not have.
#[derive(Debug, Parser)]
#[command(name = "specthink-lab", version, max_term_width = 100)]
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
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the links that have a name.
    Links(LinksArgs),
    /// Measure what links really give on this machine, some ten seconds a link.
    Calibrate(CalibrateArgs),
    /// Ask every question of a data set with every policy over every link.
    Sweep(Box<SweepArgs>),
    /// Say what recorded answers would have cost over other links, without models.
    Replay(ReplayArgs),
    /// Write the report of sweeps: figures, their numbers, what they can say.
    Report(ReportArgs),
    /// Say which policy fits a link, from what sweeps measured.
    Plan(PlanArgs),
    /// Say how many users so many nodes serve, how long these wait, and how many nodes a target takes.
    Size(Box<SizeArgs>),
    /// Choose the threshold of a review on a development set, and write a policy with a name.
    Tune(Box<TuneArgs>),
    /// Check what must hold of every answer over simulated nodes and links, without models.
    Simulate(SimulateArgs),
    /// Write completions and manual pages of this program into a folder: for who packages it.
    #[command(hide = true)]
    Manual(ManualArgs),
}

/// Where links come from.
#[derive(Debug, clap::Args)]
pub(crate) struct LinksArgs {
    /// A TOML file of more links; see docs/links.md.
    #[arg(long, value_name = "FILE", help_heading = "Experiment")]
    pub(crate) links_file: Option<PathBuf>,
}

/// What makes links slow.
#[derive(Debug, clap::Args)]
pub(crate) struct ShapingArgs {
    /// Make links of real packets, by the kernel's netem between network namespaces, instead of by a proxy. Needs
    /// root on Linux, a kernel with sch_netem, and iproute2; see docs/links.md.
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
    /// Links, by name or description. [default: every link that has a name]
    pub(crate) link: Vec<String>,
    /// How long round trips are measured on each link. Rare stalls show in minutes only.
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
  The answers of a sweep over loopback, over every link that has a name:
    specthink-lab replay sweep/strict/loopback
  One answer over a link of your own, row by row for other programs:
    specthink ask --journal one.jsonl \"What is 17 * 23?\"
    specthink-lab replay one.jsonl --link rtt=90ms,jitter=3ms --rows replayed.jsonl

docs/replay.md says what replay can and cannot show.";

/// Recorded answers.
#[derive(Debug, clap::Args)]
pub(crate) struct JournalsArgs {
    /// Journals, or folders with journals, best recorded over loopback.
    #[arg(required = true)]
    pub(crate) journal: Vec<PathBuf>,
    /// The journals were recorded over a link, not over loopback: what no node accounts for is that
    /// link's, and left out.
    #[arg(long, help_heading = "Experiment")]
    pub(crate) recorded_over_link: bool,
}

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = REPLAY_AFTER_HELP)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) journals: JournalsArgs,
    /// A link between the coordinator and the large node, by name or description. Several times.
    /// [default: every link that has a name]
    #[arg(long, value_name = "LINK", help_heading = "Experiment")]
    pub(crate) link: Vec<String>,
    /// Where the links' randomness starts from.
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Experiment")]
    pub(crate) seed: u64,
    /// Write every replayed answer to this file too, as a line of JSON.
    #[arg(long, value_name = "FILE", help_heading = "Experiment")]
    pub(crate) rows: Option<PathBuf>,
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

/// What tokens cost.
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
  One that keeps a budget:
    specthink-lab plan sweep --link geo --target \"share<=40%\" --target \"latency<=5s\"

docs/plan.md tells where the figures are from.";

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
    /// What the policy has to keep: accuracy>=80%, share<=10%, corrections<=2 (an answer), latency<=8s (at p95),
    /// cost<=0.002 (an answer).
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Vec<PlanTarget>,
    /// Only pairs whose name, or the names of whose models, contain this.
    #[arg(long, value_name = "TEXT")]
    pub(crate) pair: Option<String>,
    #[command(flatten)]
    pub(crate) prices: PricesArgs,
    #[command(flatten)]
    pub(crate) links: LinksArgs,
}

/// Arguments of `simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct SimulateArgs {
    /// How many answers, of one seed each.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) from: u64,
    /// The answer of this seed alone.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "from"])]
    pub(crate) seed: Option<u64>,
    /// Print all that happens in it.
    #[arg(long, requires = "seed")]
    pub(crate) trace: bool,
    /// Over pools of nodes, which come and go, crash and start again.
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

A file of an experiment is TOML with the flags by their names, and data. A flag takes the place of
the file's. The same command again goes on where an interrupted sweep ended.";

/// The paper's policy, the models alone, and what every gain has to be measured against: switching by chance and by the
/// clock at an equal share, and sending the whole text at every takeover.
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
    /// Take what is not given here from this TOML file.
    #[arg(long, value_name = "FILE", help_heading = "Experiment")]
    pub(crate) experiment: Option<PathBuf>,
    /// A pair of models: NAME=SMALL,LARGE with the addresses of both nodes or their @NAMEs in
    /// --endpoints, or builtin. With pairs that have names each has its folder in the folder of the
    /// results, beside a report on all.
    #[arg(long, value_name = "PAIR", conflicts_with_all = ["small", "large"], help_heading = "Experiment")]
    pub(crate) pair: Vec<PairArg>,
    /// A policy and its parameters, which are the flags of `specthink eval`: random:share=0.3. A share may name a
    /// policy given before it, as in random:share=strict: then it is that policy's, measured over the same link.
    #[arg(long, value_name = "POLICY", default_values = DEFAULT_POLICIES, help_heading = "Experiment")]
    pub(crate) policy: Vec<String>,
    /// A link between here and the large node, by name or description: geo, rtt=90ms,loss=1%; all stands for every
    /// link that has a name.
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

/// What is asked of whom, whatever the policies and the links.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AskingArgs {
    /// The data set: JSON lines.
    pub(crate) data: Option<PathBuf>,
    /// The folder of the results: a new one, or one to go on in.
    #[arg(long, value_name = "FOLDER", help_heading = "Experiment")]
    pub(crate) out: Option<PathBuf>,
    /// Where randomness starts from, the models' and the links'. Several times.
    #[arg(long, value_name = "S", default_values_t = [0], help_heading = "Experiment")]
    pub(crate) seed: Vec<u64>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) answering: AnsweringArgs,
}

impl AskingArgs {
    /// The folder of the results.
    pub(crate) fn out(&self) -> Result<&Path, CliError> {
        let message = "no folder for the results: give --out FOLDER";
        self.out.as_deref().ok_or_else(|| CliError::new(Exit::Usage, message))
    }
}

/// A policy of a sweep.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// As it was written.
    pub(crate) name: String,
    pub(crate) args: PolicyArgs,
    /// The policy whose share of the large model it takes, measured in the same sweep: its place among the policies.
    pub(crate) share_of: Option<usize>,
}

impl SweepArgs {
    /// The pairs, as they are given.
    pub(crate) fn pairs(&self) -> Pairs<'_> {
        Pairs { named: &self.pair, answering: &self.asking.answering }
    }

    /// The policies, read.
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
                // Stands in for what is not known yet, so that everything else can be checked.
                args.share = Some(0.0);
                share_of = Some(of);
            }
            choices.push(Choice { name: text.clone(), args, share_of });
        }
        Ok(choices)
    }
}

/// Takes a share that names a policy out of a policy's text: `random:share=strict` is `random:`
/// with the share of `strict`.
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
    /// Help, version, or what clap refuses.
    Clap(clap::Error),
    /// The experiment's file.
    File(CliError),
}

impl Args {
    /// Reads the arguments, and the experiment's file where they name one.
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
                let mend = "give --experiment a TOML file with the flags of sweep by their names";
                Refused::File(CliError::new(Exit::Usage, format!("{shown}: {why}; {mend}")))
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

/// The flags that say which nodes are asked.
const NODES: [&str; 5] = ["small", "small-token-file", "large", "large-token-file", "pair"];

/// The file's keys as arguments, but for those that the command line has.
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
            return Err(format!("{key:?} is no flag of sweep, {nearest} is"));
        }
        // Which nodes are asked is said by all of them together.
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
                _ if key == "data" => return Err("data is no path: put it in quotes".to_owned()),
                toml::Value::String(text) => format!("--{key}={text}").into(),
                toml::Value::Table(_) | toml::Value::Array(_) => {
                    return Err(format!("{key} is no value, nor a list of values"));
                }
                number => format!("--{key}={number}").into(),
            });
        }
    }
    Ok(flags)
}
