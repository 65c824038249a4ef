//! What a report shows, in a paragraph of words: the figures' main points, with intervals and the control.
//!
//! Everything is about the first link of the sweep, and about how its times change over the slowest one. What does not
//! live here: the figures themselves.

use thinking::policy::PolicyKind;

use super::{
    data::{Data, Group},
    figures::{is_baseline, paired_hits},
};
use crate::stats::{self, Estimate};

/// How many policies the paragraph names.
const NAMED: usize = 3;

/// The sentences, in order. None where nothing was graded over the first link.
pub(super) fn findings(data: &Data<'_>) -> Vec<String> {
    let Some(link) = data.results.links.first() else { return Vec::new() };
    let over: Vec<&Group<'_>> =
        data.groups.iter().filter(|group| group.link.name == link.name).collect();
    let mut policies: Vec<&Group<'_>> = over
        .iter()
        .copied()
        .filter(|group| !is_alone(group) && !is_baseline(group.policy.kind))
        .collect();
    policies.sort_by(|a, b| accuracy(b).total_cmp(&accuracy(a)));
    let mut sentences = Vec::new();
    for group in policies.iter().take(NAMED) {
        if let (Some(right), Some(share)) = (group.accuracy(), share(group)) {
            sentences.push(format!(
                "Over {}, {} has {} right, with {} of the tokens by the large model.",
                link.name,
                group.policy.label,
                percent(right),
                percent_of(share)
            ));
        }
    }
    sentences.extend(alone(&over));
    if let Some(best) = policies.first() {
        sentences.extend(control(best, &over));
        sentences.extend(slower(data, best, &over));
    }
    let asked = over.iter().map(|group| group.questions.len());
    if let (Some(fewest), Some(most)) = (asked.clone().min(), asked.max())
        && !sentences.is_empty()
    {
        let count = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
        sentences.push(format!("These are {count} questions."));
    }
    sentences
}

fn is_alone(group: &Group<'_>) -> bool {
    matches!(group.policy.kind, PolicyKind::SmallOnly | PolicyKind::LargeOnly)
}

fn accuracy(group: &Group<'_>) -> f64 {
    group.accuracy().map_or(0.0, |accuracy| accuracy.value)
}

fn share(group: &Group<'_>) -> Option<f64> {
    let tokens = |of: fn(&runs::Graded) -> u64| -> u64 {
        group.questions.iter().flat_map(|question| &question.answers).map(|it| of(it)).sum()
    };
    let all = tokens(|it| it.summary.tokens());
    (all > 0).then(|| tokens(|it| it.summary.large.tokens) as f64 / all as f64)
}

/// What each model has alone.
fn alone(over: &[&Group<'_>]) -> Option<String> {
    let of = |kind, name: &str| {
        let group = over.iter().find(|group| group.policy.kind == kind)?;
        Some(format!("the {name} model alone has {}", percent(group.accuracy()?)))
    };
    let small = of(PolicyKind::SmallOnly, "small");
    let parts: Vec<String> = small.into_iter().chain(of(PolicyKind::LargeOnly, "large")).collect();
    let sentence = parts.join(", ");
    let mut letters = sentence.chars();
    let first = letters.next()?;
    Some(format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// The best policy beside the baseline that comes nearest to its share, on the same questions.
fn control(best: &Group<'_>, over: &[&Group<'_>]) -> Option<String> {
    let ours = share(best)?;
    let baselines = over.iter().filter(|group| is_baseline(group.policy.kind));
    let distance = |group: &Group<'_>| share(group).map_or(1.0, |theirs| (theirs - ours).abs());
    let baseline = baselines.min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
    let hits = paired_hits(best, baseline);
    let Estimate { value, interval } = stats::paired_difference(&hits)?;
    let test = stats::mcnemar(hits.iter().map(|((ours, n), (theirs, m))| (ours * m, theirs * n)));
    let interval = interval.map_or_else(String::new, |(low, high)| {
        format!(" ({:+.1} to {:+.1})", 100.0 * low, 100.0 * high)
    });
    Some(format!(
        "The control with the nearest share, {}, has {} right with {} of the tokens by the large model: {} is {:+.1} \
         points from it{interval}, McNemar's p {}, not adjusted for other comparisons.",
        baseline.policy.label,
        percent(baseline.accuracy()?),
        share(baseline).map_or_else(|| "none".to_owned(), percent_of),
        best.policy.label,
        100.0 * value,
        probability(test.p)
    ))
}

/// How latency changes from the first link to the slowest one.
fn slower(data: &Data<'_>, best: &Group<'_>, near: &[&Group<'_>]) -> Option<String> {
    let over = data.groups.iter().filter(|group| group.policy.label == best.policy.label);
    let latency = |group: &Group<'_>| group.latency_ms().map_or(0.0, |latency| latency.value);
    let slowest = over.max_by(|a, b| latency(a).total_cmp(&latency(b)))?.link;
    if slowest.name == best.link.name {
        return None;
    }
    let change = |group: &Group<'_>| {
        let far = data.group(&group.policy.label, &slowest.name)?;
        let (near, far) = (group.latency_ms()?.value, far.latency_ms()?.value);
        Some(format!("{} takes {} in place of {}", group.policy.label, time(far), time(near)))
    };
    let large = near.iter().find(|group| group.policy.kind == PolicyKind::LargeOnly);
    let parts: Vec<String> =
        change(best).into_iter().chain(large.and_then(|group| change(group))).collect();
    if parts.is_empty() {
        return None;
    }
    Some(format!("Over {}, at the median, {}.", slowest.name, parts.join(", and ")))
}

fn percent(estimate: Estimate) -> String {
    let interval = estimate.interval.map_or_else(String::new, |(low, high)| {
        format!(" ({:.1} to {:.1})", 100.0 * low, 100.0 * high)
    });
    format!("{}{interval}", percent_of(estimate.value))
}

fn percent_of(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn probability(p: f64) -> String {
    if p < 0.001 { "below 0.001".to_owned() } else { format!("{p:.3}") }
}

fn time(ms: f64) -> String {
    if ms < 10_000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1e3) }
}
