//! Arguments that commands which ask have in common: `ask`, `eval`, and the lab's `sweep`. What they mean together is
//! in `answering`, `policy`, `node_endpoints` and `run`.

mod named;
mod review;

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{
    Args as _, FromArgMatches as _, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use flags::positive_duration;
use pool::Hedging;
use strum::Display;
use thinking::policy::{LoopRule, PolicyKind, Preset, Target};

pub use self::named::NamedNode;
use self::{named::NamedNodes, review::ReviewArgs};
use crate::endpoints::{Endpoints, EndpointsError};

/// How questions are answered, but for who writes when.
#[derive(Debug, Clone, clap::Args)]
pub struct AnsweringArgs {
    /// Which nodes.
    #[command(flatten)]
    pub nodes: NodesArgs,
    /// How tokens are drawn.
    #[command(flatten)]
    pub writing: WritingArgs,
    /// How connections are secured.
    #[command(flatten)]
    pub security: SecurityArgs,
}

/// Which nodes, and how long they may be silent.
#[derive(Debug, Clone, clap::Args)]
pub struct NodesArgs {
    /// Those that are named.
    #[command(flatten)]
    pub named: NamedNodes,
    /// The nodes that --small @NAME and --large @NAME mean: a TOML file with a table for each name, with its address,
    /// how it is secured and what it serves. See docs/ask.md.
    #[arg(long, value_name = "FILE", help_heading = "Nodes")]
    pub endpoints: Option<PathBuf>,
    /// The same from tables of another file, where --endpoints names none.
    #[arg(skip)]
    pub(crate) own_endpoints: Option<Endpoints>,
    /// Treat a large node as lost after this much silence; the next one, or else the small one, goes on without it. A
    /// sign of life, which a node gives every few seconds, breaks the silence.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = positive_duration, help_heading = "Nodes")]
    pub large_timeout: Duration,
    /// Try a lost large node again after this time when no other one is left, then twice as long each time up to 30s;
    /// the answer stays marked degraded. `never`: do not try.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration_or_never, help_heading = "Nodes")]
    pub rejoin_after: Duration,
    /// Ask a second large node, too, where a takeover has no text for longer than usual (95 % of the last ones were
    /// quicker), or for TIME; the first text wins. It costs what the second one reads.
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "late",
        value_parser = hedging,
        help_heading = "Nodes"
    )]
    pub hedge: Option<Hedging>,
    /// Treat a small node as lost after this much silence.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = positive_duration, help_heading = "Nodes")]
    pub small_timeout: Duration,
    /// Send a node the other's text only when it must write, instead of ahead (to measure what
    /// reading ahead is worth).
    #[arg(long, help_heading = "Nodes")]
    pub no_keep_warm: bool,
}

impl NodesArgs {
    /// What the names of nodes stand for, where that is said.
    ///
    /// # Errors
    /// When the file of endpoints does not work.
    pub(crate) fn endpoints(&self) -> Result<Option<Endpoints>, EndpointsError> {
        match &self.endpoints {
            Some(path) => Endpoints::read(path).map(Some),
            None => Ok(self.own_endpoints.clone()),
        }
    }

    /// Takes endpoints that no flag names: they count where --endpoints names none.
    pub fn take_endpoints(&mut self, endpoints: Endpoints) {
        self.own_endpoints = Some(endpoints);
    }
}

/// Who writes when.
#[derive(Debug, Clone, clap::Args)]
pub struct PolicyArgs {
    /// Who writes when. `strict`: the paper's rules without the leaks of its published loop; `paper`:
    /// that loop to the letter; `review`: the large model reads along and puts a word of its own where it would have
    /// written another (see docs/review.md), `strict+review`: both; the others are for comparison.
    #[arg(long, value_name = "NAME", default_value_t, value_parser = policies(), help_heading = "Policy")]
    pub policy: PolicyKind,
    /// What kind of small model it is: one that reasons by itself (R1-Distill, Qwen3), or one that
    /// does not (Qwen2.5-Instruct, SmolLM2), for which the large one begins.
    #[arg(long, value_name = "NAME", default_value_t, value_parser = presets(), help_heading = "Policy")]
    pub preset: Preset,
    /// The policy's parameters: a YAML file with the keys of the paper's authors. For `paper` and
    /// `strict`; the preset is then not used.
    #[arg(long, value_name = "FILE", conflicts_with = "preset", help_heading = "Policy")]
    pub policy_file: Option<PathBuf>,
    /// The large model's share of the tokens, from 0 to 1. For `random`, `random-token` and `periodic`.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Policy")]
    pub share: Option<f64>,
    /// Tokens of a period, of which the large model writes the last SHARE. For `periodic`.
    /// [default: 200]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        allow_negative_numbers = true,
        help_heading = "Policy"
    )]
    pub period: Option<u32>,
    /// The large model writes the paragraphs of whose first token the small one is less sure than this: the token's
    /// entropy is over so many nats. For `entropy`. [default: 1]
    #[arg(long, value_name = "NATS", allow_negative_numbers = true, help_heading = "Policy")]
    pub entropy: Option<f32>,
    /// The large model gives every paragraph a mark from 0 to 9, and writes those again that have a lower one. For
    /// `score`. [default: 7]
    #[arg(
        long,
        value_name = "MARK",
        value_parser = clap::value_parser!(u32).range(0..=10),
        allow_negative_numbers = true,
        help_heading = "Policy"
    )]
    pub score: Option<u32>,
    /// Send the large node the whole text at every takeover, in a session of its own, as systems without
    /// sessions do. For comparison; the answers are the same.
    #[arg(long, help_heading = "Policy")]
    pub resend: bool,
    /// Cancel a takeover when the large model's first text has not arrived within this time; the small one goes on in
    /// its place. [default: wait while the node gives signs of life]
    #[arg(long, value_name = "TIME", value_parser = positive_duration, help_heading = "Policy")]
    pub takeover_deadline: Option<Duration>,
    /// While waiting for the large model, let the small one draft up to N tokens. If the draft is done first, keep it
    /// and cancel the takeover.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        allow_negative_numbers = true,
        help_heading = "Policy"
    )]
    pub overlap: Option<u32>,
    /// Skip takeovers that would exceed this: `share<=10%` of the tokens, `latency<=8s` or `cost<=0.002` of an answer.
    /// Takeovers after affirmations are the first to be skipped. Give several: all hold. See docs/ask.md.
    #[arg(long, value_name = "TARGET", help_heading = "Policy")]
    pub target: Vec<Target>,
    /// What to do about an answer that repeats itself to the byte, at least 3 times and over 200 bytes. `hand-over`:
    /// let the large model lead out of it, and end the answer when it happens again; `end`: end it at once.
    /// [default: hand-over; for small-only and large-only end; for paper off, and nothing else]
    #[arg(long, value_name = "RULE", value_parser = loop_rules(), help_heading = "Policy")]
    pub loops: Option<LoopRule>,
    /// What tokens cost, for a target of costs and to show what an answer cost: a TOML file as in docs/report.md.
    /// [default: by the endpoints of the nodes, where both have a price]
    #[arg(long, value_name = "FILE", help_heading = "Policy")]
    pub prices: Option<PathBuf>,
    /// No takeovers once the thought is over: behind `</think>` the small model writes the answer proper alone.
    /// [default: takeovers go on to the end, as in the authors' loop]
    #[arg(long, help_heading = "Policy")]
    pub thought_only: bool,
    /// How the large model reviews.
    #[command(flatten)]
    pub review: ReviewArgs,
}

/// How tokens are drawn, and how many.
#[derive(Debug, Clone, clap::Args)]
pub struct WritingArgs {
    /// Greatest number of tokens made for the answer by both models together, those that are cut off
    /// at a trigger too; with `--policy paper` of the prompt and the tokens kept.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2048,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Writing"
    )]
    pub max_tokens: u32,
    /// How freely tokens are drawn; 0 always takes the likeliest.
    #[arg(
        long,
        value_name = "T",
        allow_negative_numbers = true,
        default_value_t = 0.6,
        help_heading = "Writing"
    )]
    pub temperature: f32,
    /// Draw from the K likeliest tokens only; 0 is off.
    #[arg(
        long,
        value_name = "K",
        allow_negative_numbers = true,
        default_value_t = 50,
        help_heading = "Writing"
    )]
    pub top_k: u32,
    /// Draw from the likeliest tokens that together reach this probability; 0 or 1 is off.
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        default_value_t = 0.95,
        help_heading = "Writing"
    )]
    pub top_p: f32,
    /// Draw only tokens at least this fraction as likely as the likeliest; 0 is off.
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        default_value_t = 0.0,
        help_heading = "Writing"
    )]
    pub min_p: f32,
    /// Make tokens that were used already less likely: from 0.01 to 100; 1 is off.
    #[arg(
        long,
        value_name = "R",
        allow_negative_numbers = true,
        default_value_t = 1.0,
        help_heading = "Writing"
    )]
    pub repetition_penalty: f32,
    /// A system message before the question.
    #[arg(long, value_name = "TEXT", help_heading = "Writing")]
    pub system: Option<String>,
    /// Time for the whole answer, such as 90s or 2m; then it is cut off.
    #[arg(long, value_name = "TIME", value_parser = positive_duration, help_heading = "Writing")]
    pub deadline: Option<Duration>,
}

/// How a data set is run through.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Only the first N questions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Run")]
    pub limit: Option<u64>,
    /// Questions at a time.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..=1024),
        help_heading = "Run"
    )]
    pub parallel: u16,
    /// Leave broken lines of the data set out, and count them.
    #[arg(long, help_heading = "Run")]
    pub skip_bad: bool,
    /// Who grades. `own`: numbers and LaTeX compared after normalising; `math-verify`: what that
    /// does not find equal goes to the Python package of this name.
    #[arg(long, value_enum, default_value = "own", value_name = "NAME", help_heading = "Run")]
    pub grader: GraderKind,
    /// The Python 3 that has math-verify.
    #[arg(long, value_name = "PROGRAM", default_value = "python3", help_heading = "Run")]
    pub python: PathBuf,
}

/// Who grades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Display)]
#[strum(serialize_all = "kebab-case")]
pub enum GraderKind {
    /// The crate `grading`.
    Own,
    /// And Python's math-verify.
    MathVerify,
}

/// Where randomness starts from.
#[derive(Debug, Clone, clap::Args)]
pub struct SeedArgs {
    /// The same question, seed, models and devices give the same answer, but for near-ties that a
    /// node's rounding decides (see docs/ask.md).
    #[arg(
        long,
        value_name = "S",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = seed,
        help_heading = "Writing"
    )]
    pub seed: u64,
}

/// How connections are secured.
#[derive(Debug, Clone, clap::Args)]
pub struct SecurityArgs {
    /// Trust nodes whose certificate this authority signed (PEM), and no others.
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    pub tls_ca: Option<PathBuf>,
    /// Our own certificate (PEM), for nodes that ask for one.
    #[arg(
        long,
        visible_alias = "tls-client-cert",
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Security"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The private key of our certificate (PEM).
    #[arg(
        long,
        visible_alias = "tls-client-key",
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Security"
    )]
    pub tls_key: Option<PathBuf>,
    /// A file with the token of one node, the first large one where there is one, else the first small one; else the
    /// variable SPECTHINK_TOKEN holds it. Not for a node with a token file of its own. See --small-token-file.
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    pub token_file: Option<PathBuf>,
    /// Allow plain text, the token too, to other machines.
    #[arg(long, help_heading = "Security")]
    pub insecure: bool,
    /// Greatest size of a message, either way.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = transport::DEFAULT_MAX_MESSAGE_BYTES as u64,
        value_parser = clap::value_parser!(u64).range(1024..),
        help_heading = "Security"
    )]
    pub max_message_bytes: u64,
}

impl FromStr for PolicyArgs {
    type Err = String;

    /// A policy as one text: its name, then the flags that belong to it without their dashes, as in
    /// `periodic:share=0.3,period=100`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let parameters = parameters.split(',').filter(|parameter| !parameter.is_empty());
        let flags = parameters.map(|parameter| format!("--{}", parameter.trim()));
        let command = PolicyArgs::augment_args(clap::Command::new("policy").no_binary_name(true));
        let matches = command
            .disable_help_flag(true)
            .try_get_matches_from([format!("--policy={}", name.trim())].into_iter().chain(flags))
            .and_then(|matches| PolicyArgs::from_arg_matches(&matches));
        matches.map_err(|error| {
            let text = error.to_string();
            let line = text.split("\n\nUsage").next().unwrap_or(&text);
            let line = line.strip_prefix("error: ").unwrap_or(line);
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        })
    }
}

fn policies() -> impl TypedValueParser<Value = PolicyKind> {
    let names = PolicyKind::ALL.iter().map(|kind| kind.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<PolicyKind>())
}

fn presets() -> impl TypedValueParser<Value = Preset> {
    let names = Preset::ALL.iter().map(|preset| preset.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Preset>())
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("write a whole number from 0 to {}", u64::MAX))
}

fn loop_rules() -> impl TypedValueParser<Value = LoopRule> {
    let names = LoopRule::ALL.iter().map(|rule| rule.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<LoopRule>())
}

/// Reads a time above zero; `never` is zero.
fn hedging(text: &str) -> Result<Hedging, String> {
    if text == "late" {
        return Ok(Hedging::WhenLate);
    }
    let time = positive_duration(text).map(Hedging::After);
    time.map_err(|why| format!("{why}, or late, which is also what no time means"))
}

fn duration_or_never(text: &str) -> Result<Duration, String> {
    if text == "never" {
        return Ok(Duration::ZERO);
    }
    positive_duration(text).map_err(|why| format!("{why}, or never"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_can_be_one_text() {
        let policy: PolicyArgs = "periodic:share=0.3, period=100".parse().unwrap();
        assert_eq!((policy.policy, policy.share), (PolicyKind::Periodic, Some(0.3)));
        assert_eq!(policy.period, Some(100));
        assert_eq!("strict".parse::<PolicyArgs>().unwrap().policy, PolicyKind::Strict);
        let hasty: PolicyArgs = "strict:takeover-deadline=300ms".parse().unwrap();
        let both: PolicyArgs = "paper:overlap=20,takeover-deadline=1s".parse().unwrap();
        assert_eq!(
            (both.overlap, both.takeover_deadline),
            (Some(20), Some(Duration::from_secs(1)))
        );
        assert_eq!(hasty.takeover_deadline, Some(Duration::from_millis(300)));
        let thrifty: PolicyArgs = "strict:target=share<=10%,target=latency<=8s".parse().unwrap();
        assert!("strict:thought-only".parse::<PolicyArgs>().unwrap().thought_only);
        assert_eq!(thrifty.target, [Target::Share(0.1), Target::Latency(Duration::from_secs(8))]);
        for (text, why) in [
            ("strickt", "strickt"),
            ("", "--policy"),
            ("random:share=much", "'much' for '--share"),
            ("random:shares=0.3", "--shares"),
            ("strict:target=share<10%", "write share<=10%"),
        ] {
            let line = text.parse::<PolicyArgs>().unwrap_err();
            assert!(line.contains(why) && !line.contains('\n'), "{text}: {line}");
        }
    }

    #[test]
    fn never_is_zero_and_zero_is_refused() {
        assert_eq!(duration_or_never("never"), Ok(Duration::ZERO));
        assert_eq!(duration_or_never("90"), Ok(Duration::from_secs(90)));
        assert!(duration_or_never("0").unwrap_err().ends_with(", or never"));
    }
}
