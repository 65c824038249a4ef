//! `specthink-lab size`, run as a user runs it over hand-written journals: its output, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../lab/tests/by_hand/mod.rs"]
mod by_hand;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use by_hand::sweep::{Plan, Sweep};

const SPEEDS: &str = "\
prefill_tokens_per_s = 2000
[[decode]]
sessions = 1
tokens_per_s = 40
[[decode]]
sessions = 8
tokens_per_s = 160
";

/// A sweep's journals, and a file of speeds next to them.
struct Bench {
    sweep: Sweep,
    speeds: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let sweep = Sweep::new(&Plan::default());
        let speeds = sweep.path().join("speeds.toml");
        fs::write(&speeds, SPEEDS).unwrap();
        Bench { sweep, speeds }
    }

    fn size(&self, cell: &str, flags: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_specthink-lab"));
        command.env_remove("RUST_LOG").env_remove("SPECTHINK_LOG");
        command.arg("size").arg(self.sweep.path().join(cell));
        command.arg("--large-speeds").arg(&self.speeds).args(["--answers", "2000"]);
        command.args(flags).output().unwrap()
    }

    /// Returns its output for the answers over loopback.
    fn said(&self, flags: &[&str]) -> String {
        let output = self.size("strict/loopback", flags);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns the cells of the row that begins with this.
fn row<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
    let begin = format!("| {first} |");
    let line = text.lines().find(|line| line.starts_with(&begin));
    line.unwrap().trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn nodes_that_are_given_and_those_that_a_target_takes_are_rows_of_one_table() {
    let bench = Bench::new();
    let users = ["--users", "300", "--questions-per-hour", "60"];
    let given = bench.said(&[&users[..], &["--large-nodes", "4"]].concat());
    assert!(
        given
            .starts_with("300 users with 60 questions an hour each, 5.000 a second, over no link:"),
        "{given}"
    );
    let four = row(&given, "4");
    assert!(four[1].ends_with(" %") && four[12].is_empty(), "{given}");
    assert_eq!(row(&given, "idle")[1], "-");
    assert!(
        given.contains("\n4 large nodes, in use ") && given.contains(" for 1,000 answers."),
        "{given}"
    );
    assert!(given.contains("example, November 2026"), "{given}");
    let target = ["--large-nodes", "2", "--target", "latency<=650ms", "--target", "takeover<=1s"];
    let text = bench.said(&[&users[..], &target].concat());
    assert_eq!(row(&text, "2")[12], "latency<=650ms", "{text}");
    let kept =
        text.lines().find_map(|line| line.strip_prefix("For latency<=650ms, takeover<=1s: "));
    let least = kept.unwrap().split(' ').next().unwrap();
    assert!(least.parse::<u32>().unwrap() > 2 && row(&text, least)[12].is_empty(), "{text}");
    assert_eq!(bench.said(&[&users[..], &target].concat()), text, "the same seed");
}

#[test]
fn a_link_and_shared_small_nodes_count() {
    let bench = Bench::new();
    let flags = ["--users", "30", "--questions-per-hour", "60", "--large-nodes", "3"];
    let median =
        |text: &str| row(text, "idle")[3].strip_suffix(" ms").unwrap().parse::<u64>().unwrap();
    let near = bench.said(&flags);
    let far = bench.said(&[&flags[..], &["--link", "rtt=200ms"]].concat());
    assert!((195..210).contains(&(median(&far) - median(&near))), "{near}\n{far}");
    let small = ["--small-nodes", "5", "--small-speeds", bench.speeds.to_str().unwrap()];
    let shared = bench.said(&[&flags[..], &small].concat());
    assert!(shared.contains("- All users share 5 small nodes, "), "{shared}");
    assert!(median(&shared) > median(&near), "25 ms a token, and not 2");
}

#[test]
fn what_makes_no_sense_is_one_line() {
    let bench = Bench::new();
    let one_point = bench.sweep.path().join("one.toml");
    fs::write(&one_point, SPEEDS.split("[[decode]]\nsessions = 8").next().unwrap()).unwrap();
    let users = ["--users", "600", "--questions-per-hour", "60"];
    let four = ["--large-nodes", "4"];
    let table: [(&str, &[&str], i32, &str); 8] = [
        (
            "strict/loopback",
            &["--users", "0", "--questions-per-hour", "6", "--large-nodes", "4"],
            2,
            "0 users with 6",
        ),
        ("strict/loopback", &users, 2, "--large-nodes"),
        (
            "strict/loopback",
            &[&users[..], &["--large-nodes", "1"]].concat(),
            2,
            "2 large nodes or more would serve",
        ),
        (
            "strict/loopback",
            &[&users[..], &["--target", "latency<=10ms"]].concat(),
            2,
            "no number of large nodes",
        ),
        (
            "strict/loopback",
            &[&users[..], &["--target", "share<=1%"]].concat(),
            2,
            "takeover<=500ms",
        ),
        (
            "strict/loopback",
            &[&users[..], &four, &["--small-nodes", "2"]].concat(),
            2,
            "--small-speeds",
        ),
        (
            "strict/geo",
            &[&users[..], &four].concat(),
            5,
            "there is no journal that can be replayed",
        ),
        (
            "speeds.toml",
            &[&users[..], &four].concat(),
            5,
            "there is no journal that can be replayed",
        ),
    ];
    for (cell, flags, code, fault) in table {
        let output = bench.size(cell, flags);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {}", stderr(&output));
        let errors = stderr(&output);
        let errors: Vec<&str> =
            errors.lines().filter(|line| !line.starts_with("left out: ")).collect();
        assert!(
            matches!(errors.as_slice(), [line] if line.contains(fault)),
            "{flags:?}: {errors:?}"
        );
    }
    let bench = Bench { speeds: one_point, ..bench };
    let output = bench.size("strict/loopback", &[&users[..], &four].concat());
    let error = stderr(&output);
    assert!(
        error.contains("one.toml: it has 1 [[decode]]") && output.status.code() == Some(2),
        "{error}"
    );
}
