//! What programs print is a contract: every `--help`, and the line and exit code of every kind of wrong use, as
//! snapshots. A change shows in the diff of `tests/integration/snapshots/`.
//!
//! To accept a change: `INSTA_UPDATE=always cargo test -p tests --test integration output`, and read the diff.

use std::fmt::Write as _;

use tests::Process;

use crate::{LARGE, SMALL, SPECTHINK, lab::LAB};

/// What a program and its subcommands say of themselves.
fn helps(program: &str) -> String {
    let first = help(program, &[]);
    let subcommands: Vec<&str> = first
        .split_once("Commands:\n")
        .and_then(|(_, rest)| rest.split_once("\n\n"))
        .map(|(commands, _)| commands.lines().filter_map(|line| line.split_whitespace().next()))
        .map(|names| names.filter(|name| *name != "help").collect())
        .unwrap_or_default();
    let mut text = first.clone();
    for name in subcommands {
        let _ = write!(text, "\n== {name}\n\n{}", help(program, &[name]));
    }
    text
}

fn help(program: &str, command: &[&str]) -> String {
    let args: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
    let ended = Process::spawn(program, &args, &[]).wait();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
    // The programs under test have names of their own.
    ended.stdout.join("\n").replace("-under-test", "") + "\n"
}

#[test]
fn the_help_of_specthink() {
    insta::assert_snapshot!(helps(SPECTHINK));
}

#[test]
fn the_help_of_specthink_lab() {
    insta::assert_snapshot!(helps(LAB));
}

#[test]
fn the_help_of_the_nodes() {
    insta::assert_snapshot!("the_help_of_small_node", helps(SMALL));
    insta::assert_snapshot!("the_help_of_large_node", helps(LARGE));
}

/// Wrong uses that need neither a node nor the network, one or more for every exit code that they can have.
#[cfg(unix)]
const WRONG: &[(&str, &[&str])] = &[
    ("specthink", &["ask", "x", "--policy", "strictly"]),
    ("specthink", &["ask", "--max-tokenz", "5", "x"]),
    ("specthink", &["ask", "What", "is", "2+2?"]),
    ("specthink", &["ask", ""]),
    ("specthink", &["ask", "--temperature", "nan", "x"]),
    ("specthink", &["ask", "--policy", "random", "--share", "2", "x"]),
    ("specthink", &["ask", "--policy", "small-only", "--overlap", "20", "x"]),
    ("specthink", &["ask", "--target", "latency<=soon", "x"]),
    ("specthink", &["ask", "--small", "gpu-host", "x"]),
    ("specthink", &["ask", "--small", "http://10.0.0.7:7101", "x"]),
    ("specthink", &["ask", "--large", "openai+http://127.0.0.1:1/v2", "x"]),
    ("specthink", &["ask", "--small", "@laptop", "x"]),
    ("specthink", &["ask", "--endpoints", "no-such.toml", "--small", "@laptop", "x"]),
    ("specthink", &["ask", "--policy-file", "no-such.yaml", "x"]),
    ("specthink", &["ask", "--small", "http://127.0.0.1:1", "x"]),
    ("specthink", &["ask", "--small", "http://127.0.0.1:1", "--token-file", "no-such.token", "x"]),
    ("specthink", &["eval", "no-such.jsonl"]),
    ("specthink", &["eval", "Cargo.toml"]),
    ("specthink", &["serve", "--config", "no-such.toml"]),
    ("specthink", &["trace", "no-such.jsonl"]),
    ("specthink", &["certs", "no-such-folder"]),
    ("specthink", &["probe", "http://127.0.0.1:1/health"]),
    ("specthink-lab", &["sweep", "no-such.jsonl"]),
    ("specthink-lab", &["calibrate", "rtt=soon"]),
    ("specthink-lab", &["replay", "no-such-folder"]),
    ("specthink-lab", &["report", "no-such-folder"]),
    ("specthink-lab", &["plan", "no-such-folder", "--link", "geo"]),
    ("specthink-lab", &["plan", "no-such-folder", "--link", "geoo"]),
    ("specthink-lab", &["machines", "--machines-file", "no-such.toml"]),
    ("small-node", &["--model", "no-such.gguf", "--listen", "127.0.0.1:0"]),
    ("small-node", &["--model", "Cargo.toml", "--listen", "127.0.0.1:0"]),
    ("small-node", &["--device", "tpu"]),
    ("small-node", &["--dtype", "f8"]),
    ("small-node", &["--listen", "here"]),
    ("small-node", &["--pace", "h20:32b-bf16"]),
    ("small-node", &["--pace", "rtx-4090:32b-bf16"]),
    ("small-node", &["--tls-cert", "a.pem"]),
    ("small-node", &["--heartbeat", "1h"]),
    ("large-node", &["--upstream", "127.0.0.1:8000"]),
    ("large-node", &["--upstream", "http://127.0.0.1:1", "--threads", "2"]),
];

/// Takes out the system's numbers of its errors, which differ between systems.
#[cfg(unix)]
fn without_error_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
    }
    kept
}

#[cfg(unix)]
#[test]
fn a_wrong_use_is_one_line_with_its_exit_code() {
    let mut text = String::new();
    for (name, args) in WRONG {
        let program = match *name {
            "specthink" => SPECTHINK,
            "specthink-lab" => LAB,
            "small-node" => SMALL,
            _ => LARGE,
        };
        let ended = Process::spawn(program, args, &[]).wait();
        let code = ended.code.expect("it ends by itself");
        assert_ne!(code, 0, "{name} {args:?} is no wrong use");
        let said = without_error_numbers(&ended.stderr);
        let _ = writeln!(text, "$ {name} {}\n{said}[exit {code}]\n", args.join(" "));
    }
    insta::assert_snapshot!(text);
}
