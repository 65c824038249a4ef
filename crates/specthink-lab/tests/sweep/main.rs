//! `specthink-lab sweep` and what builds on it, run as a user runs it against two served scripted Thinkers: files,
//! resuming, refusals, and what a link costs. No model is involved.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]

mod bench;
mod interrupted;
mod netem;
mod pairs;
mod tune;

use std::{fs, process::Command};

use answer::journal::Journal;
use lab::results::Results;
use serde_json::Value;

use bench::{Bench, DATA, RTT_US, TWO, asked, stderr};

#[test]
fn every_cell_has_its_files_and_a_takeover_costs_a_round_trip() {
    let bench = Bench::new();
    let output = bench.sweep(&TWO);
    assert!(output.status.success(), "{}", stderr(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains("| strict | rtt=40ms | 0 | 50.0 % (1 of 2) | "), "{table}");
    let handoffs = |policy| -> Vec<u64> {
        let rows = bench.rows(policy);
        assert_eq!(rows.len(), 2);
        let takeovers = rows.iter().flat_map(|row| row["summary"]["takeovers"].as_array().unwrap());
        takeovers.map(|takeover| takeover["handoff_us"].as_u64().unwrap()).collect()
    };
    let over = handoffs("strict");
    assert_eq!(over.len(), 2);
    assert!(over.iter().all(|us| *us >= RTT_US), "{over:?}");
    assert!(handoffs("small-only").is_empty());
    assert_eq!(asked(&bench.large), 2, "small-only does not use the large node");
    for policy in ["strict", "small-only"] {
        for name in ["a.jsonl", "b%2fc.jsonl"] {
            let journal = Journal::open(&bench.cell(policy).join("journals").join(name)).unwrap();
            assert!(journal.is_complete() && !journal.truncated);
        }
    }
    let traffic = fs::read_to_string(bench.cell("strict").join("traffic.jsonl")).unwrap();
    let last: Value = serde_json::from_str(traffic.lines().last().unwrap()).unwrap();
    assert!(last["up_bytes"].as_u64() > Some(100), "{last}");
}

#[test]
fn a_sweep_ends_with_its_report_and_loses_nothing_when_there_can_be_none() {
    let bench = Bench::new();
    let output = bench.sweep(&TWO);
    let report = bench.out().join("report").join("report.html");
    let line = format!("report: {}\n", report.display());
    assert!(stderr(&output).ends_with(&line), "{}", stderr(&output));
    let page = fs::read_to_string(&report).unwrap();
    assert!(page.contains("Nothing was left out."), "every journal is its row's");
    let folder = report.parent().unwrap();
    let links = fs::read_to_string(folder.join("links.csv")).unwrap();
    let met: Vec<&str> = links.lines().nth(1).unwrap().split(',').collect();
    assert_eq!(met[..3], ["rtt=40ms", "40", "2"], "{links}");
    assert!(met[3].parse::<f64>().unwrap() >= 40.0, "a takeover met a round trip: {links}");
    fs::remove_dir_all(folder).unwrap();
    fs::write(folder, "in the way").unwrap();
    let again = bench.sweep(&TWO);
    assert_eq!(again.status.code(), Some(5), "{}", stderr(&again));
    assert_eq!(again.stdout, output.stdout);
    let said = "the report is missing: cannot write";
    assert!(stderr(&again).contains(said), "{}", stderr(&again));
}

#[test]
fn an_interrupted_sweep_goes_on_and_asks_nothing_twice() {
    let bench = Bench::new();
    assert!(bench.sweep(&TWO).status.success());
    assert_eq!(asked(&bench.small), 4);
    // As if it had been killed in the middle of a row.
    let log = bench.cell("small-only").join("log.jsonl");
    let text = fs::read(&log).unwrap();
    fs::write(&log, &text[..text.len() - 10]).unwrap();
    let output = bench.sweep(&TWO);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("3 of 4 questions are already graded"), "{}", stderr(&output));
    assert_eq!(asked(&bench.small), 5, "only the one whose row broke off");
    assert_eq!(bench.rows("small-only").len(), 2);
    assert!(bench.sweep(&TWO).status.success());
    assert_eq!(asked(&bench.small), 5);
}

#[test]
fn a_baseline_takes_the_share_that_another_policy_had_over_the_same_link() {
    let bench = Bench::new();
    let both = ["--policy", "strict", "--policy", "periodic:share=strict,period=20"];
    let output = bench.sweep(&both);
    assert!(output.status.success(), "{}", stderr(&output));
    let tokens = |writer: &str| -> f64 {
        let rows = bench.rows("strict");
        rows.iter().map(|row| row["summary"][writer]["tokens"].as_f64().unwrap()).sum()
    };
    let share = tokens("large") / (tokens("small") + tokens("large"));
    assert!(share > 0.1 && share < 0.9, "{share}");
    let log = bench.cell("periodic%3ashare=strict,period=20").join("log.jsonl");
    let header: Value =
        serde_json::from_str(fs::read_to_string(log).unwrap().lines().next().unwrap()).unwrap();
    let parameters = &header["policy"]["parameters"];
    assert!((parameters["share"].as_f64().unwrap() - share).abs() < 0.0006, "{parameters} {share}");
    assert_eq!(parameters["period_tokens"], 20);
    assert!(bench.sweep(&both).status.success(), "it resumes with the same share");
    let results = Results::read(&[bench.out()]).unwrap();
    assert!(results.skipped.is_empty(), "{:?}", results.skipped);
    assert!(results.cells.iter().all(|cell| cell.graded().all(|row| cell.journal(row).is_ok())));
    assert_eq!(results.cells.len(), 2);
    assert_eq!(asked(&bench.small), 4);
}

#[test]
fn the_folder_of_another_experiment_is_refused_in_one_line() {
    let bench = Bench::new();
    assert!(bench.sweep(&TWO).status.success());
    let table: [(&[&str], i32, &str); 9] = [
        (&["--link", "all", "--link", "geo"], 2, "--link geo is given twice"),
        (&["--seed", "1"], 5, "another --seed"),
        (&["--limit", "1"], 5, "another --limit"),
        (&["--temperature", "0"], 5, "another policy, or setting"),
        (&["--link", "rtt=1ms"], 5, "another link"),
        (&["--link", "4g-goood"], 2, "4g-good"),
        (&["--policy", "random:shares=1"], 2, "--shares"),
        (&["--policy", "random:share=strikt"], 2, "name a policy that is given before it"),
        (&["--policy", "random:share=small-only"], 2, "has no share of its own"),
    ];
    for (flags, code, what) in table {
        let output = bench.sweep(&[&TWO[..], flags].concat());
        assert_eq!(output.status.code(), Some(code), "{what}: {}", stderr(&output));
        assert!(stderr(&output).contains(what), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn a_node_that_is_not_there_is_one_line() {
    let mut bench = Bench::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    bench.urls[1] = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let output = bench.sweep(&TWO);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(stderr(&output).contains("large node: cannot reach"), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
}

#[test]
fn an_experiment_can_be_a_file_and_a_flag_takes_the_place_of_its_key() {
    let bench = Bench::new();
    let file = bench.folder.path().join("experiment.toml");
    fs::write(&file, "policy = [\"small-only\"]\nlimit = 2\nseed = [0, 1]\nskip-bad = true\n")
        .unwrap();
    let output = bench.sweep(&["--experiment", file.to_str().unwrap(), "--limit", "1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(asked(&bench.small), 2, "one question with each seed");
    for (text, why) in [
        ("policies = [\"small-only\"]", "\"policies\" is not a flag of sweep, policy is"),
        ("keep-warm = false", "\"keep-warm\" is not a flag of sweep"),
        ("seed = []", "seed is empty"),
    ] {
        fs::write(&file, text).unwrap();
        let output = bench.sweep(&["--experiment", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }
}

#[test]
fn journals_of_a_sweep_are_replayed_over_other_links() {
    let bench = Bench::new();
    assert!(bench.sweep(&TWO).status.success());
    // A truncated journal, and one of another version.
    let journals = bench.cell("strict").join("journals");
    let whole = fs::read_to_string(journals.join("a.jsonl")).unwrap();
    fs::write(journals.join("cut.jsonl"), &whole[..whole.len() / 2]).unwrap();
    let other = whole.replacen("\"specthink_journal\":1", "\"specthink_journal\":9", 1);
    fs::write(journals.join("other.jsonl"), other).unwrap();
    let rows = bench.folder.path().join("rows.jsonl");
    let replay = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_specthink-lab"));
        command.arg("replay").arg(bench.cell("strict")).args(flags).output().unwrap()
    };
    let flags = ["--recorded-over-link", "--link", "rtt=100ms", "--link", "rtt=700ms"];
    let output = replay(&[&flags[..], &["--rows", rows.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Vec<&str> = stderr(&output).lines().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("breaks off") && told[1].contains("of version 9"), "{told:?}");
    let text = fs::read_to_string(&rows).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 4, "two answers over two links");
    for (row, rtt_us) in rows.iter().zip([100_000, 100_000, 700_000, 700_000]) {
        let handoff_us = row["takeovers"][0]["handoff_us"].as_u64().unwrap();
        assert!(handoff_us >= rtt_us, "{rtt_us}: {handoff_us}");
    }
    assert!(String::from_utf8(output.stdout).unwrap().contains("| rtt=700ms | 2 | "));
    let output = replay(&[]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    let told = "it was recorded over rtt=40ms";
    assert!(stderr(&output).contains(told), "{}", stderr(&output));
    fs::remove_dir_all(&journals).unwrap();
    let output = replay(&[]);
    assert_eq!(output.status.code(), Some(5));
    assert!(stderr(&output).contains("no journal that can be replayed"), "{}", stderr(&output));
}

#[test]
fn a_plan_says_what_was_measured_and_what_is_replayed() {
    let bench = Bench::new();
    assert!(bench.sweep(&[&TWO[..], &["--link", "loopback"]].concat()).status.success());
    let plan = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_specthink-lab"));
        let output = command.arg("plan").arg(bench.out()).args(flags).output().unwrap();
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        (output, text)
    };
    let (output, measured) = plan(&["--link", "rtt=40ms"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(measured.contains("| measured |") && !measured.contains("| replayed |"), "{measured}");
    let (_, replayed) = plan(&["--link", "rtt=900ms", "--target", "latency<=500ms"]);
    assert!(replayed.contains("Use small-only: "), "a takeover takes longer: {replayed}");
    assert!(replayed.contains("| replayed | latency<=500ms |"), "{replayed}");
    assert!(replayed.contains("recorded over loopback"), "{replayed}");
    let journal = bench.out().join("strict").join("loopback").join("seed-0").join("journals");
    let journal = journal.join("a.jsonl");
    let whole = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, &whole[..whole.len() / 2]).unwrap();
    let (_, less) = plan(&["--link", "rtt=900ms"]);
    assert!(less.contains("1 answers of strict are left out: "), "{less}");
    assert!(less.contains("| strict | scripted + scripted | "), "{less}");
    let (output, none) = plan(&["--link", "geo", "--target", "accuracy>=90%"]);
    assert!(output.status.success() && none.contains("No policy meets all targets."), "{none}");
    let table: [(&[&str], i32, &str); 4] = [
        (&["--link", "goe"], 2, "geo"),
        (&["--link", "geo", "--target", "speed<=1"], 2, "latency<=8s"),
        (&["--link", "geo", "--pair", "llama"], 5, "these sweeps have no such pair"),
        (&["--link", "geo", "--prices", "none.toml"], 2, "none.toml"),
    ];
    for (flags, code, what) in table {
        let (output, _) = plan(flags);
        assert_eq!(output.status.code(), Some(code), "{what}: {}", stderr(&output));
        assert!(stderr(&output).contains(what), "{}", stderr(&output));
    }
}

#[test]
fn broken_lines_that_are_left_out_are_told_about() {
    let bench = Bench::new();
    fs::write(bench.folder.path().join("data.jsonl"), format!("{DATA}{{\"id\":\n")).unwrap();
    let output = bench.sweep(&["--policy", "small-only", "--skip-bad"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("skipped line 3: "), "{}", stderr(&output));
}
