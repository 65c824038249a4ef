//! `specthink-lab size`: prints how nodes cope with a population of users.

use std::{fmt::Write as _, slice};

use answer::prices::Prices;
use cli::{CliError, Exit};
use lab::{
    link::LinkProfile,
    sizing::{
        AnswerTrace, Fleet, NodePool, Percentiles, Population, SizingFigures, SizingTarget, alone,
        least_nodes, most_per_s, size,
    },
};
use thinking::policy::Role;

use crate::{
    args::SizeArgs,
    catalogue,
    exit::cli_error,
    journals::{Recorded, recorded, tell},
    print, profiles,
};

const HEADER: &str = "\
| large nodes | in use | sessions at a time | answer median | p95 | p99 | takeover to first text median | p95 | p99 | of that waited for others median | p95 | p99 | misses |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";
/// Over a link with randomness, each recorded answer is replayed repeatedly until there are this many traces.
const TRACES: usize = 1_000;

pub(crate) fn run(args: &SizeArgs) -> Result<Exit, CliError> {
    let link = match &args.link {
        Some(link) => {
            let links = profiles(&catalogue(&args.links)?, slice::from_ref(link))?;
            let [link] = links.as_slice() else {
                let message = "a size is for one link: give one, such as 4g-median";
                return Err(CliError::new(Exit::Usage, message));
            };
            Some(link.clone())
        }
        None => None,
    };
    let (prices, fleet, population) = (args.prices.read()?, args.fleet()?, args.population());
    let recorded = recorded(&args.journals)?;
    let traces = traces(&recorded, link.as_ref(), population.seed, &prices)?;
    let asked = match args.large_nodes {
        Some(nodes) => Some((nodes, size(&traces, &population, &fleet).map_err(cli_error)?)),
        None => None,
    };
    let targets = args.target.as_slice();
    let least = match targets {
        [] => None,
        targets => Some(least_nodes(&traces, &population, &fleet, targets).map_err(cli_error)?),
    };
    let idle = alone(&traces, &fleet).map_err(cli_error)?;
    let mut rows: Vec<(u32, SizingFigures)> = asked.into_iter().chain(least.clone()).collect();
    rows.sort_by_key(|(nodes, _)| *nodes);
    rows.dedup_by_key(|(nodes, _)| *nodes);
    let one = |pool: &NodePool| NodePool { nodes: 1, ..pool.clone() };
    let large_per_s = most_per_s(&traces, Role::Large, &one(&fleet.large));
    let small_per_s = fleet.small.as_ref().map(|pool| most_per_s(&traces, Role::Small, pool));
    let sized =
        Sized { link, population, fleet, targets, least, idle, rows, large_per_s, small_per_s };
    print(&sized.text(recorded.len(), &prices))
}

/// Converts the recorded answers to traces. Prints why some cannot be used.
fn traces(
    recorded: &[Recorded],
    link: Option<&LinkProfile>,
    seed: u64,
    prices: &Prices,
) -> Result<Vec<AnswerTrace>, CliError> {
    let times = match link {
        Some(link) if !link.is_unlimited() => TRACES.div_ceil(recorded.len().max(1)) as u64,
        _ => 1,
    };
    let (mut traces, mut left_out) = (Vec::new(), Vec::new());
    for Recorded { recording, summary } in recorded {
        for time in 0..times {
            match AnswerTrace::new(recording, link, seed.wrapping_add(time), prices.tokens(summary))
            {
                Ok(trace) => traces.push(trace),
                Err(why) => {
                    left_out.push(why.to_string());
                    break;
                }
            }
        }
    }
    tell(&left_out);
    match left_out.first().filter(|_| traces.is_empty()) {
        Some(first) => Err(CliError::new(Exit::Journal, format!("no answer can be used: {first}"))),
        None => Ok(traces),
    }
}

/// The results.
struct Sized<'a> {
    link: Option<LinkProfile>,
    population: Population,
    fleet: Fleet,
    targets: &'a [SizingTarget],
    /// The smallest number of large nodes that meets the targets.
    least: Option<(u32, SizingFigures)>,
    /// Answers that have their nodes to themselves.
    idle: SizingFigures,
    rows: Vec<(u32, SizingFigures)>,
    /// The most questions a second that one large node can answer.
    large_per_s: f64,
    /// The most that all small nodes can answer, if users share them.
    small_per_s: Option<f64>,
}

impl Sized<'_> {
    fn text(&self, recorded: usize, prices: &Prices) -> String {
        let Population { users, questions_per_hour, .. } = self.population;
        let link = match &self.link {
            Some(link) => format!("{} ({link})", link.name),
            None => "no link".to_owned(),
        };
        let mut text = format!(
            "{users} users with {questions_per_hour} questions an hour each, {:.3} a second, over {link}:\n\n",
            self.population.questions_per_s()
        );
        // Writing to a string cannot fail.
        let _ = match (&self.least, self.rows.first()) {
            (Some((nodes, figures)), _) => {
                let asked: Vec<String> = self.targets.iter().map(SizingTarget::to_string).collect();
                let (asked, nodes) = (asked.join(", "), counted(*nodes));
                writeln!(text, "For {asked}: {nodes}, {}", words(figures, prices))
            }
            (None, Some((nodes, figures))) => {
                writeln!(text, "{}, {}", counted(*nodes), words(figures, prices))
            }
            (None, None) => Ok(()),
        };
        text.push('\n');
        text.push_str(HEADER);
        for (nodes, figures) in &self.rows {
            text.push_str(&self.row(&nodes.to_string(), Some(figures), figures));
        }
        text.push_str(&self.row("idle", None, &self.idle));
        text.push('\n');
        for note in self.notes(recorded, prices) {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    /// Formats a row of the table. `used` is `None` for idle nodes.
    fn row(&self, nodes: &str, used: Option<&SizingFigures>, figures: &SizingFigures) -> String {
        let missed = self.targets.iter().filter(|target| !figures.keeps(target));
        let missed: Vec<String> = missed.map(SizingTarget::to_string).collect();
        let or_none = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        let mut cells = vec![
            nodes.to_owned(),
            or_none(used.map(|used| percent(used.utilisation))),
            or_none(used.map(|used| format!("{:.1}", used.sessions))),
        ];
        let waited = figures.wait.filter(|_| used.is_some());
        for percentiles in [Some(figures.answer), figures.first_text, waited] {
            let of = |value: fn(&Percentiles) -> f64| {
                or_none(percentiles.as_ref().map(|p| seconds(value(p))))
            };
            cells.extend([of(|p| p.median_s), of(|p| p.p95_s), of(|p| p.p99_s)]);
        }
        cells.push(missed.join(", "));
        format!("| {} |\n", cells.join(" | "))
    }

    fn notes(&self, recorded: usize, prices: &Prices) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some((_, figures)) = self.rows.first() {
            notes.push(format!(
                "{} answers, drawn from {recorded} recorded ones with equal probability; idle is for answers that \
                 have their nodes to themselves.",
                figures.answers
            ));
        }
        let small = match &self.fleet.small {
            Some(pool) => {
                let used = self.rows.first().and_then(|(_, figures)| figures.small_utilisation);
                let used =
                    used.map_or_else(String::new, |used| format!(", {} in use", percent(used)));
                format!("All users share {} small nodes{used}.", pool.nodes)
            }
            None => "Each user has a small node, as fast as the recorded one.".to_owned(),
        };
        notes.push(small);
        // Answers of the small model alone ask nothing of it.
        if self.large_per_s.is_finite() {
            notes.push(format!(
                "One large node can answer at most {:.2} such questions a second, with its batches full.",
                self.large_per_s
            ));
        }
        if let (Some(pool), Some(most_per_s)) = (&self.fleet.small, self.small_per_s) {
            notes.extend(self.nearly_full(&format!("{} small nodes", pool.nodes), most_per_s));
        }
        for (nodes, figures) in &self.rows {
            let most_per_s = f64::from(*nodes) * self.large_per_s;
            let nodes = counted(*nodes);
            if figures.cut_off > 0 {
                notes.push(format!(
                    "With {nodes}, {} answers took longer than their deadline: they would have been cut off.",
                    figures.cut_off
                ));
            }
            notes.extend(self.nearly_full(&nodes, most_per_s));
        }
        notes.push(format!("Prices: {} ({}).", prices.version, prices.note));
        notes
    }

    /// Returns a warning if nearly as many questions arrive as these nodes can answer.
    fn nearly_full(&self, nodes: &str, most_per_s: f64) -> Option<String> {
        let load = self.population.questions_per_s() / most_per_s;
        (load > 0.95).then(|| {
            format!(
                "{} of the questions that {nodes} can answer arrive: queues keep growing for longer than was \
                 simulated. Plan for a lower load.",
                percent(load)
            )
        })
    }
}

fn words(figures: &SizingFigures, prices: &Prices) -> String {
    let Percentiles { median_s, p95_s, .. } = figures.answer;
    let takeovers = figures.first_text.map_or_else(String::new, |first_text| {
        format!(
            ", {} and {} from a takeover to its first text",
            seconds(first_text.median_s),
            seconds(first_text.p95_s)
        )
    });
    format!(
        "in use {} of the time, answers take {} at the median and {} at p95{takeovers}, {} {:.4} for 1,000 answers.",
        percent(figures.utilisation),
        seconds(median_s),
        seconds(p95_s),
        prices.currency,
        1e3 * figures.cost
    )
}

fn counted(nodes: u32) -> String {
    format!("{nodes} large {}", if nodes == 1 { "node" } else { "nodes" })
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{:.0} ms", 1e3 * seconds) } else { format!("{seconds:.1} s") }
}
