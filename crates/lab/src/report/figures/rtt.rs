//! Latency against the link's round trip: measured, and replayed from loopback recordings.

use std::time::Duration;

use thinking::policy::PolicyKind;

use super::listed;
use crate::{
    link::LinkProfile,
    replay::{Conditions, Recording, replay},
    report::{
        chart::{Axis, Chart, Kind, Layer, Mark, Scale},
        data::{Data, Group, SEED, ms},
        figure::Figure,
        table::{Table, Value, estimated, shown},
    },
    results::{PolicyResults, SkippedKind},
    stats::{self, Estimate},
};

/// Shorter round trips are drawn here: a logarithmic axis has no zero.
const FLOOR_MS: f64 = 0.1;
/// Round trips to replay: from the floor to 2 s, about seven per decade.
const GRID: u32 = 31;
const LONGEST_MS: f64 = 2_000.0;

/// A policy's recorded questions, each with its time at every round trip of the grid, for every seed.
struct Line<'a> {
    policy: &'a PolicyResults,
    questions: Vec<(&'a str, Vec<Vec<f64>>)>,
    /// How many round trips of the grid the line covers: at the next one an answer would have diverged.
    reach: usize,
}

pub(super) fn figure(data: &Data<'_>) -> Figure {
    let mut table = Table::new(&[
        "policy",
        "source",
        "link",
        "rtt_ms",
        "answers",
        "latency_median_ms",
        "latency_median_low_ms",
        "latency_median_high_ms",
    ]);
    for group in &data.groups {
        let rtt_ms = group.link.rtt.as_secs_f64() * 1e3;
        let answers = group.graded();
        table.push([
            vec![
                group.policy.label.as_str().into(),
                "live".into(),
                group.link.name.as_str().into(),
            ],
            vec![rtt_ms.into(), answers.into()],
            estimated(group.latency_ms()).to_vec(),
        ]);
    }
    let grid = grid();
    let lines: Vec<Line<'_>> =
        data.results.policies.iter().filter_map(|policy| Line::new(data, policy, &grid)).collect();
    for line in &lines {
        for (at, rtt_ms) in grid.iter().enumerate().take(line.reach) {
            let median = line.median(at);
            let answers: usize = line.questions.iter().map(|(_, answers)| answers.len()).sum();
            table.push([
                vec![line.policy.label.as_str().into(), "replayed".into(), Value::Absent],
                vec![(*rtt_ms).into(), answers.into()],
                estimated(median).to_vec(),
            ]);
        }
    }
    let x = Axis::new("round trip of the link, ms", "rtt_ms", Scale::Log { floor: FLOOR_MS });
    let y = Axis::new(
        "median latency of an answer, ms",
        "latency_median_ms",
        Scale::Log { floor: 1.0 },
    )
    .with_interval("latency_median_low_ms", "latency_median_high_ms");
    let layer = |source, mark| Layer { only: Some(("source", source)), mark, by_series: true };
    Figure {
        name: "3-latency-rtt",
        title: "Latency against the link's round trip".to_owned(),
        reading: "Marks are answers measured live over the links, with their rates, jitter and losses; lines are the \
            answers recorded over loopback, re-timed over links with that round trip and no other limit. Marks above \
            their line show what the link costs in addition to its round trip, and what the machine was busy with. \
            Replay re-times decisions and makes none of its own. Both axes are logarithmic; a round trip of less than \
            0.1 ms is drawn at 0.1 ms.",
        notes: notes(data, &lines, &grid),
        table,
        chart: Chart {
            panel: None,
            series: "policy",
            order: data.policies(),
            kind: Kind::Points {
                x,
                y,
                layers: vec![layer("replayed", Mark::Line), layer("live", Mark::Point)],
            },
        },
    }
}

/// Returns round trips in even logarithmic steps, in milliseconds.
fn grid() -> Vec<f64> {
    let step = (LONGEST_MS / FLOOR_MS).ln() / f64::from(GRID - 1);
    (0..GRID).map(|n| FLOOR_MS * (f64::from(n) * step).exp()).collect()
}

/// Returns what a recording would take over a link with this round trip, in milliseconds, unless it would diverge.
fn replayed_ms(recording: &Recording, rtt_ms: f64) -> Option<f64> {
    let rtt = Duration::from_secs_f64(rtt_ms / 1e3);
    let link = LinkProfile { rtt, ..LinkProfile::default() };
    let replayed = replay(recording, &Conditions::over(link, SEED)).ok()?;
    replayed.diverged.is_none().then(|| ms(replayed.time.total_us))
}

impl<'a> Line<'a> {
    /// Computes the line of a policy that was recorded over loopback.
    fn new(data: &Data<'a>, policy: &'a PolicyResults, grid: &[f64]) -> Option<Line<'a>> {
        let recorded =
            |group: &&Group<'a>| group.policy.label == policy.label && group.link.is_unlimited();
        let group = data.groups.iter().find(recorded)?;
        let mut questions = Vec::new();
        for question in &group.questions {
            let over_grid = |recording: &Recording| -> Vec<f64> {
                grid.iter().map_while(|rtt_ms| replayed_ms(recording, *rtt_ms)).collect()
            };
            let answers: Vec<Vec<f64>> = question.recordings.iter().map(over_grid).collect();
            if !answers.is_empty() {
                questions.push((question.id, answers));
            }
        }
        let answers = questions.iter().flat_map(|(_, answers)| answers);
        let reach = answers.map(Vec::len).min()?;
        Some(Line { policy, questions, reach })
    }

    fn median(&self, at: usize) -> Option<Estimate> {
        stats::bootstrap(&self.questions, SEED, |drawn| {
            stats::median(drawn.iter().flat_map(|(_, answers)| answers.iter().map(|a| a[at])))
        })
    }

    /// Returns where this line crosses another one, on the questions that both have: the round trip in milliseconds,
    /// and whether this line is the higher one beyond it.
    fn crossing(&self, other: &Line<'a>, grid: &[f64]) -> Option<(Estimate, bool)> {
        let grid = &grid[..self.reach.min(other.reach)];
        let theirs = |id: &str| other.questions.iter().find(|(other, _)| *other == id);
        let pairs: Vec<[&Vec<Vec<f64>>; 2]> =
            self.questions.iter().filter_map(|(id, ours)| Some([ours, &theirs(id)?.1])).collect();
        let estimate = stats::bootstrap(&pairs, SEED, |drawn| Some(crossing(drawn, grid)?.0))?;
        let all: Vec<&[&Vec<Vec<f64>>; 2]> = pairs.iter().collect();
        Some((estimate, crossing(&all, grid)?.1))
    }
}

/// Returns the first crossing of two medians on the part of the grid that both cover, interpolated linearly in the
/// logarithm of the round trip.
fn crossing(drawn: &[&[&Vec<Vec<f64>>; 2]], grid: &[f64]) -> Option<(f64, bool)> {
    let median = |side: usize, at: usize| {
        stats::median(drawn.iter().flat_map(|pair| pair[side].iter().map(|answer| answer[at])))
    };
    let mut before: Option<(f64, f64)> = None;
    for (at, rtt_ms) in grid.iter().enumerate() {
        let above = median(0, at)? - median(1, at)?;
        // Equal there: the next point shows on which side it continues.
        if above == 0.0 {
            continue;
        }
        if let Some((last_ms, last)) = before
            && last.signum() != above.signum()
        {
            let share = last / (last - above);
            let crossed = last_ms.ln() + share * (rtt_ms.ln() - last_ms.ln());
            return Some((crossed.exp(), above > 0.0));
        }
        before = Some((*rtt_ms, above));
    }
    None
}

/// Describes the crossings, and names the policies without a line.
fn notes(data: &Data<'_>, lines: &[Line<'_>], grid: &[f64]) -> Vec<String> {
    let mut notes = Vec::new();
    for line in lines {
        for kind in [PolicyKind::SmallOnly, PolicyKind::LargeOnly] {
            let other = data.beside(line.policy, kind);
            let other = lines.iter().find(|o| other.is_some_and(|p| p.label == o.policy.label));
            let Some(other) = other.filter(|_| line.policy.kind != kind) else { continue };
            if line.policy.kind == PolicyKind::SmallOnly {
                continue;
            }
            notes.push(in_words(line, other, grid));
        }
    }
    for line in lines {
        if let Some(ends_ms) = grid.get(line.reach) {
            notes.push(format!(
                "The line of {} ends before {} ms: over slower links some of its answers would have diverged, because \
                 a time limit would have passed.",
                line.policy.label,
                shown(*ends_ms)
            ));
        }
    }
    let without: Vec<String> = data
        .results
        .policies
        .iter()
        .filter(|policy| !lines.iter().any(|line| line.policy.label == policy.label))
        .map(|policy| policy.label.clone())
        .collect();
    if !without.is_empty() {
        let why = "no answer over loopback, or none that replay accepts";
        notes.push(format!("There is no replayed line for {}: {why}.", listed(&without)));
    }
    let refused: u64 = data
        .skipped
        .iter()
        .filter(|one| one.what == SkippedKind::Replay)
        .map(|one| one.count)
        .sum();
    if refused > 0 {
        notes.push(format!(
            "Replay refused {refused} of the answers over loopback: see \"What was left out\". The lines do not \
             include them."
        ));
    }
    let parallel = data.results.sweeps.iter().map(|sweep| sweep.experiment.parallel).max();
    if let Some(parallel) = parallel.filter(|parallel| *parallel > 1) {
        notes.push(format!(
            "{parallel} questions were asked at a time, so the recordings include their waiting for each other; over a \
            slower link that waiting would differ. For lines of one answer at a time, sweep with --parallel 1."
        ));
    }
    notes
}

fn in_words(line: &Line<'_>, other: &Line<'_>, grid: &[f64]) -> String {
    let (ours, theirs) = (&line.policy.label, &other.policy.label);
    let round = |ms: f64| shown(ms.round().max((ms * 10.0).round() / 10.0));
    match line.crossing(other, grid) {
        Some((at, above)) => {
            let beyond = if above { "slower" } else { "faster" };
            let interval = at.interval.map_or_else(
                || "no interval: some resamples have no crossing".to_owned(),
                |(low, high)| format!("95 % interval {} to {} ms", round(low), round(high)),
            );
            format!(
                "{ours} and {theirs} take equally long at a round trip of {} ms ({interval}); beyond it {ours} is \
                 {beyond}.",
                round(at.value)
            )
        }
        None => {
            let Some(last) = line.reach.min(other.reach).checked_sub(1) else {
                return format!("{ours} and {theirs} have no round trip in common.");
            };
            let above = line.median(last).map(|m| m.value) > other.median(last).map(|m| m.value);
            let which = if above { "slower" } else { "faster" };
            format!(
                "{ours} and {theirs} do not cross: none up to {} ms; {ours} is {which} at all of them.",
                round(grid[last])
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossing_is_where_the_medians_meet() {
        let grid = [1.0, 10.0, 100.0];
        let (rising, level) = (vec![vec![10.0, 20.0, 30.0]], vec![vec![15.0; 3]]);
        let (at, above) = crossing(&[&[&rising, &level]], &grid).unwrap();
        assert!((at - 10_f64.sqrt()).abs() < 1e-9 && above, "{at}");
        assert!(!crossing(&[&[&level, &rising]], &grid).unwrap().1);
        assert_eq!(crossing(&[&[&level, &level]], &grid), None);
        let meeting = vec![vec![10.0, 15.0, 30.0]];
        assert!(crossing(&[&[&meeting, &level]], &grid).unwrap().1, "equal on the grid itself");
    }

    #[test]
    fn the_grid_ends_where_it_says() {
        let grid = grid();
        assert!((grid[0] - FLOOR_MS).abs() < 1e-9);
        assert!((grid[grid.len() - 1] - LONGEST_MS).abs() < 1e-6);
    }
}
