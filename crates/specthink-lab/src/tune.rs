//! `specthink-lab tune`: sweeps over the thresholds of a policy, and prints the figures and the chosen policy.

mod config;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use answer::prices::Prices;
use cli::{CliError, Exit};
use lab::{
    plan::{Candidate, PlanTarget, candidates},
    replay::NodeSpeeds,
    results::Results,
    sweep::Experiment,
    tune::{GapChoice, TriedGap, choose, is_accuracy_alone},
};
use pair::Builtin;
use thinking::shown::one_line;

use self::config::Entry;
use crate::{
    args::{LinksArgs, Threshold, TuneArgs},
    catalogue,
    exit::cli_error,
    plan::{interval, seconds},
    print, profiles, sweep,
};

/// The link of the sweep, which sets no limit.
const LINK: &str = "loopback";

pub(crate) fn run(args: &TuneArgs, builtin: Option<&dyn Builtin>) -> Result<Exit, CliError> {
    let policies = args.policies()?;
    let prices = args.prices()?;
    if let Some(path) = &args.config {
        // Checked before anything is asked.
        Entry { name: &args.name, policy: "review", comment: Vec::new() }.check(path)?;
    }
    let names = policies.iter().map(|(_, policy)| policy.clone()).collect();
    sweep::without_tables(&args.sweep(names, LINK), builtin)?;
    let tuned = Tuned::read(args, &policies, prices)?;
    let targets = &args.target;
    let choice = choose(&tuned.tried, targets).ok_or_else(|| nothing(args))?;
    print(&tuned.text(&choice, &args.name, targets))?;
    if let (GapChoice::Kept { chosen, .. }, Some(path)) = (&choice, &args.config) {
        tuned.entry(chosen, &args.name, targets).add(path)?;
        let path = one_line(&path.display().to_string());
        // If standard error is closed, there is nobody to tell.
        let _ = writeln!(io::stderr(), "{} was added to {path}", args.name);
    }
    Ok(Exit::Ok)
}

/// The results of the sweep.
struct Tuned {
    experiment: Experiment,
    threshold: Threshold,
    tried: Vec<TriedGap>,
    /// The prices of tokens, if costs are shown.
    prices: Option<Prices>,
}

impl Tuned {
    /// Reads the figures of these policies from the sweep's folder.
    fn read(
        args: &TuneArgs,
        policies: &[(f32, String)],
        prices: Option<Prices>,
    ) -> Result<Tuned, CliError> {
        let results = Results::read(&[args.asking.out()?.to_owned()]).map_err(cli_error)?;
        let links = profiles(&catalogue(&LinksArgs { links_file: None })?, &[LINK.to_owned()])?;
        let ([link], [sweep]) = (links.as_slice(), results.sweeps.as_slice()) else {
            return Err(nothing(args));
        };
        let shown = prices.clone().map_or_else(Prices::example, Ok)?;
        let (known, _) = candidates(&results, link, &NodeSpeeds::default(), &shown);
        let of = |(gap, policy): &(f32, String)| {
            let candidate = known.iter().find(|candidate| candidate.policy == *policy)?;
            Some(TriedGap { gap: *gap, candidate: candidate.clone() })
        };
        let tried = policies.iter().filter_map(of).collect();
        let (experiment, threshold) = (sweep.experiment.clone(), args.threshold());
        Ok(Tuned { experiment, threshold, tried, prices })
    }

    /// Returns what is printed: the table, the choice, and the chosen policy as a configuration file.
    fn text(&self, choice: &GapChoice<'_>, name: &str, targets: &[PlanTarget]) -> String {
        match choice {
            GapChoice::Kept { chosen, no_worse } => {
                let table = self.table(Some(chosen), targets);
                let said = said(self.threshold, chosen, no_worse, targets);
                format!("{table}\n{said}\n\n{}", self.entry(chosen, name, targets).text())
            }
            GapChoice::Nearest(nearest) => {
                let line = none_keeps(self.threshold, nearest, targets);
                format!("{}\n{line}\n", self.table(None, targets))
            }
        }
    }

    /// Returns the chosen policy under a name.
    fn entry<'a>(&self, chosen: &'a TriedGap, name: &'a str, targets: &[PlanTarget]) -> Entry<'a> {
        Entry { name, policy: &chosen.candidate.policy, comment: self.comment(chosen, targets) }
    }

    /// Returns the table, with a row for each threshold.
    fn table(&self, chosen: Option<&TriedGap>, targets: &[PlanTarget]) -> String {
        let cost = self.prices.as_ref().map(|prices| format!("cost ({})", prices.currency));
        let noun = self.threshold.noun();
        let head = [noun, "right", "95 % interval", "corrections", "large share"];
        let mut heads = head.map(str::to_owned).to_vec();
        heads.extend(cost);
        heads.extend(["latency median", "choice"].map(str::to_owned));
        let rules = heads.iter().map(|_| "---".to_owned()).collect();
        let row = |one: &TriedGap| {
            let Candidate { accuracy, answers, corrections, share, cost, .. } = &one.candidate;
            let mut cells = vec![
                one.gap.to_string(),
                format!("{:.1} % of {answers}", 100.0 * accuracy.value),
                interval(&one.candidate).unwrap_or_else(|| "-".to_owned()),
                format!("{corrections:.2}"),
                format!("{:.1} %", 100.0 * share),
            ];
            cells.extend(self.prices.as_ref().map(|_| format!("{cost:.7}")));
            cells.push(seconds(one.candidate.latency_median_s));
            cells.push(match chosen {
                Some(chosen) if chosen.gap == one.gap => "**chosen**".to_owned(),
                _ => missed(&one.candidate, targets),
            });
            cells
        };
        let rows = [heads, rules].into_iter().chain(self.tried.iter().map(row));
        rows.map(|cells| format!("| {} |\n", cells.join(" | "))).collect()
    }

    /// Returns the comment above the policy's line: its figures and where they are from.
    fn comment(&self, chosen: &TriedGap, targets: &[PlanTarget]) -> Vec<String> {
        let Experiment { data_set, data_set_sha256, questions, seeds, .. } = &self.experiment;
        let gaps: Vec<String> = self.tried.iter().map(|one| one.gap.to_string()).collect();
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        let Candidate { accuracy, corrections, share, cost, latency_median_s, .. } =
            &chosen.candidate;
        let mut figures = format!("Over {LINK}: {:.1} % right", 100.0 * accuracy.value);
        // Writing to a string cannot fail.
        if let Some(interval) = interval(&chosen.candidate) {
            let _ = write!(figures, " (95 % interval {interval})");
        }
        let _ = write!(
            figures,
            ", {corrections:.2} corrections per answer, large share {:.1} %, ",
            100.0 * share
        );
        if let Some(prices) = &self.prices {
            let _ = write!(figures, "{} {cost:.7} per answer, ", prices.currency);
        }
        let _ = write!(figures, "{} at the median.", seconds(*latency_median_s));
        let lines = [
            format!(
                "Chosen by specthink-lab tune from the {} {}, for {}.",
                plural(self.threshold),
                gaps.join(", "),
                asked(targets)
            ),
            format!(
                "Data set: {data_set}, {questions} questions, seeds {}; SHA-256 {data_set_sha256}.",
                seeds.join(", ")
            ),
            format!("Models: {}.", self.experiment.pair()),
            figures,
        ];
        // Names come from third-party files and nodes.
        lines.iter().map(|line| one_line(line)).collect()
    }
}

fn nothing(args: &TuneArgs) -> CliError {
    let out = args.asking.out.as_deref().unwrap_or("the folder".as_ref()).display();
    CliError::new(Exit::Journal, format!("{out} has no answers for these thresholds: sweep again"))
}

fn asked(targets: &[PlanTarget]) -> String {
    let targets: Vec<String> = targets.iter().map(PlanTarget::to_string).collect();
    if targets.is_empty() { "no target".to_owned() } else { targets.join(", ") }
}

/// Returns the plural of the threshold's noun.
fn plural(threshold: Threshold) -> &'static str {
    match threshold {
        Threshold::Gap => "gaps",
        Threshold::Entropy => "entropies",
        Threshold::Mark => "marks",
    }
}

/// Returns the targets that a candidate misses, as text.
fn missed(candidate: &Candidate, targets: &[PlanTarget]) -> String {
    let missed = candidate.misses(targets);
    let missed: Vec<String> = missed.iter().map(|target| target.to_string()).collect();
    if missed.is_empty() { String::new() } else { format!("misses {}", missed.join(", ")) }
}

/// Says that no threshold meets the targets, and which is nearest.
fn none_keeps(threshold: Threshold, nearest: &TriedGap, targets: &[PlanTarget]) -> String {
    let noun = threshold.noun();
    let Candidate { accuracy, corrections, share, .. } = &nearest.candidate;
    format!(
        "No {noun} meets {}, so no policy is written. The nearest is {}, with {:.1} % right, {corrections:.2} \
         corrections per answer and a large share of {:.1} %.",
        asked(targets),
        nearest.gap,
        100.0 * accuracy.value,
        100.0 * share
    )
}

/// Says which threshold is chosen, and which others the answers cannot distinguish from it.
fn said(
    threshold: Threshold,
    chosen: &TriedGap,
    no_worse: &[&TriedGap],
    targets: &[PlanTarget],
) -> String {
    let (gap, asked, noun) = (chosen.gap, asked(targets), threshold.noun());
    let is_last = is_accuracy_alone(targets);
    let (last, safer) = match threshold.is_safest_high() {
        true => ("smallest", "higher"),
        false => ("largest", "lower"),
    };
    let article = if noun == "entropy" { "an" } else { "a" };
    let mut text = match is_last {
        true => format!("{gap} is the {last} {noun} that meets {asked}."),
        false if targets.is_empty() => format!("Take {article} {noun} of {gap}."),
        false => format!("The {noun} {gap} meets {asked}."),
    };
    if !no_worse.is_empty() {
        let others: Vec<String> = no_worse.iter().map(|one| one.gap.to_string()).collect();
        let why = match is_last {
            true => String::new(),
            false => format!("; it is chosen because {safer} is safer"),
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            " With this few answers, its accuracy cannot be distinguished from that of {}{why}.",
            others.join(", ")
        );
    }
    text
}

#[cfg(test)]
mod tests;
