//! Arguments that the commands which ask questions share: `ask`, `eval`, `serve`, and the lab's `sweep`. `answering`,
//! `policy`, `node_endpoints` and `run` decide what they mean together.

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
use crate::{
    endpoints::{Endpoints, EndpointsError},
    exit::argument_fault,
};

/// How questions are answered, apart from the policy.
#[derive(Debug, Clone, clap::Args)]
pub struct AnsweringArgs {
    /// Which nodes are used.
    #[command(flatten)]
    pub nodes: NodesArgs,
    /// How tokens are sampled.
    #[command(flatten)]
    pub writing: WritingArgs,
    /// How connections are secured.
    #[command(flatten)]
    pub security: SecurityArgs,
}

/// Which nodes are used, and how long they may be silent.
#[derive(Debug, Clone, clap::Args)]
pub struct NodesArgs {
    /// The nodes that are named.
    #[command(flatten)]
    pub named: NamedNodes,
    /// A TOML file that defines the nodes of --small @NAME and --large @NAME: a table for each name, with its address,
    /// how it is secured and what it serves. See docs/ask.md.
    #[arg(long, value_name = "FILE", help_heading = "Nodes")]
    pub endpoints: Option<PathBuf>,
    /// The same, from tables of another file, if --endpoints is not given.
    #[arg(skip)]
    pub(crate) own_endpoints: Option<Endpoints>,
    /// Treat a large node as lost after this long without any sign of life; the next large node, or else the small
    /// model, continues without it. A node gives a sign of life every few seconds.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = positive_duration, help_heading = "Nodes")]
    pub large_timeout: Duration,
    /// When no large node is left, retry a lost one after this time, then after twice as long each time, up to 30s; the
    /// answer stays marked degraded. `never`: do not retry.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration_or_never, help_heading = "Nodes")]
    pub rejoin_after: Duration,
    /// Ask a second large node too if a takeover has no text after TIME; the first text wins. Without TIME: once it is
    /// later than 95 % of the last ones. It costs what the second node reads.
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
    /// Treat a small node as lost after this long without any sign of life.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = positive_duration, help_heading = "Nodes")]
    pub small_timeout: Duration,
    /// Send a node the other's text only when it must write, not ahead of time (to measure what reading ahead is
    /// worth).
    #[arg(long, help_heading = "Nodes")]
    pub no_keep_warm: bool,
}

impl NodesArgs {
    /// Returns what the names of nodes mean, if a file defines them.
    ///
    /// When the file of endpoints cannot be read or is invalid.
    pub(crate) fn endpoints(&self) -> Result<Option<Endpoints>, EndpointsError> {
        match &self.endpoints {
            Some(path) => Endpoints::read(path).map(Some),
            None => Ok(self.own_endpoints.clone()),
        }
    }

    /// Sets the endpoints to use if --endpoints is not given.
    pub fn take_endpoints(&mut self, endpoints: Endpoints) {
        self.own_endpoints = Some(endpoints);
    }
}

/// Which model writes when.
#[derive(Debug, Clone, clap::Args)]
pub struct PolicyArgs {
    /// Which model writes when. `strict`: the paper's rules without the leaks of its published loop; `paper`: that loop
    /// to the letter; `review`: the large model reads along and corrects a word where it would have written another
    /// (see docs/review.md); `strict+review`: both. The others are for comparison.
    #[arg(long, value_name = "NAME", default_value_t, value_parser = policies(), help_heading = "Policy")]
    pub policy: PolicyKind,
    /// What kind of small model it is: one that reasons by itself (R1-Distill, Qwen3), or one that does not
    /// (Qwen2.5-Instruct, SmolLM2). For the latter, the large model begins the answer.
    #[arg(long, value_name = "NAME", default_value_t, value_parser = presets(), help_heading = "Policy")]
    pub preset: Preset,
    /// The policy's parameters: a YAML file with the keys of the paper's authors. For `paper` and `strict`; the preset
    /// is then ignored.
    #[arg(long, value_name = "FILE", conflicts_with = "preset", help_heading = "Policy")]
    pub policy_file: Option<PathBuf>,
    /// The large model's share of the tokens, from 0 to 1. For `random`, `random-token` and `periodic`.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Policy")]
    pub share: Option<f64>,
    /// Tokens in a period; the large model writes the last SHARE of each. For `periodic`. [default: 200]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        allow_negative_numbers = true,
        help_heading = "Policy"
    )]
    pub period: Option<u32>,
    /// Let the large model write a paragraph if the small one is unsure how to begin it: the entropy of its first token
    /// is over this many nats. For `entropy`. [default: 1]
    #[arg(long, value_name = "NATS", allow_negative_numbers = true, help_heading = "Policy")]
    pub entropy: Option<f32>,
    /// Let the large model give every paragraph a mark from 0 to 9, and rewrite those with a lower mark than this. For
    /// `score`. [default: 7]
    #[arg(
        long,
        value_name = "MARK",
        value_parser = clap::value_parser!(u32).range(0..=10),
        allow_negative_numbers = true,
        help_heading = "Policy"
    )]
    pub score: Option<u32>,
    /// Send the large node the whole text at every takeover, in a new session, as systems without sessions do. For
    /// comparison; the answers are the same.
    #[arg(long, help_heading = "Policy")]
    pub resend: bool,
    /// Cancel a takeover if the large model's first text has not arrived within this time; the small model continues in
    /// its place. [default: wait as long as the node gives signs of life]
    #[arg(long, value_name = "TIME", value_parser = positive_duration, help_heading = "Policy")]
    pub takeover_deadline: Option<Duration>,
    /// While waiting for the large model, let the small one draft up to N tokens. If the draft is complete first, keep
    /// it and cancel the takeover.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        allow_negative_numbers = true,
        help_heading = "Policy"
    )]
    pub overlap: Option<u32>,
    /// Skip takeovers that would exceed this: `share<=10%` of the tokens, `latency<=8s` or `cost<=0.002` per answer.
    /// Takeovers after affirmations are skipped first. May be given more than once: all targets apply. See docs/ask.md.
    #[arg(long, value_name = "TARGET", help_heading = "Policy")]
    pub target: Vec<Target>,
    /// What to do about an answer that repeats itself byte for byte, at least 3 times and over at least 200 bytes.
    /// `hand-over`: let the large model lead out of the loop, and end the answer if it loops again; `end`: end it at
    /// once. [default: hand-over; end for small-only and large-only; off for paper, which allows nothing else]
    #[arg(long, value_name = "RULE", value_parser = loop_rules(), help_heading = "Policy")]
    pub loops: Option<LoopRule>,
    /// What tokens cost, for a cost target and to show what an answer cost: a TOML file as in docs/report.md. [default:
    /// the prices of the nodes' endpoints, if both have one]
    #[arg(long, value_name = "FILE", help_heading = "Policy")]
    pub prices: Option<PathBuf>,
    /// Allow no takeovers after the thought: from `</think>` on, the small model writes the rest of the answer alone.
    /// [default: takeovers continue to the end, as in the authors' loop]
    #[arg(long, help_heading = "Policy")]
    pub thought_only: bool,
    /// How the large model reviews.
    #[command(flatten)]
    pub review: ReviewArgs,
}

/// How tokens are sampled, and how many.
#[derive(Debug, Clone, clap::Args)]
pub struct WritingArgs {
    /// Maximum number of tokens that both models together generate for the answer, including those that are cut off at
    /// a trigger. With `--policy paper`: maximum length of the prompt and the tokens kept.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2048,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Writing"
    )]
    pub max_tokens: u32,
    /// Sampling temperature; 0 always takes the most likely token.
    #[arg(
        long,
        value_name = "T",
        allow_negative_numbers = true,
        default_value_t = 0.6,
        help_heading = "Writing"
    )]
    pub temperature: f32,
    /// Sample from the K most likely tokens only; 0 turns this off.
    #[arg(
        long,
        value_name = "K",
        allow_negative_numbers = true,
        default_value_t = 50,
        help_heading = "Writing"
    )]
    pub top_k: u32,
    /// Sample from the most likely tokens that together reach this probability; 0 or 1 turns this off.
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        default_value_t = 0.95,
        help_heading = "Writing"
    )]
    pub top_p: f32,
    /// Sample only tokens at least this fraction as likely as the most likely one; 0 turns this off.
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        default_value_t = 0.0,
        help_heading = "Writing"
    )]
    pub min_p: f32,
    /// Make tokens that were already used less likely: from 0.01 to 100; 1 turns this off.
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
    /// Time limit for the whole answer, such as 90s or 2m; the answer is cut off there.
    #[arg(long, value_name = "TIME", value_parser = positive_duration, help_heading = "Writing")]
    pub deadline: Option<Duration>,
}

/// How a data set is run.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Ask only the first N questions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Run")]
    pub limit: Option<u64>,
    /// How many questions to ask at a time.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..=1024),
        help_heading = "Run"
    )]
    pub parallel: u16,
    /// Skip broken lines of the data set, and count them.
    #[arg(long, help_heading = "Run")]
    pub skip_bad: bool,
    /// How to grade. `own`: compare numbers and LaTeX after normalising; `math-verify`: pass what that does not find
    /// equal to the Python package of this name.
    #[arg(long, value_enum, default_value = "own", value_name = "NAME", help_heading = "Run")]
    pub grader: GraderKind,
    /// The Python 3 interpreter that has math-verify installed.
    #[arg(long, value_name = "PROGRAM", default_value = "python3", help_heading = "Run")]
    pub python: PathBuf,
}

/// How answers are graded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Display)]
#[strum(serialize_all = "kebab-case")]
pub enum GraderKind {
    /// By the crate `grading`.
    Own,
    /// Also by Python's math-verify.
    MathVerify,
}

/// The random seed.
#[derive(Debug, Clone, clap::Args)]
pub struct SeedArgs {
    /// Random seed. The same question, seed, models and devices give the same answer, except for near-ties that a
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
    /// Trust only nodes whose certificate is signed by this authority (PEM).
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    pub tls_ca: Option<PathBuf>,
    /// The client's certificate (PEM), for nodes that ask for one.
    #[arg(
        long,
        visible_alias = "tls-client-cert",
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Security"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM).
    #[arg(
        long,
        visible_alias = "tls-client-key",
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Security"
    )]
    pub tls_key: Option<PathBuf>,
    /// A file with the token for one node: the first large one, or the first small one if no large node is used.
    /// Without this flag, the token is read from the variable SPECTHINK_TOKEN. Not used for a node with a token file of
    /// its own. See --small-token-file.
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    pub token_file: Option<PathBuf>,
    /// Allow plain text to other machines, including the token.
    #[arg(long, help_heading = "Security")]
    pub insecure: bool,
    /// Maximum size of a message, in either direction.
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

    /// Reads a policy from one text: its name, then its flags without their dashes, as in
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
        matches.map_err(|error| argument_fault(&error))
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

/// Reads when to hedge: a time above zero, or `late`.
fn hedging(text: &str) -> Result<Hedging, String> {
    if text == "late" {
        return Ok(Hedging::WhenLate);
    }
    let time = positive_duration(text).map(Hedging::After);
    time.map_err(|why| format!("{why}, or late, which is the same as no value"))
}

/// Reads a time above zero; `never` is zero.
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
