//! The arguments of `size`.

use cli::{CliError, Exit};
use lab::sizing::{Fleet, NodePool, Population, SizingTarget};

use super::{JournalsArgs, LinksArgs, MachinesArgs, PricesArgs};

const SIZE_AFTER_HELP: &str = "\
Examples:
  How three large nodes cope with two thousand users:
    specthink-lab size sweep/strict/loopback --users 2000 --questions-per-hour 6 \\
        --large-speeds h200:32b-bf16 --large-nodes 3
  How many large nodes keep 19 of 20 answers within 20 s, over a link:
    specthink-lab size sweep/strict/loopback --users 2000 --questions-per-hour 6 \\
        --large-speeds l40s.toml --link 4g-good --target \"latency<=20s\"

docs/sizing.md describes the assumptions, the format of a file of speeds and how to measure them.";

/// Arguments of `size`.
#[derive(Debug, clap::Args)]
#[command(after_help = SIZE_AFTER_HELP)]
pub(crate) struct SizeArgs {
    #[command(flatten)]
    pub(crate) journals: JournalsArgs,
    /// How many users there are.
    #[arg(long, value_name = "N", help_heading = "Population")]
    users: u64,
    /// How many questions each user asks per hour.
    #[arg(long, value_name = "N", help_heading = "Population")]
    questions_per_hour: f64,
    /// The seed of who asks when, and of the link.
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Population")]
    seed: u64,
    /// How many answers to compute the figures from.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000_000),
        help_heading = "Population"
    )]
    answers: u32,
    /// How fast a large node is: MACHINE:MODEL, such as h200:32b-bf16, or a file of speeds; see docs/machines.md.
    #[arg(long, value_name = "SPEEDS", help_heading = "Nodes")]
    large_speeds: String,
    /// How many large nodes there are. [default: the fewest that meet the targets]
    #[arg(
        long,
        value_name = "N",
        required_unless_present = "target",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "Nodes"
    )]
    pub(crate) large_nodes: Option<u32>,
    /// A target at p95: latency<=8s (whole answers), takeover<=500ms (from an ask of the large model to its first
    /// text). May be repeated. Prints the fewest large nodes that meet all targets.
    #[arg(long, value_name = "TARGET", help_heading = "Nodes")]
    pub(crate) target: Vec<SizingTarget>,
    /// How fast a small node is, if all users share --small-nodes of them: as --large-speeds.
    /// [default: each user has one, as fast as the recorded one]
    #[arg(long, value_name = "SPEEDS", requires = "small_nodes", help_heading = "Nodes")]
    small_speeds: Option<String>,
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
    machines: MachinesArgs,
    #[command(flatten)]
    pub(crate) links: LinksArgs,
    #[command(flatten)]
    pub(crate) prices: PricesArgs,
}

impl SizeArgs {
    /// Returns who asks and how often.
    pub(crate) fn population(&self) -> Population {
        Population {
            users: self.users,
            questions_per_hour: self.questions_per_hour,
            seed: self.seed,
            answers: self.answers as usize,
        }
    }

    /// Returns the nodes, with one large node if their number is to be found.
    ///
    /// # Errors
    /// When speeds cannot be used.
    pub(crate) fn fleet(&self) -> Result<Fleet, CliError> {
        let pool = |speeds: &str, nodes| -> Result<NodePool, CliError> {
            Ok(NodePool { nodes, curve: self.machines.curve(speeds)? })
        };
        let small = match (&self.small_speeds, self.small_nodes) {
            (Some(speeds), Some(nodes)) => Some(pool(speeds, nodes)?),
            (None, None) => None,
            // clap requires both.
            _ => return Err(CliError::new(Exit::Usage, "give --small-speeds and --small-nodes")),
        };
        Ok(Fleet { large: pool(&self.large_speeds, self.large_nodes.unwrap_or(1))?, small })
    }
}
