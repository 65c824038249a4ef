//! Sweeps that are stopped, or lose a node, in the middle.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::bench::{Bench, asked, stderr};

const QUESTIONS: usize = 12;

fn bench() -> Bench {
    let bench = Bench::new();
    let line = |n: usize| format!("{{\"id\":\"q{n}\",\"question\":\"2+2?\",\"answer\":\"4\"}}\n");
    let data: String = (0..QUESTIONS).map(line).collect();
    fs::write(bench.folder.path().join("data.jsonl"), data).unwrap();
    bench
}

/// Starts a sweep, and waits for its first row.
fn begun(bench: &Bench, flags: &[&str]) -> Child {
    let mut command = bench.command(flags);
    let sweep = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while bench.rows("strict").is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    sweep
}

fn interrupted(sweep: Child) -> Output {
    let kill = ["-INT", &sweep.id().to_string()];
    assert!(Command::new("kill").args(kill).status().unwrap().success());
    sweep.wait_with_output().unwrap()
}

fn graded(rows: &[Value]) -> BTreeSet<String> {
    let graded = rows.iter().filter(|row| row["row"] == "graded");
    graded.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn ctrl_c_keeps_what_there_is_and_the_same_command_goes_on() {
    let bench = bench();
    let flags = ["--policy", "strict", "--parallel", "1"];
    let output = interrupted(begun(&bench, &flags));
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("run the same command again to go on"), "{}", stderr(&output));
    let before = bench.rows("strict");
    assert!(before.len() < QUESTIONS, "it was stopped in the middle");
    let asked_before = asked(&bench.small);
    let output = bench.sweep(&flags);
    assert!(output.status.success(), "{}", stderr(&output));
    let rows = bench.rows("strict");
    assert_eq!((rows.len(), graded(&rows).len()), (QUESTIONS, QUESTIONS), "each once");
    assert_eq!(rows[..before.len()], before, "what was there is as it was");
    assert_eq!(asked(&bench.small) - asked_before, QUESTIONS - before.len());
}

#[test]
fn questions_that_lost_the_large_node_fail_and_are_asked_again_when_it_is_back() {
    let mut bench = bench();
    let flags = ["--policy", "strict", "--parallel", "2"];
    let sweep = begun(&bench, &flags);
    bench.stop_large();
    let output = sweep.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(15), "{}", stderr(&output));
    let rows = bench.rows("strict");
    let failed: Vec<&Value> = rows.iter().filter(|row| row["row"] == "failed").collect();
    assert!(!failed.is_empty(), "none is dropped in silence, none counts without its large node");
    assert!(
        failed.iter().all(|row| row["reason"].as_str().unwrap().contains("cannot reach")),
        "{failed:?}"
    );
    bench.start_large();
    let output = bench.sweep(&flags);
    assert!(output.status.success(), "{}", stderr(&output));
    let rows = bench.rows("strict");
    assert_eq!(graded(&rows).len(), QUESTIONS);
    assert!(rows.iter().all(|row| row["summary"]["degraded"].is_null()));
}
