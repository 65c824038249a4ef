//! `specthink eval`: figures, a log that is continued, and what is refused.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
};

use serde_json::Value;
use tempfile::TempDir;
use thinking::{
    testing::{Fault, FaultKind, Options, Script, ScriptedThinker},
    thinker::{Code, Command, Failure, ModelCard, ThoughtStart},
};
use tokio::runtime::Runtime;

use crate::nodes::{large, right, served, small, specthink, stderr, stdout, wrong};

/// Three questions. The scripted pair answers 4 to all of them.
const DATA: &str = r#"{"id":"a","question":"2+2?","answer":"4"}
{"id":"b","question":"2+3?","answer":"5"}
{"id":"c","question":"8/2?","answer":"4"}
"#;

struct Bench {
    runtime: Runtime,
    folder: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { runtime: Runtime::new().unwrap(), folder: TempDir::new().unwrap() };
        fs::write(bench.path("data.jsonl"), DATA).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `eval` over a file of the folder against these Thinkers.
    fn eval(&self, small: &Arc<ScriptedThinker>, data: &str, flags: &[&str]) -> Output {
        let small = served(&self.runtime, small.clone());
        let large = served(&self.runtime, large());
        let data = self.path(data);
        let data = data.to_str().unwrap();
        let nodes = ["eval", data, "--small", &small.url, "--large", &large.url];
        specthink(&[&nodes[..], flags].concat(), None)
    }

    /// Runs `eval` with a review.
    fn review(&self, flags: &[&str]) -> Output {
        let small = served(&self.runtime, wrong());
        let large = served(&self.runtime, right(true));
        let data = self.path("data.jsonl");
        let data = data.to_str().unwrap();
        let nodes = ["eval", data, "--small", &small.url, "--large", &large.url];
        specthink(&[&nodes[..], &["--policy", "review"], flags].concat(), None)
    }

    fn log(&self) -> String {
        self.path("log").to_str().unwrap().to_owned()
    }

    fn rows(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn questions_asked(thinker: &ScriptedThinker) -> usize {
    thinker.commands().iter().filter(|(_, command)| matches!(command, Command::Open(_))).count()
}

fn cut_off_last(path: &Path, bytes: usize) {
    let text = fs::read(path).unwrap();
    fs::write(path, &text[..text.len() - bytes]).unwrap();
}

#[test]
fn corrections_are_counted_beside_takeovers() {
    let bench = Bench::new();
    let printed = bench.review(&[]);
    let text = stdout(&printed);
    let line = "takeovers  0.00 per answer, 1.00 corrections; takeover share ";
    assert!(text.contains(line), "{text}{}", stderr(&printed));
    let figures: Value = serde_json::from_str(stdout(&bench.review(&["--json"]))).unwrap();
    assert_eq!((&figures["corrections"], &figures["takeovers"]), (&1.0.into(), &0.0.into()));
}

#[test]
fn figures_are_printed_and_every_question_has_a_row() {
    let bench = Bench::new();
    let output = bench.eval(&small(), "data.jsonl", &["--log", &bench.log()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("accuracy   66.7 % (2 of 3; 95 % interval 20.8 to 93.9 %)"), "{text}");
    assert!(text.contains("takeovers  1.00 per answer; takeover share"), "{text}");
    let rows = bench.rows();
    assert_eq!(rows.len(), 4, "a header and three rows");
    assert_eq!(rows[0]["specthink_eval"], 1);
    assert_eq!(rows[1]["row"], "graded");
    assert_eq!(rows[1]["answer"], "4");
    assert_eq!(rows[1]["summary"]["large"]["tokens"], 5);
    let seeds: Vec<&Value> = rows[1..].iter().map(|row| &row["seed"]).collect();
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2], "each question has its own");
}

#[test]
fn a_node_of_another_model_ends_the_run_before_its_first_question() {
    let bench = Bench::new();
    let thinker = small();
    let (small, large) = (served(&bench.runtime, thinker.clone()), served(&bench.runtime, large()));
    let endpoints = format!(
        "[gpu]\naddress = \"{}\"\nmodel = \"another-32b\"\n\
         [gone]\naddress = \"127.0.0.1:9\"\nmodel = \"another-32b\"\n",
        large.url
    );
    fs::write(bench.path("nodes.toml"), endpoints).unwrap();
    let eval = |large: &str| {
        let (data, endpoints) = (bench.path("data.jsonl"), bench.path("nodes.toml"));
        let (data, endpoints) = (data.to_str().unwrap(), endpoints.to_str().unwrap());
        let nodes = ["--endpoints", endpoints, "--small", &small.url, "--large", large];
        specthink(&[&["eval", data], &nodes[..]].concat(), None)
    };
    let refused = eval("@gpu");
    assert_eq!(refused.status.code(), Some(15));
    let line = stderr(&refused);
    assert!(line.starts_with(&format!("error: large node: {} serves", large.url)), "{line}");
    assert!(line.contains("\"another-32b\"") && line.lines().count() == 1, "{line}");
    assert_eq!(questions_asked(&thinker), 0);
    let degraded = eval("@gone");
    assert_eq!(degraded.status.code(), Some(0), "nobody knows what it serves");
    assert_eq!(questions_asked(&thinker), 3);
}

#[test]
fn answers_that_end_within_the_thought_are_counted() {
    let bench = Bench::new();
    let writer = |card: ModelCard, tokens: [&'static str; 3]| {
        let script = Script::function(move |_, _| tokens.map(str::to_owned).to_vec());
        Arc::new(ScriptedThinker::with_options(script, Options { card, ..Options::default() }))
    };
    let card = |thought| ModelCard { thought, ..Options::default().card };
    let flags = ["--policy", "small-only", "--json"];
    for (thought, tokens, open, right) in [
        (ThoughtStart::Open, ["It is ", "4", "."], 3, 0),
        (ThoughtStart::Open, ["It is ", "4", ".</think>So 4"], 0, 2),
        (ThoughtStart::Unopened, ["<think>", "It is ", "4."], 3, 0),
        (ThoughtStart::Unopened, ["It is ", "4", "."], 0, 2),
        (ThoughtStart::Unknown, ["It is ", "4", "."], 0, 2),
    ] {
        let output = bench.eval(&writer(card(thought), tokens), "data.jsonl", &flags);
        assert!(output.status.success(), "{}", stderr(&output));
        let figures: Value = serde_json::from_str(stdout(&output)).unwrap();
        let counted = (figures["open_thoughts"].as_u64(), figures["right"].as_u64());
        assert_eq!(counted, (Some(open), Some(right)), "{thought:?} {tokens:?}");
    }
    let open = writer(card(ThoughtStart::Open), ["It is ", "4", "."]);
    let flags = ["--policy", "small-only", "--log", &bench.log()];
    let output = bench.eval(&open, "data.jsonl", &flags);
    let text = stdout(&output);
    assert!(text.contains("3 answers end within the thought and count as wrong"), "{text}");
    assert_eq!(bench.rows()[1]["open_thought"], true);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = Bench::new();
    let (small, large) = (served(&bench.runtime, small()), served(&bench.runtime, large()));
    for flag in ["--limit=3", "--json"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_specthink"))
            .arg("eval")
            .arg(bench.path("data.jsonl"))
            .args(["--small", &small.url, "--large", &large.url, flag])
            .stdout(writer)
            .output()
            .unwrap();
        assert!(output.status.success(), "{flag}: {}", stderr(&output));
    }
}

#[test]
fn a_log_is_its_owners_alone_and_a_file() {
    let bench = Bench::new();
    assert!(bench.eval(&small(), "data.jsonl", &["--log", &bench.log()]).status.success());
    let mode = fs::metadata(bench.path("log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let fifo = bench.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let output = bench.eval(&small(), "data.jsonl", &["--log", fifo.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(5));
    assert!(stderr(&output).contains("fifo is not the log of an eval: it is not a file"));
}

#[test]
fn a_log_that_two_runs_began_together_is_taken_up() {
    let bench = Bench::new();
    let flags = ["--log", &bench.log()];
    assert!(bench.eval(&small(), "data.jsonl", &flags).status.success());
    // Without a lock, both runs find the file empty and append to it.
    let text = fs::read_to_string(bench.path("log")).unwrap();
    let header = text.lines().next().unwrap();
    fs::write(bench.path("log"), format!("{header}\n{text}")).unwrap();
    let again = small();
    let output = bench.eval(&again, "data.jsonl", &flags);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(questions_asked(&again), 0);
}

#[test]
fn an_interrupted_run_goes_on_and_grades_nothing_twice() {
    let bench = Bench::new();
    let first = small();
    let flags = ["--log", &bench.log(), "--parallel", "1", "--json"];
    assert!(bench.eval(&first, "data.jsonl", &flags).status.success());
    let whole = bench.rows();
    // As if the power had failed in the middle of the last line.
    cut_off_last(&bench.path("log"), 10);
    let second = small();
    let output = bench.eval(&second, "data.jsonl", &flags);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(questions_asked(&second), 1, "only the one whose row broke off");
    assert!(stderr(&output).contains("2 of 3 questions are already graded"));
    let texts = |rows: &[Value]| -> Vec<Value> {
        rows[1..]
            .iter()
            .map(|row| [&row["id"], &row["seed"], &row["text"]].map(Value::clone).into())
            .collect()
    };
    assert_eq!(texts(&bench.rows()), texts(&whole));
    let figures: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!((figures["graded"].as_u64(), figures["right"].as_u64()), (Some(3), Some(2)));
    let third = small();
    bench.eval(&third, "data.jsonl", &flags);
    assert_eq!(questions_asked(&third), 0);
}

#[test]
fn the_log_of_other_settings_is_refused_and_left_alone() {
    let bench = Bench::new();
    let log = ["--log", &bench.log()];
    assert!(bench.eval(&small(), "data.jsonl", &log).status.success());
    let before = fs::read(bench.path("log")).unwrap();
    fs::write(
        bench.path("more.jsonl"),
        format!("{DATA}{}", DATA.replace("\"id\":\"", "\"id\":\"x")),
    )
    .unwrap();
    let table: [(&str, &[&str], &str); 6] = [
        ("data.jsonl", &["--seed", "1"], "another seed"),
        ("data.jsonl", &["--loops", "off"], "another --loops"),
        ("data.jsonl", &["--policy", "small-only"], "another policy"),
        ("data.jsonl", &["--temperature", "0"], "another sampling"),
        ("data.jsonl", &["--deadline", "1h"], "another --deadline"),
        ("more.jsonl", &[], "another data set"),
    ];
    for (data, flags, what) in table {
        let output = bench.eval(&small(), data, &[&log[..], flags].concat());
        assert_eq!(output.status.code(), Some(5), "{what}");
        assert!(stderr(&output).contains(what), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
    fs::write(bench.path("log"), "my shopping list").unwrap();
    assert_eq!(bench.eval(&small(), "data.jsonl", &log).status.code(), Some(5));
    assert_eq!(fs::read(bench.path("log")).unwrap(), b"my shopping list");
    fs::write(bench.path("log"), before).unwrap();
    assert!(bench.eval(&small(), "data.jsonl", &log).status.success());
}

#[test]
fn a_question_that_failed_is_asked_again() {
    let bench = Bench::new();
    let faulty = failing_once(Failure::new(Code::Internal, "no more memory"));
    let flags = ["--log", &bench.log(), "--parallel", "1"];
    let output = bench.eval(&faulty, "data.jsonl", &flags);
    assert_eq!(output.status.code(), Some(15), "{}", stderr(&output));
    assert!(stderr(&output).contains("1 of 3 questions failed"), "{}", stderr(&output));
    assert!(stderr(&output).contains("no more memory"), "{}", stderr(&output));
    let again = small();
    let output = bench.eval(&again, "data.jsonl", &flags);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(questions_asked(&again), 1);
    assert!(stdout(&output).contains("2 of 3"), "{}", stdout(&output));
}

/// Returns a small model that answers 4, except in its second session, which fails.
fn failing_once(failure: Failure) -> Arc<ScriptedThinker> {
    let kind = FaultKind::Fail(failure);
    let faults = vec![Fault { session: Some(1), command: 0, after_tokens: 0, kind }];
    let script = Script::function(|_, _| vec!["4".to_owned()]);
    Arc::new(ScriptedThinker::with_options(script, Options { faults, ..Options::default() }))
}

#[test]
fn a_question_that_does_not_fit_counts_as_wrong_and_is_not_asked_again() {
    let bench = Bench::new();
    let small = failing_once(Failure::new(Code::ContextTooLong, "600 tokens, 512 fit"));
    let flags = ["--log", &bench.log(), "--parallel", "1"];
    for _ in 0..2 {
        let output = bench.eval(&small, "data.jsonl", &flags);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stdout(&output).contains("2 of 3; "), "{}", stdout(&output));
        let trouble = "1 questions do not fit the model and count as wrong";
        assert!(stdout(&output).contains(trouble), "{}", stdout(&output));
        assert_eq!(questions_asked(&small), 3);
    }
}

#[test]
fn a_node_without_room_is_asked_again() {
    let bench = Bench::new();
    let mut failure = Failure::new(Code::Overloaded, "all places are taken");
    failure.retry_after_ms = Some(1);
    let small = failing_once(failure);
    let output = bench.eval(&small, "data.jsonl", &["--parallel", "1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("2 of 3; "), "{}", stdout(&output));
    assert_eq!(questions_asked(&small), 4);
}

#[test]
fn an_answer_that_cannot_be_graded_does_not_stop_the_run() {
    let bench = Bench::new();
    // In place of Python: fails on the answer 5, and finds all others wrong.
    let python = bench.path("python");
    let script = r#"#!/bin/sh
echo '{"ready": true}'
while read -r line; do case "$line" in
    *gold\":\"5*) echo '{"error": "ValueError: no"}';;
    *) echo '{"equivalent": false}';;
esac; done
"#;
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let python = python.to_str().unwrap();
    let flags = ["--grader", "math-verify", "--python", python, "--log", &bench.log()];
    let output = bench.eval(&small(), "data.jsonl", &flags);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("2 of 3; "), "{}", stdout(&output));
    let trouble = "1 answers could not be graded and count as wrong";
    assert!(stdout(&output).contains(trouble), "{}", stdout(&output));
    let row = bench.rows().into_iter().find(|row| row["id"] == "b").unwrap();
    assert!(row["grader_error"].as_str().unwrap().contains("ValueError"), "{row}");
}

#[test]
fn what_is_asked_goes_on_while_an_answer_is_graded() {
    let bench = Bench::new();
    // In place of Python: grades nothing until everything has been asked.
    let (python, asked_all) = (bench.path("python"), bench.path("asked-all"));
    let script = r#"#!/bin/sh
echo '{"ready": true}'
while read -r line; do
    while [ ! -e ASKED ]; do sleep 0.01; done
    echo '{"equivalent": false}'
done
"#;
    fs::write(&python, script.replace("ASKED", asked_all.to_str().unwrap())).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let flags = ["--grader", "math-verify", "--python", python.to_str().unwrap()];
    let (small, log) = (small(), bench.log());
    let flags = [&flags[..], &["--parallel", "1", "--log", &log]].concat();
    let output = std::thread::scope(|scope| {
        let (bench, asked) = (&bench, &small);
        let eval = scope.spawn(|| bench.eval(asked, "data.jsonl", &flags));
        while questions_asked(&small) < 3 && !eval.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        fs::write(&asked_all, "").unwrap();
        eval.join().unwrap()
    });
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(bench.rows().iter().all(|row| row["grader_error"].is_null()), "nothing was late");
}

#[test]
fn broken_data_is_said_with_its_line() {
    let bench = Bench::new();
    fs::write(
        bench.path("broken.jsonl"),
        format!("{DATA}{{\"id\":\"d\"\n{{\"question\":\"5?\"}}\n"),
    )
    .unwrap();
    let output = bench.eval(&small(), "broken.jsonl", &[]);
    assert_eq!(output.status.code(), Some(19));
    assert!(stderr(&output).contains("broken.jsonl, line 4: "), "{}", stderr(&output));
    let output = bench.eval(&small(), "broken.jsonl", &["--skip-bad"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("skipped    2 broken lines"), "{}", stdout(&output));
    assert!(stderr(&output).contains("skipped line 5: "), "{}", stderr(&output));
    let output = bench.eval(&small(), "broken.jsonl", &["--skip-bad", "--json"]);
    let figures: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(figures["skipped"], 2);
    let output = bench.eval(&small(), "absent.jsonl", &[]);
    assert_eq!(output.status.code(), Some(19));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
}

#[test]
fn a_python_that_is_not_there_is_said_before_anything_is_asked() {
    let bench = Bench::new();
    let asked = small();
    let flags = ["--grader", "math-verify", "--python", "no-such-python"];
    let output = bench.eval(&asked, "data.jsonl", &flags);
    assert_eq!(output.status.code(), Some(20), "{}", stderr(&output));
    assert!(stderr(&output).contains("no-such-python"), "{}", stderr(&output));
    assert_eq!(questions_asked(&asked), 0);
}
