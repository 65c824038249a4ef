//! `specthink-lab plan`: prints which policy fits a link, according to sweeps.

use std::fmt::Write as _;

use answer::prices::Prices;
use cli::{CliError, Exit};
use lab::{
    link::LinkProfile,
    plan::{Candidate, PlanTarget, Source, Unknown, candidates, choose},
    results::Results,
};

use crate::{args::PlanArgs, catalogue, exit::cli_error, print, profiles};

const HEADER: &str = "\
| policy | pair | right | 95 % interval | latency median | p95 | large share | cost of 1,000 | clients per large node | from | misses |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

pub(crate) fn run(args: &PlanArgs) -> Result<Exit, CliError> {
    let links = profiles(&catalogue(&args.links)?, std::slice::from_ref(&args.link))?;
    let [link] = links.as_slice() else {
        return Err(CliError::new(
            Exit::Usage,
            "a plan is for one link: give one, such as 4g-median",
        ));
    };
    let prices = args.prices.read()?;
    let (speeds, machines) = args.speeds.read()?;
    let results = Results::read(&args.folder).map_err(cli_error)?;
    if let Some((one, other)) = results.of_two_kinds() {
        let message = format!(
            "{} and {} have different kinds of links, the proxy's and real packets: plan from one of them",
            one.folder.display(),
            other.folder.display()
        );
        return Err(CliError::new(Exit::Journal, message));
    }
    let (mut known, mut unknown) = candidates(&results, link, &speeds, &prices);
    if let Some(pair) = &args.pair {
        known.retain(|candidate| candidate.pair.contains(pair.as_str()));
        unknown.retain(|unknown| unknown.pair.contains(pair.as_str()));
    }
    if known.is_empty() {
        let why = unknown.first().map_or_else(
            || "these sweeps have no such pair".to_owned(),
            |first| format!("{}: {}", first.policy, first.why),
        );
        let way = if machines.is_some() { "loopback" } else { "it, or over loopback" };
        let message = format!("nothing is known about {}: {why}; sweep over {way}", link.name);
        return Err(CliError::new(Exit::Journal, message));
    }
    print(&text(link, machines.as_deref(), &known, &unknown, &args.target, &prices))
}

fn text(
    link: &LinkProfile,
    machines: Option<&str>,
    known: &[Candidate],
    unknown: &[Unknown],
    targets: &[PlanTarget],
    prices: &Prices,
) -> String {
    let asked: Vec<String> = targets.iter().map(PlanTarget::to_string).collect();
    let asked = if asked.is_empty() { "no target".to_owned() } else { asked.join(", ") };
    let chosen = choose(known, targets);
    let on = machines.map_or_else(String::new, |machines| format!(", {machines}"));
    let mut text = format!("{} ({link}){on}, {asked}:\n\n", link.name);
    // Writing to a string cannot fail.
    let _ = match chosen {
        Some(best) => writeln!(text, "{}", advice(best, known, targets, prices)),
        None => writeln!(text, "No policy meets all targets. The table shows what each misses."),
    };
    text.push('\n');
    text.push_str(HEADER);
    for candidate in known {
        text.push_str(&row(candidate, targets));
    }
    text.push('\n');
    for note in notes(link, machines, known, unknown, prices) {
        let _ = writeln!(text, "- {note}");
    }
    text
}

fn advice(
    best: &Candidate,
    known: &[Candidate],
    targets: &[PlanTarget],
    prices: &Prices,
) -> String {
    let mut text = format!(
        "Use {}: {:.1} % right{}, {} at the median and {} at p95, large share {:.1} %, {} {:.4} for 1,000 answers",
        best.policy,
        100.0 * best.accuracy.value,
        interval(best).map_or_else(String::new, |interval| format!(" ({interval})")),
        seconds(best.latency_median_s),
        seconds(best.latency_p95_s),
        100.0 * best.share,
        prices.currency,
        1e3 * best.cost,
    );
    if let Some(clients) = best.clients {
        let _ = write!(text, ", {clients:.1} clients for one large node");
    }
    text.push('.');
    let reaches = |other: &&Candidate| {
        let high = other.accuracy.interval.map(|(_, high)| high);
        other.policy != best.policy
            && other.misses(targets).is_empty()
            && high.is_some_and(|high| high >= best.accuracy.value)
    };
    let near: Vec<&str> = known.iter().filter(reaches).map(|other| other.policy.as_str()).collect();
    if !near.is_empty() {
        let _ = write!(
            text,
            " With this few answers, its accuracy cannot be distinguished from that of {}.",
            near.join(", ")
        );
    }
    text
}

fn row(candidate: &Candidate, targets: &[PlanTarget]) -> String {
    let misses: Vec<String> =
        candidate.misses(targets).iter().map(|target| target.to_string()).collect();
    let cells = [
        candidate.policy.clone(),
        candidate.pair.clone(),
        format!("{:.1} % of {}", 100.0 * candidate.accuracy.value, candidate.answers),
        interval(candidate).unwrap_or_else(|| "-".to_owned()),
        seconds(candidate.latency_median_s),
        seconds(candidate.latency_p95_s),
        format!("{:.1} %", 100.0 * candidate.share),
        format!("{:.4}", 1e3 * candidate.cost),
        candidate.clients.map_or_else(|| "-".to_owned(), |clients| format!("{clients:.1}")),
        match candidate.source {
            Source::Measured => "measured".to_owned(),
            Source::Replayed { .. } => "replayed".to_owned(),
        },
        misses.join(", "),
    ];
    format!("| {} |\n", cells.join(" | "))
}

/// Returns notes on what was not measured and what the figures do not show.
fn notes(
    link: &LinkProfile,
    machines: Option<&str>,
    known: &[Candidate],
    unknown: &[Unknown],
    prices: &Prices,
) -> Vec<String> {
    let mut notes = Vec::new();
    let sources = known.iter().filter_map(|candidate| match &candidate.source {
        Source::Replayed { recorded_over, diverged, .. } => Some((recorded_over, *diverged)),
        Source::Measured => None,
    });
    if let Some((recorded_over, _)) = sources.clone().next() {
        notes.push(format!(
            "Replayed: latency is that of answers recorded over {recorded_over}, re-timed over this \
             link; accuracy, share and cost are as recorded, which is valid as long as the policy does \
             not depend on time and the link does not break."
        ));
    }
    let diverged: usize = sources.map(|(_, diverged)| diverged).sum();
    if diverged > 0 {
        notes.push(format!(
            "{diverged} of the replayed answers diverge and are left out: over this link a time limit would have \
             passed. Only a sweep over it can show what would follow."
        ));
    }
    for candidate in known {
        if let Source::Replayed { unusable: Some((count, why)), .. } = &candidate.source {
            notes.push(format!(
                "{count} answers of {} are left out: {why}. Remove their rows from log.jsonl and sweep again.",
                candidate.policy
            ));
        }
    }
    if link.outage.is_some() {
        notes.push("The link has outages. Only live sweeps show what they degrade.".to_owned());
    }
    if known.iter().any(|candidate| candidate.clients.is_some()) {
        let of = machines.map_or_else(
            || "those of the sweep, at its --parallel".to_owned(),
            |_| "those of the machines above (docs/machines.md)".to_owned(),
        );
        notes.push(format!(
            "Clients per large node: clients that ask without a pause, on a node that serves one \
             stretch at a time; a node that batches sessions serves more. Computing times are {of}."
        ));
    }
    notes.push(format!("Prices: {} ({}).", prices.version, prices.note));
    notes.extend(unknown.iter().map(|one| format!("{} is left out: {}", one.policy, one.why)));
    notes
}

/// Returns the interval of its accuracy as text.
pub(crate) fn interval(candidate: &Candidate) -> Option<String> {
    let (low, high) = candidate.accuracy.interval?;
    Some(format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high))
}

/// Formats a duration in seconds, as ms below ten seconds.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{:.0} ms", 1e3 * seconds) } else { format!("{seconds:.1} s") }
}
