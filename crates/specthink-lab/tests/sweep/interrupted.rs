//! Sweeps that are stopped, or lose a node, halfway.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::bench::{Bench, DATA, asked, stderr};

const QUESTIONS: usize = 12;

fn bench() -> Bench {
    let bench = Bench::new();
    let line = |n: usize| format!("{{\"id\":\"q{n}\",\"question\":\"2+2?\",\"answer\":\"4\"}}\n");
    let data: String = (0..QUESTIONS).map(line).collect();
    fs::write(bench.folder.path().join("data.jsonl"), data).unwrap();
    bench
}

/// Starts a sweep and waits for its first row.
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
    assert!(stderr(&output).contains("the same command again to resume"), "{}", stderr(&output));
    let before = bench.rows("strict");
    assert!(before.len() < QUESTIONS, "it was stopped in the middle");
    let asked_before = asked(&bench.small);
    let output = bench.sweep(&flags);
    assert!(output.status.success(), "{}", stderr(&output));
    let rows = bench.rows("strict");
    assert_eq!((rows.len(), graded(&rows).len()), (QUESTIONS, QUESTIONS), "each once");
    assert_eq!(rows[..before.len()], before, "earlier rows are unchanged");
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
    assert!(!failed.is_empty(), "none is dropped silently, or counted without its large node");
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

#[test]
fn ctrl_c_loses_no_answer_that_waits_for_its_grade() {
    let bench = bench();
    let file = |name: &str| bench.folder.path().join(name);
    // A stand-in for Python: signals that it has begun, and waits to be released.
    let script = "#!/bin/sh\necho '{\"ready\": true}'\nwhile read -r line; do\n    echo > BEGUN\n    \
                  while [ ! -e GO ]; do sleep 0.01; done\n    echo '{\"equivalent\": false}'\ndone\n";
    let [begun, go] = ["begun", "go"].map(file);
    let script = script.replace("BEGUN", begun.to_str().unwrap());
    fs::write(file("python"), script.replace("GO", go.to_str().unwrap())).unwrap();
    fs::set_permissions(file("python"), fs::Permissions::from_mode(0o755)).unwrap();
    let data = "{\"id\":\"q\",\"question\":\"2+2?\",\"answer\":\"nothing like it\"}\n";
    fs::write(file("data.jsonl"), format!("{data}{DATA}")).unwrap();
    let python = file("python").to_str().unwrap().to_owned();
    let flags = ["--policy", "small-only", "--parallel", "1", "--grader", "math-verify"];
    let mut command = bench.command(&[&flags[..], &["--python", &python]].concat());
    let sweep = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !begun.exists() {
        thread::sleep(Duration::from_millis(5));
    }
    let kill = ["-INT", &sweep.id().to_string()];
    assert!(Command::new("kill").args(kill).status().unwrap().success());
    thread::sleep(Duration::from_millis(200));
    fs::write(&go, "").unwrap();
    let output = sweep.wait_with_output().unwrap();
    let rows = bench.rows("small-only");
    assert!(graded(&rows).contains("q"), "{}", stderr(&output));
    assert!(rows.len() + 1 >= asked(&bench.small), "at most one is lost: {rows:?}");
}
