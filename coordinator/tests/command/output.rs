//! What the command prints.

use std::process::Command;

use serde_json::Value;
use thinking::thinker;
use tokio::runtime::Runtime;

use crate::nodes::{
    command, large, right, served, small, specthink, stderr, stdout, to_its_end, wrong,
};

const PIPED: &str = "Add 数学.\n\n⟦large: reflection⟧Hmm, yes 🙂\n\n⟦/⟧So 4.\n";

#[test]
fn a_piped_answer_has_marks_and_a_trace_shows_it_again() {
    let runtime = Runtime::new().unwrap();
    let (small, large) = (served(&runtime, small()), served(&runtime, large()));
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("run.jsonl");
    let journal = journal.to_str().unwrap();
    let nodes = ["--small", &small.url, "--large", &large.url];
    let asked =
        specthink(&[&["ask"], &nodes[..], &["--journal", journal, "2 + 2?"]].concat(), None);
    assert_eq!(stdout(&asked), PIPED);
    let summary = stderr(&asked);
    assert!(asked.status.success(), "{summary}");
    for part in [
        "tokens     small 8 by scripted (and 2 discarded), large 5 by scripted; takeover share 38.5 %",
        "takeovers  1 (reflection 1)",
        "large decode",
        "network",
        "cached     small 0 tokens (prompt ",
        " sent, ",
    ] {
        assert!(summary.contains(part), "{part:?} is not in:\n{summary}");
    }
    let traced = specthink(&["trace", journal], None);
    assert_eq!((stdout(&traced), stderr(&traced)), (PIPED, summary), "the same again");
    assert!(traced.status.success());
    // The journal of an interrupted run shows what it has.
    let whole = std::fs::read_to_string(journal).unwrap();
    std::fs::write(journal, &whole[..whole.len() - 100]).unwrap();
    let traced = specthink(&["trace", journal], None);
    assert_eq!(stdout(&traced), PIPED);
    assert!(stderr(&traced).contains("the run was interrupted"), "{}", stderr(&traced));
    assert!(stderr(&traced).contains("is incomplete"), "{}", stderr(&traced));
}

#[test]
fn colour_is_there_when_it_is_wanted() {
    let runtime = Runtime::new().unwrap();
    let (small, large) = (served(&runtime, small()), served(&runtime, large()));
    let nodes = ["ask", "--small", &small.url, "--large", &large.url, "2 + 2?", "--color"];
    let always = specthink(&[&nodes[..], &["always"]].concat(), None);
    let text = stdout(&always);
    assert!(text.contains("\x1b[1;36mHmm, yes 🙂\n\n\x1b[0mSo 4."), "{text:?}");
    let never = specthink(&[&nodes[..], &["never"]].concat(), None);
    assert_eq!(stdout(&never), PIPED);
}

#[test]
fn a_correction_is_shown_with_what_stood_there() {
    let runtime = Runtime::new().unwrap();
    let (small, large) = (served(&runtime, wrong()), served(&runtime, right(true)));
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("run.jsonl");
    let journal = journal.to_str().unwrap();
    let ask = ["ask", "--policy", "review", "--small", &small.url, "--large", &large.url, "7 x 8?"];
    let asked = specthink(&[&ask[..], &["--journal", journal]].concat(), None);
    let marked = "7 x 8 is⟦large: review, not \" 54\"⟧ 56⟦/⟧ then\n";
    assert_eq!((stdout(&asked), asked.status.code()), (marked, Some(0)), "{asked:?}");
    let summary = stderr(&asked);
    assert!(summary.contains("\ntakeovers  none; 1 correction\n"), "{summary}");
    let traced = specthink(&["trace", journal], None);
    assert_eq!((stdout(&traced), stderr(&traced)), (marked, summary), "the same again");
    let coloured = specthink(&[&ask[..], &["--color", "always"]].concat(), None);
    assert_eq!(stdout(&coloured), "7 x 8 is\x1b[1;4;36m 56\x1b[0m then\n");
    let json = specthink(&[&ask[..], &["--json"]].concat(), None);
    let printed: Value = serde_json::from_str(stdout(&json)).unwrap();
    assert_eq!(printed["summary"]["corrections"], 1);
    let correction = &printed["spans"][1]["correction"];
    assert_eq!(correction["stood"], " 54");
    assert!(correction["gap"].as_f64() >= Some(1.0), "{printed}");
    assert_eq!(printed["spans"][0].get("correction"), None);
}

#[test]
fn a_large_node_that_cannot_review_is_named() {
    let runtime = Runtime::new().unwrap();
    let (small, large) = (served(&runtime, wrong()), served(&runtime, right(false)));
    let nodes = ["--small", &small.url, "--large", &large.url, "7 x 8?"];
    let asked = specthink(&[&["ask", "--policy", "review"], &nodes[..]].concat(), None);
    let error = stderr(&asked);
    assert_eq!(asked.status.code(), Some(15), "{error}");
    assert!(error.contains(&format!("large node {}: it cannot review ", large.url)), "{error}");
}

#[test]
fn a_log_in_a_pipe_has_no_colour() {
    let gone = format!("http://127.0.0.1:{}", free_port());
    let asked = specthink(&["-v", "ask", "--small", &gone, "--policy", "small-only", "x"], None);
    let log = stderr(&asked);
    assert!(log.contains("small node lost"), "{log}");
    assert!(!log.contains('\x1b'), "{log:?}");
}

#[test]
fn the_log_is_filtered_by_our_variable_or_else_the_usual_one() {
    let gone = format!("http://127.0.0.1:{}", free_port());
    let logged = |variables: &[(&str, &str)]| {
        let asked = Command::new(env!("CARGO_BIN_EXE_specthink"))
            .args(["ask", "--small", &gone, "--policy", "small-only", "x"])
            .env_remove("RUST_LOG")
            .env_remove("SPECTHINK_LOG")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        stderr(&asked).contains("small node lost")
    };
    for (variables, expected) in [
        (&[][..], false),
        (&[("SPECTHINK_LOG", "coordinator=info")], true),
        (&[("RUST_LOG", "coordinator=info")], true),
        (&[("RUST_LOG", "coordinator=info"), ("SPECTHINK_LOG", "off")], false),
    ] {
        assert_eq!(logged(variables), expected, "{variables:?}");
    }
}

#[test]
fn a_filter_of_the_log_that_is_none_is_refused() {
    for flags in [&["trace", "run.jsonl"][..], &["-v", "ask", "x"]] {
        let mut command = command();
        command.args(flags).env("SPECTHINK_LOG", "a=b=c");
        let refused = to_its_end(command, None);
        assert_eq!(refused.status.code(), Some(2));
        let line = stderr(&refused);
        assert!(line.starts_with("error: SPECTHINK_LOG 'a=b=c' is not a log filter"), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn large_only_leaves_the_small_node_alone() {
    let runtime = Runtime::new().unwrap();
    let (idle, large) = (small(), large());
    let (small, large) = (served(&runtime, idle.clone()), served(&runtime, large));
    let nodes = ["--small", &small.url, "--large", &large.url];
    let asked = specthink(&[&["ask", "--policy", "large-only"], &nodes[..], &["x"]].concat(), None);
    assert_eq!(stdout(&asked), "⟦large: turn⟧Hmm, yes 🙂\n\n⟦/⟧\n", "{}", stderr(&asked));
    let commands = idle.commands();
    assert!(matches!(commands[..], [(_, thinker::Command::Open(_))]), "{commands:?}");
}

#[test]
fn json_is_one_object_with_the_answer_the_spans_and_the_summary() {
    let runtime = Runtime::new().unwrap();
    let (small, large) = (served(&runtime, small()), served(&runtime, large()));
    let asked = specthink(
        &["ask", "--small", &small.url, "--large", &large.url, "--json", "-"],
        Some("2 + 2?\n".as_bytes()),
    );
    assert!(asked.status.success(), "{}", stderr(&asked));
    assert_eq!(stderr(&asked), "");
    let value: Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(value["answer"], "Add 数学.\n\nHmm, yes 🙂\n\nSo 4.");
    assert_eq!(value["spans"][1]["writer"], "large");
    assert_eq!(value["spans"][1]["why"], "reflection");
    assert_eq!(value["takeovers_by_reason"]["reflection"], 1);
    let summary = &value["summary"];
    assert_eq!(summary["end"], "end_of_text");
    assert_eq!(summary["large"]["tokens"], 5);
    assert!(summary["large"]["traffic"]["sent_bytes"].as_u64().unwrap() > 0);
    assert!(summary["time"]["total_us"].as_u64().unwrap() > 0);
    assert_eq!(summary.get("degraded"), None);
}

#[test]
fn a_degraded_answer_says_so_and_a_script_can_tell() {
    let runtime = Runtime::new().unwrap();
    let small = served(&runtime, small());
    let gone = format!("http://127.0.0.1:{}", free_port());
    let nodes = ["ask", "--small", &small.url, "--large", &gone, "2 + 2?"];
    let asked = specthink(&nodes, None);
    assert!(asked.status.success(), "the answer is complete: {}", stderr(&asked));
    let (text, summary) = (stdout(&asked), stderr(&asked));
    assert_eq!(text, "Add 数学.\n\nWait, no.\n");
    let line = summary.lines().find(|line| line.starts_with("degraded")).unwrap();
    assert!(line.contains(&gone), "{line}");
    let strict = specthink(&[&nodes[..], &["--fail-degraded"]].concat(), None);
    assert_eq!(strict.status.code(), Some(10));
}

/// Returns a port on which nothing listens.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::Stdio;
    let runtime = Runtime::new().unwrap();
    let (small, large) = (served(&runtime, small()), served(&runtime, large()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_specthink"))
        .args(["ask", "--small", &small.url, "--large", &large.url, "2 + 2?"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!stderr(&output).contains("error"), "{}", stderr(&output));
}
