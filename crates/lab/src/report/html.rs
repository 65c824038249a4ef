//! The report as one self-contained page, without network or scripts. Its text comes from the figures, and all of it is
//! escaped here.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use answer::prices::Prices;

use super::{
    Tables, chart,
    data::Data,
    figure::DrawnFigure,
    findings::findings,
    markup::escaped,
    table::{Table, Value},
};
use crate::{link::Shaping, results::SkippedKind, stats::RESAMPLES};

const STYLE: &str = include_str!("style.css");

/// Returns the whole page.
pub(super) fn page(
    data: &Data<'_>,
    prices: &Prices,
    tables: &Tables,
    figures: &[DrawnFigure],
) -> String {
    let dark = format!("@media (prefers-color-scheme: dark) {{\n{}}}\n", chart::CSS);
    let title = "What the network cost";
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{dark}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    let findings = findings(data).join(" ");
    if !findings.is_empty() {
        let _ = writeln!(html, "<p class=\"findings\">{}</p>", escaped(&findings));
    }
    html += &contents(figures);
    for figure in figures {
        html += &section(figure);
    }
    html += "<h2 id=\"links\">Links, requested and measured</h2>\n<p class=\"reading\">For each link \
     the requested round trip, and how long takeovers waited beyond the times that the nodes reported, \
     in all cells over it: one round trip, what jitter, rate and losses add, and the machine's \
     scheduling, less what the large node read while the ask was in flight. Stalls are pieces \
     that waited for a retransmission or an outage's end, as the proxy counts them; over real \
     packets they are not counted.</p>\n";
    html += &folded("The numbers of all links (links.csv)", &table(&tables.links));
    html += &left_out(data);
    html += &limits();
    html += "<h2 id=\"facts\">What was run</h2>\n";
    html += &facts(data, prices);
    html += "<h2 id=\"cells\">All cells</h2>\n<p class=\"reading\">A row for each policy over each link with each \
     seed, as the sweep prints it.</p>\n";
    html += &folded("The numbers of all cells (cells.csv)", &table(&tables.cells));
    html += "</body>\n</html>\n";
    html
}

fn contents(figures: &[DrawnFigure]) -> String {
    let entry = |figure: &DrawnFigure| {
        let (name, title) = (figure.figure.name, escaped(&figure.figure.title));
        format!("<li><a href=\"#{name}\">{title}</a></li>\n")
    };
    let figures: String = figures.iter().map(entry).collect();
    format!(
        "<nav aria-label=\"Contents\">\n<ol>\n{figures}</ol>\n<p>\
         <a href=\"#links\">Links, requested and measured</a> · \
         <a href=\"#left-out\">What was left out</a> · <a href=\"#limits\">Limits</a> · \
         <a href=\"#facts\">What was run</a> · <a href=\"#cells\">All cells</a></p>\n</nav>\n"
    )
}

/// Returns what was run.
fn facts(data: &Data<'_>, prices: &Prices) -> String {
    let mut facts: Vec<(String, String)> = Vec::new();
    for sweep in &data.results.sweeps {
        let experiment = &sweep.experiment;
        let list = |values: Vec<String>| values.join(", ");
        let mut fact = |name: &str, value: String| facts.push((name.to_owned(), escaped(&value)));
        // Their names alone: a report is given to others, and where files are on a machine is nobody's concern.
        fact("folder", last_name(&sweep.folder));
        fact("data set", last_name(Path::new(&experiment.data_set)));
        fact("its SHA-256", experiment.data_set_sha256.clone());
        fact("models", experiment.pair());
        fact("questions", experiment.questions.to_string());
        fact("at a time", experiment.parallel.to_string());
        fact("seeds", list(experiment.seeds.iter().map(u64::to_string).collect()));
        fact("grader", experiment.grader.clone());
        let links = experiment.links.iter().map(|(name, link)| format!("{name}: {link}"));
        facts.push(("links".to_owned(), items(links)));
        let shaping = match experiment.shaping {
            Shaping::Proxy => "the proxy, a model above TCP",
            Shaping::Netem => "the kernel's netem: real packets under the system's TCP",
        };
        facts.push(("links made by".to_owned(), shaping.to_owned()));
        let policies = experiment.policies.iter().map(|(name, terms)| {
            format!("{name}: {}", serde_json::to_string(terms).unwrap_or_default())
        });
        let all = items(policies);
        let policies = format!(
            "{}<details><summary>all parameters</summary>{all}</details>",
            escaped(&list(experiment.policies_in_order().into_iter().cloned().collect()))
        );
        facts.push(("policies".to_owned(), policies));
    }
    let programs: Vec<String> = data.programs.iter().cloned().collect();
    facts.push(("answers written by".to_owned(), escaped(&programs.join(", "))));
    let program = concat!("specthink-lab ", env!("CARGO_PKG_VERSION")).to_owned();
    facts.push(("report written by".to_owned(), program));
    facts.push(("prices".to_owned(), escaped(&format!("{} ({})", prices.version, prices.note))));
    let rows = facts.iter().map(|(name, value)| {
        format!("<tr><th scope=\"row\">{}</th><td>{value}</td></tr>\n", escaped(name))
    });
    let left_out: u64 = data.skipped.iter().map(|skipped| skipped.count).sum();
    let note = match left_out {
        0 => "Nothing was left out.".to_owned(),
        count => format!(
            "<a href=\"#left-out\">{count} things were left out</a>, each with its reason below."
        ),
    };
    format!("<table class=\"facts\">\n{}</table>\n<p>{note}</p>\n", rows.collect::<String>())
}

fn items(texts: impl Iterator<Item = String>) -> String {
    let items = texts.map(|text| format!("<li><code>{}</code></li>", escaped(&text)));
    format!("<ul>{}</ul>", items.collect::<String>())
}

fn section(drawn: &DrawnFigure) -> String {
    let figure = &drawn.figure;
    let (name, title, reading) = (figure.name, escaped(&figure.title), escaped(figure.reading));
    let panels: String = drawn.panels.iter().map(|panel| panel.inline(&figure.title)).collect();
    let one = if drawn.panels.len() <= 2 { " one" } else { "" };
    let mut html = format!("<h2 id=\"{name}\">{title}</h2>\n<p class=\"reading\">{reading}</p>\n");
    let _ = writeln!(html, "<div class=\"panels{one}\">\n{panels}</div>");
    if !figure.notes.is_empty() {
        let notes = figure.notes.iter().map(|note| format!("<li>{}</li>\n", escaped(note)));
        let _ = writeln!(html, "<ul>\n{}</ul>", notes.collect::<String>());
    }
    html += &folded(&format!("The numbers of this figure ({name}.csv)"), &table(&figure.table));
    html
}

/// Returns a path's last part, or the path if it has none.
fn last_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into())
}

/// Something that opens on demand.
fn folded(summary: &str, html: &str) -> String {
    format!("<details><summary>{summary}</summary>\n{html}</details>\n")
}

fn table(table: &Table) -> String {
    let names = table.columns().iter().map(|name| {
        let name = escaped(&name.replace('_', " "));
        format!("<th scope=\"col\">{name}</th>")
    });
    let names: String = names.collect();
    let mut html = format!(
        "<div class=\"table\" tabindex=\"0\"><table>\n<thead><tr>{names}</tr></thead>\n<tbody>\n"
    );
    for row in table.rows() {
        let cells = row.values().iter().map(|value| {
            let class = if matches!(value, Value::Text(_)) { "" } else { " class=\"n\"" };
            format!("<td{class}>{}</td>", escaped(&value.shown()))
        });
        let _ = writeln!(html, "<tr>{}</tr>", cells.collect::<String>());
    }
    html += "</tbody>\n</table></div>\n";
    html
}

fn left_out(data: &Data<'_>) -> String {
    let mut kinds: BTreeMap<SkippedKind, (u64, Vec<String>)> = BTreeMap::new();
    for skipped in &data.skipped {
        let (count, lines) = kinds.entry(skipped.what).or_default();
        *count += skipped.count;
        lines.push(skipped.to_string());
    }
    let mut html = "<h2 id=\"left-out\">What was left out</h2>\n".to_owned();
    if kinds.is_empty() {
        html += "<p>Nothing: every cell is complete, and every answer has its journal.</p>\n";
    }
    for (what, (count, lines)) in kinds {
        let lines = lines.iter().map(|line| format!("<li>{}</li>\n", escaped(line)));
        let _ = writeln!(
            html,
            "<details open><summary>{}: {count}</summary>\n<ul>\n{}</ul></details>",
            what.plural(),
            lines.collect::<String>()
        );
    }
    html
}

fn limits() -> String {
    let limits = [
        "Everything ran on the machines of the sweep. If no nodes were named, that is one machine: both models and the \
         coordinator share its cores, so the computing of one can slow the other down. Times are of that machine and \
         these models.",
        "A link that the proxy makes is a model above TCP: delay, rate, jitter, losses, outages and resets, without \
         congestion control. docs/links.md lists its limits, and how it compares with real packets.",
        "If several questions are asked at a time, they share the nodes and the link; their waiting for each other is \
         part of every time here.",
        "A few dozen questions can show large differences, but not small ones: look at the intervals before the \
         points. Overlapping intervals do not mean that two policies are the same; the paired comparison is sharper, \
         because the questions are the same.",
        "Intervals say how the figure would vary with other questions like these. They do not cover what another \
         machine, model, data set, time of day or decoding setting would change. Answers to one question with several \
         seeds are drawn together.",
        "Medians and their bootstrap intervals are coarse for few questions: a percentile interval of ten values is \
         made of these ten values.",
        "A report makes many comparisons: of twenty without a real difference, one looks significant. Only the paired \
         tests are adjusted for that.",
        "Replay re-times recorded answers. It does not know what a policy that looks at the clock would have done, and \
         it does not model caches that are evicted; docs/replay.md says how accurate it was.",
        "Failed questions have no answer, so they are in no figure of accuracy or time; the figure of completed \
         answers counts them.",
        "Costs are as good as the price table, and count what this system computed; idle machines are not included.",
    ];
    let items: String = limits.iter().map(|text| format!("<li>{}</li>\n", escaped(text))).collect();
    format!(
        "<h2 id=\"limits\">Limits</h2>\n<ul>\n{items}</ul>\n<p class=\"reading\">All intervals are at 95 %. Those by \
         resampling are percentile bootstrap intervals of {RESAMPLES} seeded resamples of questions; shares have \
         Wilson's interval, with the design effect of several answers to a question. docs/report.md has the \
         method.</p>\n"
    )
}
