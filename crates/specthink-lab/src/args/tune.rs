//! The arguments of `tune`, and the sweep that they describe.

use std::path::PathBuf;

use answer::prices::Prices;
use cli::{CliError, Exit, PolicyArgs};
use lab::plan::PlanTarget;
use thinking::policy::{PolicyKind, Target};

use super::{AskingArgs, LinksArgs, ShapingArgs, SweepArgs};

const TUNE_AFTER_HELP: &str = "\
Examples:
  A gap with at most two corrections per answer, as a policy in a file:
    specthink-lab tune models/arithmetic/dev.jsonl --target \"corrections<=2\" --name careful --out tune \\
        --config policies.toml
  The largest gap that still reaches an accuracy, with triggers too, on nodes of your own:
    specthink-lab tune dev.jsonl --small http://127.0.0.1:7101 --large http://10.0.0.7:7102 --insecure \\
        --with strict+review --gap 0.5 --gap 1 --gap 2 --target \"accuracy>=90%\" --name thrifty --out thrifty

Of the gaps that meet all targets, tune chooses the smallest one whose accuracy is within the 95 %
interval of the best: lower is safer. If all targets are about accuracy, it chooses the largest gap
that meets them. The thresholds of entropy and score are chosen in the same way, except that the
safest mark is the largest. Measure the choice on other questions than these. Running the same
command again, even with other targets, asks nothing twice. `specthink serve` offers a named policy
as a model. See docs/review.md.";

/// Arguments of `tune`.
#[derive(Debug, clap::Args)]
#[command(after_help = TUNE_AFTER_HELP)]
pub(crate) struct TuneArgs {
    #[command(flatten)]
    pub(crate) asking: AskingArgs,
    /// The policy's name: letters, digits and . _ : / -
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "Choice")]
    pub(crate) name: String,
    /// A target that the policy has to meet: corrections<=2 (per answer), share<=10%, accuracy>=80%, cost<=0.002 (per
    /// answer, with --prices). May be repeated; all must be met.
    #[arg(long, value_name = "TARGET", help_heading = "Choice")]
    pub(crate) target: Vec<PlanTarget>,
    /// A gap to try, in nats; with --with entropy an entropy in nats, with --with score a mark. May be repeated.
    /// [default: 0.25, 0.5, 1, 2, 3, 5; for marks 3, 5, 7, 9]
    #[arg(
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true,
        value_parser = gap,
        help_heading = "Choice"
    )]
    gap: Vec<f32>,
    /// The policy whose threshold to choose: review, strict+review, entropy or score, with its other parameters, which
    /// are the flags of `specthink eval`: review:review-tokens=8.
    #[arg(long, value_name = "POLICY", default_value = "review", value_parser = tunable, help_heading = "Choice")]
    with: Tunable,
    /// A TOML file as for `specthink serve --config`: adds the policy as a line under [policies]. The rest of the file
    /// is not changed.
    #[arg(long, value_name = "FILE", help_heading = "Choice")]
    pub(crate) config: Option<PathBuf>,
    /// A TOML file with the prices of tokens, to show costs. See docs/report.md.
    #[arg(long, value_name = "FILE", help_heading = "Choice")]
    prices: Option<PathBuf>,
}

/// The threshold of a policy that is to be chosen.
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
    /// Returns the threshold of a policy, if it has one.
    fn of(kind: PolicyKind) -> Option<Threshold> {
        match kind {
            _ if kind.reviews() => Some(Threshold::Gap),
            PolicyKind::Entropy => Some(Threshold::Entropy),
            PolicyKind::Score => Some(Threshold::Mark),
            _ => None,
        }
    }

    /// Returns its name in messages.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Threshold::Gap => "gap",
            Threshold::Entropy => "entropy",
            Threshold::Mark => "mark",
        }
    }

    /// Returns whether the largest value is the safest, and not the smallest.
    pub(crate) fn is_safest_high(self) -> bool {
        self == Threshold::Mark
    }

    /// Returns the policy's flag for it.
    fn flag(self) -> &'static str {
        match self {
            Threshold::Gap => "review-gap",
            Threshold::Entropy => "entropy",
            Threshold::Mark => "score",
        }
    }

    /// Returns whether the policy already sets it.
    fn is_given(self, policy: &PolicyArgs) -> bool {
        match self {
            Threshold::Gap => policy.review.review_gap.is_some(),
            Threshold::Entropy => policy.entropy.is_some(),
            Threshold::Mark => policy.score.is_some(),
        }
    }

    /// Returns the values to try by default.
    fn usual(self) -> Vec<f32> {
        match self {
            Threshold::Gap | Threshold::Entropy => vec![0.25, 0.5, 1.0, 2.0, 3.0, 5.0],
            Threshold::Mark => vec![3.0, 5.0, 7.0, 9.0],
        }
    }
}

/// A policy without the threshold that is to be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tunable {
    text: String,
    threshold: Threshold,
}

impl TuneArgs {
    /// Returns the threshold to choose.
    pub(crate) fn threshold(&self) -> Threshold {
        self.with.threshold
    }

    /// Returns the values to try, safest first, each with its policy.
    pub(crate) fn policies(&self) -> Result<Vec<(f32, String)>, CliError> {
        let Tunable { text, threshold } = &self.with;
        let mut values = if self.gap.is_empty() { threshold.usual() } else { self.gap.clone() };
        values.sort_by(f32::total_cmp);
        if let Some(pair) = values.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("--gap {} is given twice: remove one", pair[0]);
            return Err(CliError::new(Exit::Usage, message));
        }
        let no_mark = |value: &&f32| value.fract() != 0.0 || **value > 10.0;
        if let Some(value) = values.iter().find(|it| *threshold == Threshold::Mark && no_mark(it)) {
            let message = format!("--gap {value} is not a mark: give a whole number from 0 to 10");
            return Err(CliError::new(Exit::Usage, message));
        }
        if threshold.is_safest_high() {
            values.reverse();
        }
        let (and, flag) = (if text.contains(':') { ',' } else { ':' }, threshold.flag());
        let policy = |value: f32| (value, format!("{text}{and}{flag}={value}"));
        Ok(values.into_iter().map(policy).collect())
    }

    /// Reads the prices, if costs are to be shown. An error if a target needs them and they are not given.
    pub(crate) fn prices(&self) -> Result<Option<Prices>, CliError> {
        let is_cost = |target: &&PlanTarget| matches!(target, PlanTarget::Answers(Target::Cost(_)));
        match (&self.prices, self.target.iter().find(is_cost)) {
            (Some(path), _) => Ok(Some(Prices::read(path)?)),
            (None, None) => Ok(None),
            (None, Some(target)) => {
                let message = format!(
                    "--target {target} needs the prices of tokens: give --prices FILE, a TOML file as in \
                     docs/report.md"
                );
                Err(CliError::new(Exit::Usage, message))
            }
        }
    }

    /// Returns the sweep of these policies over this link.
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

/// Parses a gap within the range that a review accepts.
fn gap(text: &str) -> Result<f32, String> {
    let gap = text.parse::<f32>().ok().filter(|gap| (0.0..=100.0).contains(gap));
    // -0 is in the range, but would be written differently.
    gap.map(f32::abs).ok_or_else(|| "give a number of nats from 0 to 100".to_owned())
}

/// Parses a policy that has a threshold and does not set it.
fn tunable(text: &str) -> Result<Tunable, String> {
    let policy: PolicyArgs = text.parse()?;
    let Some(threshold) = Threshold::of(policy.policy) else {
        return Err(format!(
            "{} has no threshold: give review, strict+review, entropy or score",
            policy.policy
        ));
    };
    let (noun, flag) = (threshold.noun(), threshold.flag());
    if threshold.is_given(&policy) {
        return Err(format!("its {noun} is what tune chooses: leave {flag} out, or give --gap"));
    }
    let text = text.trim().trim_end_matches([',', ':']).to_owned();
    Ok(Tunable { text, threshold })
}

/// Parses a name that `serve` accepts for a policy: letters, digits and `._:/-`, except its own models' names.
fn name(text: &str) -> Result<String, String> {
    let is_own = ["specthink", "small", "large"].contains(&text) || text.starts_with("specthink:");
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._:/-".contains(letter);
    if is_own || text.is_empty() || text.len() > 100 || !text.chars().all(is_plain) {
        return Err("not a valid policy name: use letters, digits and . _ : / -, but not specthink, small, large or \
                    a name that begins with specthink:"
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
