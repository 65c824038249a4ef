//! The arguments of `size`.

use std::path::{Path, PathBuf};

use cli::{CliError, Exit};
use lab::sizing::{Fleet, NodePool, Population, SizingTarget, SpeedCurve};

use super::{JournalsArgs, LinksArgs, PricesArgs};
use crate::exit::cli_error;

const SIZE_AFTER_HELP: &str = "\
Examples:
  What three large nodes make of two thousand users:
    specthink-lab size sweep/strict/loopback --users 2000 --questions-per-hour 6 \\
        --large-speeds l40s.toml --large-nodes 3
  How many it takes for 19 of 20 answers within 20 s, over a link:
    specthink-lab size sweep/strict/loopback --users 2000 --questions-per-hour 6 \\
        --large-speeds l40s.toml --link 4g-good --target \"latency<=20s\"

docs/sizing.md says what is assumed, what a file of speeds holds, and how they are measured.";

/// Arguments of `size`.
#[derive(Debug, clap::Args)]
#[command(after_help = SIZE_AFTER_HELP)]
pub(crate) struct SizeArgs {
    #[command(flatten)]
    pub(crate) journals: JournalsArgs,
    /// How many users ask.
    #[arg(long, value_name = "N", help_heading = "Population")]
    users: u64,
    /// How many questions each asks in an hour.
    #[arg(long, value_name = "N", help_heading = "Population")]
    questions_per_hour: f64,
    /// Where chance starts from: who asks when, and the link's.
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Population")]
    seed: u64,
    /// How many answers the figures are computed from.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000_000),
        help_heading = "Population"
    )]
    answers: u32,
    /// A TOML file of how fast a large node is; see docs/sizing.md.
    #[arg(long, value_name = "FILE", help_heading = "Nodes")]
    large_speeds: PathBuf,
    /// How many large nodes there are. [default: the least that keep the targets]
    #[arg(
        long,
        value_name = "N",
        required_unless_present = "target",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "Nodes"
    )]
    pub(crate) large_nodes: Option<u32>,
    /// What has to be kept at p95: latency<=8s (whole answers), takeover<=500ms (from an ask of the large model to its
    /// first text). Several times. Says how many large nodes that takes.
    #[arg(long, value_name = "TARGET", help_heading = "Nodes")]
    pub(crate) target: Vec<SizingTarget>,
    /// A TOML file of how fast a small node is, where all users share so many.
    /// [default: each has one, as fast as the recorded one]
    #[arg(long, value_name = "FILE", requires = "small_nodes", help_heading = "Nodes")]
    small_speeds: Option<PathBuf>,
    /// How many small nodes all users share.
    #[arg(
        long,
        value_name = "N",
        requires = "small_speeds",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "Nodes"
    )]
    small_nodes: Option<u32>,
    /// The link between the coordinator and the large nodes, by name or description. [default: none]
    #[arg(long, value_name = "LINK", help_heading = "Nodes")]
    pub(crate) link: Option<String>,
    #[command(flatten)]
    pub(crate) links: LinksArgs,
    #[command(flatten)]
    pub(crate) prices: PricesArgs,
}

impl SizeArgs {
    pub(crate) fn population(&self) -> Population {
        Population {
            users: self.users,
            questions_per_hour: self.questions_per_hour,
            seed: self.seed,
            answers: self.answers as usize,
        }
    }

    /// The nodes; one large one where their number is asked for.
    ///
    /// # Errors
    /// When a file of speeds cannot be used.
    pub(crate) fn fleet(&self) -> Result<Fleet, CliError> {
        let curve = |path: &Path| SpeedCurve::read(path).map_err(cli_error);
        let pool = |path: &Path, nodes| -> Result<NodePool, CliError> {
            Ok(NodePool { nodes, curve: curve(path)? })
        };
        let small = match (&self.small_speeds, self.small_nodes) {
            (Some(path), Some(nodes)) => Some(pool(path, nodes)?),
            (None, None) => None,
            // clap wants both.
            _ => return Err(CliError::new(Exit::Usage, "give --small-speeds and --small-nodes")),
        };
        Ok(Fleet { large: pool(&self.large_speeds, self.large_nodes.unwrap_or(1))?, small })
    }
}
