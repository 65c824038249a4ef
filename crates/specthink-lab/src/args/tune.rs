//! The arguments of `tune`, and the sweep that they ask for.

use std::path::PathBuf;

use answer::prices::Prices;
use cli::{CliError, Exit, PolicyArgs};
use lab::plan::PlanTarget;
use thinking::policy::{PolicyKind, Target};

use super::{AskingArgs, LinksArgs, ShapingArgs, SweepArgs};

const TUNE_AFTER_HELP: &str = "\
Examples:
  The gap for at most two corrections an answer, as a policy in a file:
    specthink-lab tune models/arithmetic/dev.jsonl --target \"corrections<=2\" --name careful --out tune \\
        --config policies.toml
  The greatest gap that still reaches an accuracy, with triggers too, on nodes of your own:
    specthink-lab tune dev.jsonl --small http://127.0.0.1:7101 --large http://10.0.0.7:7102 --insecure \\
        --with strict+review --gap 0.5 --gap 1 --gap 2 --target \"accuracy>=90%\" --name thrifty --out thrifty

Of the gaps that keep all targets the least is taken whose accuracy is within the 95 % interval of the
best one's: lower is safer. With targets of accuracy alone it is the greatest gap that reaches them.
The thresholds of entropy and score are chosen in the same way; of marks the greatest is the safest.
Measure what is chosen on other questions than these. The same command again, also with other targets,
asks nothing twice. A policy by its name is a model of `specthink serve`. See docs/review.md.";

/// Arguments of `tune`.
#[derive(Debug, clap::Args)]
#[command(after_help = TUNE_AFTER_HELP)]
pub(crate) struct TuneArgs {
    #[command(flatten)]
    pub(crate) asking: AskingArgs,
    /// The policy's name: letters, digits and . _ : / - between them.
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "Choice")]
    pub(crate) name: String,
    /// What the policy has to keep: corrections<=2 (an answer), share<=10%, accuracy>=80%, cost<=0.002 (an answer, with
    /// --prices). Several times: all hold.
    #[arg(long, value_name = "TARGET", help_heading = "Choice")]
    pub(crate) target: Vec<PlanTarget>,
    /// A gap to try, in nats, or with another policy an entropy in nats or a mark. Several times. [default: 0.25, 0.5,
    /// 1, 2, 3, 5; of marks 3, 5, 7, 9]
    #[arg(
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true,
        value_parser = gap,
        help_heading = "Choice"
    )]
    gap: Vec<f32>,
    /// The policy whose threshold is sought: review or strict+review, entropy or score, with its other parameters,
    /// which are the flags of `specthink eval`: review:review-tokens=8.
    #[arg(long, value_name = "POLICY", default_value = "review", value_parser = tunable, help_heading = "Choice")]
    with: Tunable,
    /// A TOML file as for `specthink serve --config`: the policy gets a line under its [policies]. What is in the file
    /// stays as it is.
    #[arg(long, value_name = "FILE", help_heading = "Choice")]
    pub(crate) config: Option<PathBuf>,
    /// A TOML file with the prices of tokens, to show costs. See docs/report.md.
    #[arg(long, value_name = "FILE", help_heading = "Choice")]
    prices: Option<PathBuf>,
}

/// What is sought of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threshold {
    /// The gap of a review.
    Gap,
    /// The entropy of `entropy`.
    Entropy,
    /// The least mark of `score`.
    Mark,
}

impl Threshold {
    /// That of a policy, if it has one.
    fn of(kind: PolicyKind) -> Option<Threshold> {
        match kind {
            _ if kind.reviews() => Some(Threshold::Gap),
            PolicyKind::Entropy => Some(Threshold::Entropy),
            PolicyKind::Score => Some(Threshold::Mark),
            _ => None,
        }
    }

    /// What it is called.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Threshold::Gap => "gap",
            Threshold::Entropy => "entropy",
            Threshold::Mark => "mark",
        }
    }

    /// Whether the greatest is the safest, and not the least.
    pub(crate) fn is_safest_high(self) -> bool {
        self == Threshold::Mark
    }

    /// The policy's flag.
    fn flag(self) -> &'static str {
        match self {
            Threshold::Gap => "review-gap",
            Threshold::Entropy => "entropy",
            Threshold::Mark => "score",
        }
    }

    /// Whether it is given already.
    fn is_given(self, policy: &PolicyArgs) -> bool {
        match self {
            Threshold::Gap => policy.review.review_gap.is_some(),
            Threshold::Entropy => policy.entropy.is_some(),
            Threshold::Mark => policy.score.is_some(),
        }
    }

    /// What is tried where nothing else is asked for.
    fn usual(self) -> Vec<f32> {
        match self {
            Threshold::Gap | Threshold::Entropy => vec![0.25, 0.5, 1.0, 2.0, 3.0, 5.0],
            Threshold::Mark => vec![3.0, 5.0, 7.0, 9.0],
        }
    }
}

/// A policy without the threshold that is sought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tunable {
    text: String,
    threshold: Threshold,
}

impl TuneArgs {
    /// What is sought.
    pub(crate) fn threshold(&self) -> Threshold {
        self.with.threshold
    }

    /// The thresholds, the safest first, each with its policy.
    pub(crate) fn policies(&self) -> Result<Vec<(f32, String)>, CliError> {
        let Tunable { text, threshold } = &self.with;
        let mut values = if self.gap.is_empty() { threshold.usual() } else { self.gap.clone() };
        values.sort_by(f32::total_cmp);
        if let Some(pair) = values.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("--gap {} is there twice: leave one", pair[0]);
            return Err(CliError::new(Exit::Usage, message));
        }
        let no_mark = |value: &&f32| value.fract() != 0.0 || **value > 10.0;
        if let Some(value) = values.iter().find(|it| *threshold == Threshold::Mark && no_mark(it)) {
            let message = format!("--gap {value} is no mark: write whole numbers from 0 to 10");
            return Err(CliError::new(Exit::Usage, message));
        }
        if threshold.is_safest_high() {
            values.reverse();
        }
        let (and, flag) = (if text.contains(':') { ',' } else { ':' }, threshold.flag());
        let policy = |value: f32| (value, format!("{text}{and}{flag}={value}"));
        Ok(values.into_iter().map(policy).collect())
    }

    /// What tokens cost, where that is asked for.
    pub(crate) fn prices(&self) -> Result<Option<Prices>, CliError> {
        let is_cost = |target: &&PlanTarget| matches!(target, PlanTarget::Answers(Target::Cost(_)));
        match (&self.prices, self.target.iter().find(is_cost)) {
            (Some(path), _) => Ok(Some(Prices::read(path)?)),
            (None, None) => Ok(None),
            (None, Some(target)) => {
                let message = format!(
                    "--target {target} needs to know what tokens cost: give --prices FILE, a TOML file as in \
                     docs/report.md"
                );
                Err(CliError::new(Exit::Usage, message))
            }
        }
    }

    /// The sweep of these policies over this link.
    pub(crate) fn sweep(&self, policy: Vec<String>, link: &str) -> SweepArgs {
        SweepArgs {
            asking: self.asking.clone(),
            experiment: None,
            pair: Vec::new(),
            policy,
            link: vec![link.to_owned()],
            links: LinksArgs { links_file: None },
            shaping: ShapingArgs { netem: false },
        }
    }
}

/// Reads a gap, within what a review takes.
fn gap(text: &str) -> Result<f32, String> {
    let gap = text.parse::<f32>().ok().filter(|gap| (0.0..=100.0).contains(gap));
    // -0 is in the range, and would be another text.
    gap.map(f32::abs).ok_or_else(|| "write a number of nats from 0 to 100".to_owned())
}

/// Reads a policy that has a threshold to seek, and not yet one.
fn tunable(text: &str) -> Result<Tunable, String> {
    let policy: PolicyArgs = text.parse()?;
    let Some(threshold) = Threshold::of(policy.policy) else {
        return Err(format!(
            "{} has no threshold: write review, strict+review, entropy or score",
            policy.policy
        ));
    };
    let (noun, flag) = (threshold.noun(), threshold.flag());
    if threshold.is_given(&policy) {
        return Err(format!("its {noun} is what is sought: leave {flag} out, or give --gap"));
    }
    let text = text.trim().trim_end_matches([',', ':']).to_owned();
    Ok(Tunable { text, threshold })
}

/// Reads a name that `serve` takes for a policy: letters, digits and `._:/-`, and none of its own models' names.
fn name(text: &str) -> Result<String, String> {
    let is_own = ["specthink", "small", "large"].contains(&text) || text.starts_with("specthink:");
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._:/-".contains(letter);
    if is_own || text.is_empty() || text.len() > 100 || !text.chars().all(is_plain) {
        return Err("no policy can be called so: take letters, digits, and . _ : / - between them, and none of \
                    specthink, small, large and what begins with specthink:"
            .to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serve::AnswerBackend;

    use super::*;

    #[test]
    fn a_name_is_one_that_serve_takes() {
        let long = "a".repeat(101);
        let names = [
            "careful",
            "team/careful-2.1_b",
            "small",
            "large",
            "specthink",
            "specthink:careful",
            "specthinker",
            "",
            "with space",
            "quote\"",
            "line\nend",
            "überlegt",
            "a=b",
            &long,
            &long[..100],
        ];
        for text in names {
            assert_eq!(name(text).is_ok(), AnswerBackend::may_be_named(text), "{text:?}");
        }
    }

    #[test]
    fn a_gap_is_a_number_of_nats() {
        for (text, value) in [("0", 0.0), ("-0", 0.0), ("0.25", 0.25), ("100", 100.0)] {
            assert_eq!(gap(text).map(|gap| gap.to_string()), Ok(value.to_string()), "{text}");
        }
        for text in ["", "much", "-1", "101", "nan", "inf"] {
            assert!(gap(text).unwrap_err().contains("from 0 to 100"), "{text}");
        }
    }

    #[test]
    fn a_policy_without_a_threshold_or_with_one_already_is_refused() {
        let more = "strict+review:review-tokens=8";
        for (given, text, threshold) in [
            ("review:", "review", Threshold::Gap),
            (more, more, Threshold::Gap),
            ("entropy", "entropy", Threshold::Entropy),
            ("score:loops=end", "score:loops=end", Threshold::Mark),
        ] {
            assert_eq!(tunable(given), Ok(Tunable { text: text.to_owned(), threshold }));
        }
        for (text, why) in [
            ("strict", "has no threshold"),
            ("review:review-gap=1", "leave review-gap out"),
            ("entropy:entropy=1", "leave entropy out"),
            ("score:score=1", "leave score out"),
            ("review:gap=1", "--gap"),
            ("revue", "revue"),
        ] {
            assert!(tunable(text).unwrap_err().contains(why), "{text}");
        }
    }
}
