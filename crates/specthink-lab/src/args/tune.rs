//! The arguments of `tune`, and the sweep that they ask for.

use std::path::PathBuf;

use answer::prices::Prices;
use cli::{CliError, Exit, PolicyArgs};
use lab::plan::PlanTarget;
use thinking::policy::Target;

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
    /// A gap to try, in nats. Several times.
    #[arg(
        long,
        value_name = "NATS",
        allow_negative_numbers = true,
        default_values_t = [0.25, 0.5, 1.0, 2.0, 3.0, 5.0],
        value_parser = gap,
        help_heading = "Choice"
    )]
    gap: Vec<f32>,
    /// The policy whose gap is sought: review or strict+review, with its other parameters, which are the flags of
    /// `specthink eval`: review:review-tokens=8.
    #[arg(long, value_name = "POLICY", default_value = "review", value_parser = reviewing, help_heading = "Choice")]
    with: String,
    /// A TOML file as for `specthink serve --config`: the policy gets a line under its [policies]. What is in the file
    /// stays as it is.
    #[arg(long, value_name = "FILE", help_heading = "Choice")]
    pub(crate) config: Option<PathBuf>,
    /// A TOML file with the prices of tokens, to show costs. See docs/report.md.
    #[arg(long, value_name = "FILE", help_heading = "Choice")]
    prices: Option<PathBuf>,
}

impl TuneArgs {
    /// The gaps, the least first, each with its policy.
    pub(crate) fn policies(&self) -> Result<Vec<(f32, String)>, CliError> {
        let mut gaps = self.gap.clone();
        gaps.sort_by(f32::total_cmp);
        if let Some(pair) = gaps.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("--gap {} is there twice: leave one", pair[0]);
            return Err(CliError::new(Exit::Usage, message));
        }
        let and = if self.with.contains(':') { ',' } else { ':' };
        let policy = |gap: f32| (gap, format!("{}{and}review-gap={gap}", self.with));
        Ok(gaps.into_iter().map(policy).collect())
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

/// Reads a policy that has a review and no gap yet.
fn reviewing(text: &str) -> Result<String, String> {
    let policy: PolicyArgs = text.parse()?;
    if !policy.policy.reviews() {
        return Err(format!("{} has no review: write review or strict+review", policy.policy));
    }
    if policy.review.review_gap.is_some() {
        return Err("its gap is what is sought: leave review-gap out, or give --gap".to_owned());
    }
    Ok(text.trim().trim_end_matches([',', ':']).to_owned())
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
    fn a_policy_without_a_review_or_with_a_gap_is_refused() {
        assert_eq!(reviewing("review:"), Ok("review".to_owned()));
        let more = "strict+review:review-tokens=8";
        assert_eq!(reviewing(more), Ok(more.to_owned()));
        for (text, why) in [
            ("strict", "has no review"),
            ("review:review-gap=1", "leave review-gap out"),
            ("review:gap=1", "--gap"),
            ("revue", "revue"),
        ] {
            assert!(reviewing(text).unwrap_err().contains(why), "{text}");
        }
    }
}
