//! The report of hand-written sweeps: every figure in each format, what is left out, and no references to the outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../lab/tests/by_hand/mod.rs"]
mod by_hand;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use by_hand::sweep::{Plan, Sweep};
use runs::Row;

const FIGURES: [&str; 11] = [
    "1-accuracy-latency",
    "2-accuracy-share",
    "3-latency-rtt",
    "4-time",
    "5-traffic",
    "6-handoff",
    "7-completion",
    "8-gap",
    "9-cost",
    "10-paired",
    "11-computing",
];

fn lab(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_specthink-lab"));
    command.env_remove("RUST_LOG").env_remove("SPECTHINK_LOG");
    command.arg("report").args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Writes the report of a sweep and returns its folder.
fn reported(sweep: &Sweep) -> PathBuf {
    let output = lab(&[&sweep.path()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let folder = sweep.path().join("report");
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(page.trim(), folder.join("report.html").display().to_string());
    folder
}

fn page(folder: &Path) -> String {
    fs::read_to_string(folder.join("report.html")).unwrap()
}

/// Returns the fields of a line. A comma between quotes is part of a field.
fn fields(line: &str) -> Vec<String> {
    let quoted = line.split('"').enumerate();
    let hidden =
        quoted.map(|(at, part)| if at % 2 == 1 { part.replace(',', "\0") } else { part.into() });
    hidden.collect::<String>().split(',').map(|field| field.replace('\0', ",")).collect()
}

/// Returns a figure's rows, keyed by column name.
fn csv(folder: &Path, name: &str) -> Vec<std::collections::BTreeMap<String, String>> {
    let text = fs::read_to_string(folder.join(format!("{name}.csv"))).unwrap();
    let mut lines = text.lines().map(fields);
    let names = lines.next().unwrap();
    lines.map(|fields| names.iter().cloned().zip(fields).collect()).collect()
}

fn number(row: &std::collections::BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column}: {row:?}"))
}

/// Returns the section of the page with this figure.
fn section<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, section) = page.split_once(&format!("<h2 id=\"{name}\">")).unwrap();
    section.split("<h2 ").next().unwrap()
}

#[test]
fn every_figure_is_in_the_page_and_a_picture_and_a_file_of_numbers() {
    let sweep = Sweep::new(&Plan::default());
    let folder = reported(&sweep);
    let page = page(&folder);
    for name in FIGURES {
        let rows = csv(&folder, name);
        assert!(!rows.is_empty(), "{name}");
        let section = section(&page, name);
        assert!(
            section.contains("<svg ") && section.contains("role=\"img\" aria-label="),
            "{name}"
        );
        assert!(section.contains("<p class=\"reading\">"), "{name}");
        let (_, table) = section.split_once("<tbody>").unwrap();
        assert_eq!(table.matches("<tr>").count(), rows.len(), "{name}: the table is the file");
        for value in rows[0].values() {
            assert!(table.contains(&format!(">{value}</td>")), "{name}: {value}");
        }
        let svg = fs::read_to_string(folder.join(format!("{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{name}");
        assert!(svg.contains("fill=\"#ffffff\""), "{name} has a white ground");
        assert_eq!(svg.matches("<svg ").count(), svg.matches("</svg>").count(), "{name}");
    }
    assert_eq!(csv(&folder, "cells").len(), 6);
    assert!(page.contains("Nothing was left out."));
}

#[test]
fn the_numbers_are_those_of_the_answers() {
    let sweep = Sweep::new(&Plan::default());
    let folder = reported(&sweep);
    let of = |name: &str, policy: &str, link: &str| {
        let rows = csv(&folder, name).into_iter();
        let mine = rows.filter(|row| row["policy"] == policy && row["link"] == link);
        mine.collect::<Vec<_>>()
    };
    let accuracy = of("1-accuracy-latency", "small-only", "geo");
    assert_eq!(number(&accuracy[0], "accuracy"), 0.5);
    // 100 ms, plus 1 ms more for each of the six questions; by nearest rank.
    assert_eq!(number(&accuracy[0], "latency_median_ms"), 102.0);
    let share = of("2-accuracy-share", "strict", "geo");
    assert!((number(&share[0], "takeover_share") - 20.0 / 60.0).abs() < 1e-4);
    let parts: f64 = of("4-time", "strict", "geo").iter().map(|row| number(row, "mean_ms")).sum();
    assert!((parts - 145.0).abs() < 1e-6, "the mean of the totals: {parts}");
    let gap = of("8-gap", "strict", "geo");
    // 4 of 6 right, between 3 and 6.
    assert!((number(&gap[0], "gap_recovered") - 1.0 / 3.0).abs() < 1e-4);
    let paired = of("10-paired", "large-only", "geo");
    assert_eq!(paired[0]["against"], "strict");
    assert_eq!(
        (number(&paired[0], "only_policy_right"), number(&paired[0], "mcnemar_p")),
        (2.0, 0.5)
    );
    // The prompt has 14 bytes, the text before the takeover 120; 40 more are sent ahead.
    let text = of("5-traffic", "strict", "geo");
    let bytes = |counted: &str| {
        number(
            text.iter().find(|row| row["counted"].contains(counted)).unwrap(),
            "bytes_per_answer",
        )
    };
    assert_eq!(bytes("each byte once"), 14.0 + 160.0);
    assert_eq!(bytes("all of it at every ask"), 14.0 + 120.0);
    assert_eq!(bytes("down: text"), 80.0);
    // The last line of the run counts: 3,000 bytes up for six answers.
    assert_eq!(bytes("up: on the wire"), 500.0);
    let handoffs = of("6-handoff", "strict", "geo");
    assert_eq!(handoffs.len(), 6);
    assert_eq!(number(&handoffs[5], "share_at_most"), 1.0);
}

#[test]
fn what_the_large_model_computes_is_read_and_written_tokens() {
    let sweep = Sweep::new(&Plan::default());
    let folder = reported(&sweep);
    let rows = csv(&folder, "11-computing");
    let strict = rows.iter().find(|row| row["policy"] == "strict" && row["link"] == "geo").unwrap();
    let [read, written, all] = ["large_read_tokens", "large_written_tokens", "large_tokens"]
        .map(|column| number(strict, column));
    assert!(written >= 20.0 && (read + written - all).abs() < 1e-6, "{strict:?}");
    assert_eq!(strict["large_passes"], "", "its journals are from a node that did not count them");
    let cells = csv(&folder, "cells");
    let cell = cells.iter().find(|row| row["policy"] == "strict" && row["link"] == "geo").unwrap();
    assert_eq!(number(cell, "large_written_tokens_per_answer"), written);
}

#[test]
fn policies_stand_beside_baselines_that_cost_as_much() {
    let plan = Plan {
        policies: &["strict", "random:share=0.3", "entropy", "small-only"],
        ..Plan::default()
    };
    let sweep = Sweep::new(&plan);
    let folder = reported(&sweep);
    let rows = csv(&folder, "12-equal");
    let of = |policy: &str| rows.iter().filter(|row| row["policy"] == policy).count();
    assert_eq!((of("small-only"), of("entropy")), (0, 0), "baselines are only compared with");
    assert!(!rows.is_empty() && of("strict") == rows.len(), "{rows:?}");
    for row in &rows {
        let factor = number(row, "policy_has") / number(row, "baseline_has");
        assert!((0.8..=1.25).contains(&factor), "{row:?}");
    }
    assert!(rows.iter().any(|row| row["equal_in"] == "share"), "{rows:?}");
    assert!(section(&page(&folder), "12-equal").contains("<svg "));
}

#[test]
fn the_replayed_line_takes_a_round_trip_for_each_takeover_and_says_where_it_crosses() {
    let sweep = Sweep::new(&Plan::default());
    let folder = reported(&sweep);
    let rows = csv(&folder, "3-latency-rtt");
    let line: Vec<_> = rows
        .iter()
        .filter(|row| row["policy"] == "strict" && row["source"] == "replayed")
        .collect();
    let (first, last) = (line[0], line[line.len() - 1]);
    let added = number(last, "latency_median_ms") - number(first, "latency_median_ms");
    assert!((added - number(last, "rtt_ms")).abs() < 5.0, "{added}");
    let page = page(&folder);
    let words = section(&page, "3-latency-rtt");
    // At no distance strict takes 142 ms and large-only 152. They never cross, because both pay for distance.
    assert!(words.contains("strict and small-only do not cross"), "{words}");
    assert!(words.contains("slower at all of them"), "{words}");
    assert!(words.contains("large-only and small-only"), "{words}");
}

#[test]
fn what_cannot_be_used_is_named_and_counted() {
    let sweep = Sweep::new(&Plan::default());
    let path = |number| sweep.journal("strict", "loopback", number);
    let text = |number| fs::read_to_string(path(number)).unwrap();
    fs::write(path(0), text(0).replace("\"specthink_journal\":1", "\"specthink_journal\":9"))
        .unwrap();
    fs::write(path(1), &text(1)[..text(1).len() - 40]).unwrap();
    fs::write(path(2), text(3)).unwrap();
    let failed = Row::Failed { id: "q9".to_owned(), reason: "gone".to_owned() };
    sweep.row("strict", "geo", 0, &failed);
    let folder = reported(&sweep);
    let page = page(&folder);
    assert!(page.contains("4 things were left out"), "{}", section(&page, "left-out"));
    let left_out = section(&page, "left-out");
    for (kind, why) in [
        ("journals of another version: 1", "question q0: its journal has version 9"),
        ("journals that break off: 1", "question q1: its journal breaks off"),
        ("journals of something else: 1", "question q2: its journal is of another question"),
        ("questions that failed: 1", "question q9: it failed: gone"),
    ] {
        assert!(left_out.contains(kind) && left_out.contains(why), "{kind}: {left_out}");
    }
    let rows = csv(&folder, "3-latency-rtt");
    let replayed = rows.iter().find(|row| row["policy"] == "strict" && row["source"] == "replayed");
    assert_eq!(number(replayed.unwrap(), "answers"), 3.0, "without the three");
    let live = rows.iter().find(|row| row["policy"] == "strict" && row["link"] == "loopback");
    assert_eq!(number(live.unwrap(), "answers"), 6.0, "their rows are complete");
}

#[test]
fn an_unfinished_sweep_has_a_report_and_figures_say_what_is_missing() {
    let sweep = Sweep::empty(&Plan::default());
    let folder = reported(&sweep);
    let empty = page(&folder);
    assert!(empty.contains("nothing to show"));
    for name in FIGURES {
        assert!(section(&empty, name).contains("<svg "), "{name}");
    }
    sweep.answer("strict", "geo", 0, 0);
    let page = page(&reported(&sweep));
    assert!(
        section(&page, "8-gap")
            .contains("small-only or large-only is missing there: strict over geo")
    );
    assert!(section(&page, "3-latency-rtt").contains("no replayed line for strict"));
    assert!(section(&page, "left-out").contains("5 of 6 questions have no row so far"));
}

#[test]
fn the_page_needs_nothing_from_outside_and_names_are_escaped() {
    let bad = "random:<script>alert(1)</script>&\"'";
    let link = "<b>link</b>";
    let plan = Plan {
        policies: &["strict", bad, "small-only"],
        links: &[("loopback", "rtt=0s"), (link, "rtt=1ms")],
        ..Plan::default()
    };
    let sweep = Sweep::new(&plan);
    let folder = reported(&sweep);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let pictures = files.filter(|path| path.extension().is_some_and(|kind| kind != "csv"));
    for path in pictures {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.display();
        let outside = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for reference in ["http://", "https://", "src=", "url(", "@import", "<script", "<b>link"] {
            assert!(!outside.contains(reference), "{name} has {reference}");
        }
        let links = text.matches("href=\"").count();
        assert_eq!(links, text.matches("href=\"#").count(), "{name} links within itself only");
    }
    let page = page(&folder);
    assert!(page.contains("random:&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;"));
    assert!(page.contains("&lt;b&gt;link&lt;/b&gt;"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
}

#[test]
fn several_folders_prices_and_bad_input() {
    let (first, second) = (
        Sweep::new(&Plan::default()),
        Sweep::new(&Plan { links: &[("lan", "rtt=1ms")], ..Plan::default() }),
    );
    let out = first.path().join("both");
    let output = lab(&[&first.path(), &second.path()]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let prices = first.path().join("prices.toml");
    let text = include_str!("../../answer/prices.toml").replace("0.20", "20.0");
    fs::write(&prices, text.replace("example, November 2026", "ours, May")).unwrap();
    let all: [&Path; 6] =
        [&first.path(), &second.path(), "--out".as_ref(), &out, "--prices".as_ref(), &prices];
    let output = lab(&all);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(csv(&out, "1-accuracy-latency").len(), 9);
    assert!(page(&out).contains("ours, May"));
    let cost = csv(&out, "9-cost");
    let small = cost.iter().find(|row| row["policy"] == "small-only").unwrap();
    // 50 tokens at 20 a million; half of the answers are right.
    assert!((number(small, "cost_per_1000_right") - 2.0).abs() < 1e-6, "{small:?}");

    fs::write(&prices, "version = 1\n").unwrap();
    let output = lab(&all);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let nowhere = first.path().join("nowhere");
    let output = lab(&[&nowhere]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stderr(&output).contains("holds no sweep") && stderr(&output).lines().count() == 1);
    let other = Sweep::new(&Plan { data_set: "def", ..Plan::default() });
    let output = lab(&[&first.path(), &other.path(), "--out".as_ref(), &out]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stderr(&output).contains("another data set"), "{}", stderr(&output));
}
