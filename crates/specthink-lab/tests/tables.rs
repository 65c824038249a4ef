//! What the commands of the lab print of results by hand, as snapshots: tables are read by people and by scripts.
//!
//! To accept a change: `INSTA_UPDATE=always cargo test -p specthink-lab --test tables`, and read the diff.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../lab/tests/by_hand/mod.rs"]
mod by_hand;

use std::{fs, path::Path, process::Command};

use by_hand::sweep::{Plan, Sweep};

const SPEEDS: [&str; 4] =
    ["--small-speeds", "laptop-cpu:1.5b-q4", "--large-speeds", "h200:32b-bf16"];

/// What a command prints.
fn printed(command: &str, paths: &[&Path], flags: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_specthink-lab"));
    program.env_remove("RUST_LOG").env_remove("SPECTHINK_LOG");
    let output = program.arg(command).args(paths).args(flags).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{command} {flags:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn sweep() -> Sweep {
    let links = &[("loopback", "rtt=0s"), ("geo", "rtt=680ms,loss=1%")];
    let policies = &["strict", "random", "small-only", "large-only"];
    Sweep::new(&Plan { policies, links, ..Plan::default() })
}

#[test]
fn replay_prints_a_row_for_each_link() {
    let sweep = sweep();
    let cell = sweep.path().join("strict/loopback");
    let links = ["--link", "loopback", "--link", "rtt=100ms"];
    insta::assert_snapshot!("replay", printed("replay", &[&cell], &links));
    let flags = [&links[..], &SPEEDS].concat();
    insta::assert_snapshot!("replay_on_machines", printed("replay", &[&cell], &flags));
}

#[test]
fn a_plan_names_a_policy_and_its_reasons() {
    let sweep = sweep();
    let folder = sweep.path();
    insta::assert_snapshot!("plan", printed("plan", &[&folder], &["--link", "rtt=100ms"]));
    let flags = [&["--link", "rtt=100ms"][..], &SPEEDS].concat();
    insta::assert_snapshot!("plan_on_machines", printed("plan", &[&folder], &flags));
}

#[test]
fn a_size_names_a_number_of_nodes() {
    let sweep = sweep();
    let cell = sweep.path().join("strict/loopback");
    let flags = [
        &["--users", "300", "--questions-per-hour", "60", "--answers", "2000"][..],
        &["--target", "latency<=4s", "--large-speeds", "h200:32b-bf16"],
    ];
    insta::assert_snapshot!("size", printed("size", &[&cell], &flags.concat()));
}

#[test]
fn a_size_warns_if_nearly_as_much_is_asked_as_can_be_answered() {
    let sweep = sweep();
    let cell = sweep.path().join("strict/loopback");
    let flags = ["--questions-per-hour", "60", "--answers", "500", "--large-nodes", "1"];
    let flags = [&flags[..], &["--large-speeds", "h200:32b-bf16", "--users"]].concat();
    let warned = |users| {
        let text = printed("size", &[&cell], &[&flags[..], &[users]].concat());
        text.contains("% of the questions that 1 large node can answer arrive")
    };
    // A node answers 70 questions a second at most, 4,200 users' questions.
    assert!(warned("4050"));
    assert!(!warned("3900"), "a node that is always in use may have room");
}

#[test]
fn machines_are_listed_with_their_speeds() {
    insta::assert_snapshot!("machines", printed("machines", &[], &[]));
}

#[test]
fn a_report_begins_with_its_findings() {
    let sweep = sweep();
    printed("report", &[&sweep.path()], &[]);
    let page = fs::read_to_string(sweep.path().join("report/report.html")).unwrap();
    let (_, rest) = page.split_once("<p class=\"findings\">").unwrap();
    insta::assert_snapshot!("findings", rest.split_once("</p>").unwrap().0);
}
