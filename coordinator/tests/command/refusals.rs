//! Bad input: each kind is refused with one line and an exit code of its own.

use std::sync::Arc;

use thinking::{
    testing::{Fault, FaultKind, Options, Script, ScriptedThinker},
    thinker::{Code, Failure},
};
use tokio::runtime::Runtime;

use crate::nodes::{command, large, served, served_by, specthink, stderr, stdout, to_its_end};

/// Runs the command and expects this exit code and one line of error with these words.
pub(crate) fn refused(arguments: &[&str], input: Option<&[u8]>, exit: i32, words: &[&str]) {
    let output = specthink(arguments, input);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {error}");
    let errors: Vec<&str> = error.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{arguments:?}: {error}");
    // Only a run that has begun also prints a summary.
    let begun = error.starts_with("--\n");
    assert!(begun || error.lines().count() == 1, "{arguments:?}: {error}");
    for word in words {
        assert!(errors[0].contains(word), "{word:?} is not in {:?}", errors[0]);
    }
}

#[test]
fn arguments_that_make_no_sense() {
    let usage = |arguments: &[&str], words: &[&str]| refused(arguments, None, 2, words);
    usage(&["ask", "--temperature", "nan", "x"], &["--temperature", "0 or more"]);
    usage(&["ask", "--top-p", "1.5", "x"], &["--top-p is 1.5", "from 0 to 1"]);
    usage(&["ask", "--share", "0.5", "x"], &["--share", "random, random-token and periodic"]);
    usage(&["ask", "--policy", "random", "--share", "2", "x"], &["share 2"]);
    for policy in ["small-only", "large-only"] {
        let arguments = ["ask", "--policy", policy, "--takeover-deadline", "300ms", "x"];
        usage(&arguments, &[policy, "--takeover-deadline", "leave"]);
        usage(&["ask", "--policy", policy, "--overlap", "20", "x"], &[policy, "--overlap"]);
    }
    usage(&["ask", "--small", "gpu-host", "x"], &["gpu-host", "HOST:PORT"]);
    usage(&["ask", "--small", "http://10.0.0.7:7101", "x"], &["plain text", "--insecure"]);
    usage(&["ask", "--max-tokens", "0", "x"], &["--max-tokens"]);
    usage(&["ask", "--temperature", "-1", "x"], &["--temperature is -1", "0 or more"]);
    usage(&["ask", "--seed", "-1", "x"], &["'-1' for '--seed", "a whole number from 0"]);
    usage(&["ask", "--max-tokens", "-5", "x"], &["-5 is not in 1.."]);
    usage(
        &["ask", "What", "is", "2+2?"],
        &["'is'", "put several words, such as a question, in quotes"],
    );
    usage(&["ask", "--deadline", "soon", "x"], &["--deadline", "90s"]);
    usage(&["ask", "--overlap", "0", "x"], &["--overlap", "1.."]);
    usage(&["ask", "--max-tokenz", "5", "x"], &["--max-tokenz", "'--max-tokens'"]);
    usage(&["ask", "--policy", "strictly", "x"], &["strictly", "small-only", "see --help"]);
}

#[test]
fn questions_that_are_none() {
    refused(&["ask", ""], None, 3, &["empty"]);
    refused(&["ask", "-"], Some(b" \n\t"), 3, &["on standard input", "empty"]);
    refused(&["ask", "-"], Some(b"2 + \xff?"), 17, &["on standard input", "not UTF-8", "byte 4"]);
    let long = [b'x'; 2000];
    let limit = ["ask", "--max-message-bytes", "1024", "-"];
    refused(&limit, Some(&long), 12, &["1024 bytes", "--max-message-bytes"]);
}

#[cfg(unix)]
#[test]
fn a_node_that_cannot_be_reached_is_told_with_the_proxy_that_is_not_used() {
    let error = |variables: &[(&str, &str)], address: &str| {
        let mut command = command();
        for name in
            ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        {
            command.env_remove(name);
        }
        command.args(["ask", "--policy", "small-only", "--insecure", "--small", address, "x"]);
        command.envs(variables.iter().copied());
        let output = to_its_end(command, None);
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        stderr(&output).to_owned()
    };
    // Nothing listens there. The address belongs to this machine, but is not loopback.
    let proxy = [("HTTPS_PROXY", "http://127.0.0.1:1")];
    let told = "HTTPS_PROXY is set, but nodes are reached without a proxy";
    assert!(error(&proxy, "http://0.0.0.0:1").contains(told));
    assert!(!error(&[("HTTPS_PROXY", "")], "http://0.0.0.0:1").contains("PROXY"));
    assert!(!error(&proxy, "http://127.0.0.1:1").contains("PROXY"));
}

#[cfg(unix)]
#[test]
fn a_token_in_the_variable_that_is_no_text_is_refused() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let mut command = command();
    command.args(["ask", "--small", "http://127.0.0.1:1", "--large", "http://127.0.0.1:1", "x"]);
    command.env("SPECTHINK_TOKEN", OsStr::from_bytes(b"s3cr\xffet"));
    let output = to_its_end(command, None);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(stderr(&output).starts_with("error: the variable SPECTHINK_TOKEN: "), "{output:?}");
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_no_text() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let output = specthink(&[OsStr::new("ask"), OsStr::from_bytes(b"2 + \xff?")], None);
    assert_eq!(output.status.code(), Some(17));
    let line =
        "error: the question in the arguments is not UTF-8 (byte 4): convert it to UTF-8 first\n";
    assert_eq!(stderr(&output), line);
}

#[test]
fn files_that_do_not_work() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let bad_key = file("policy.yml", "begin: true\nmax_target_tokenz: 20\n");
    let missing = folder.path().join("missing").to_str().unwrap().to_owned();
    let small = ["ask", "--small", "http://127.0.0.1:9"];
    let paper = ["ask", "--policy", "paper", "x", "--policy-file"];
    let key = ["policy.yml", "max_target_tokenz", "line 2", "max_target_tokens"];
    refused(&[&paper[..], &[&bad_key]].concat(), None, 4, &key);
    refused(&[&paper[..], &[&missing]].concat(), None, 4, &["cannot read", "missing"]);
    let journal = [&small[..], &["--journal", folder.path().to_str().unwrap(), "x"]].concat();
    refused(&journal, None, 5, &["journal"]);
    refused(&["trace", &missing], None, 5, &["cannot read the journal"]);
    refused(&["trace", &bad_key], None, 5, &["is not a journal"]);
    let token = [&small[..], &["--token-file", &missing, "x"]].concat();
    refused(&token, None, 6, &["token file"]);
    let https = ["ask", "--small", "https://127.0.0.1:9", "x", "--tls-ca", &bad_key];
    refused(&https, None, 6, &["holds no certificate"]);
}

#[test]
fn nodes_that_are_not_there_or_refuse() {
    let nobody = ["ask", "--small", "http://127.0.0.1:9", "--policy", "small-only", "x"];
    refused(&nobody, None, 7, &["http://127.0.0.1:9", "small-node --model"]);
    let runtime = Runtime::new().unwrap();
    for (code, exit) in [
        (Code::Unauthenticated, 8),
        (Code::UnsupportedVersion, 9),
        (Code::ContextTooLong, 11),
        (Code::MessageTooLarge, 12),
        (Code::Overloaded, 13),
        (Code::Internal, 15),
        (Code::Template, 18),
    ] {
        let kind = FaultKind::Fail(Failure::new(code, "because of this"));
        let faults = vec![Fault { session: None, command: 0, after_tokens: 0, kind }];
        let options = Options { faults, ..Options::default() };
        let thinker = ScriptedThinker::with_options(Script::text("x"), options);
        let node = served(&runtime, Arc::new(thinker));
        let ask = ["ask", "--small", &node.url, "--policy", "small-only", "x"];
        refused(&ask, None, exit, &["because of this"]);
    }
}

#[test]
fn a_node_that_is_there_says_itself_what_is_wrong() {
    let runtime = Runtime::new().unwrap();
    let kind = FaultKind::Fail(Failure::new(Code::Unavailable, "the node is shutting down"));
    let faults = vec![Fault { session: None, command: 0, after_tokens: 0, kind }];
    let options = Options { faults, ..Options::default() };
    let thinker = ScriptedThinker::with_options(Script::text("x"), options);
    let node = served(&runtime, Arc::new(thinker));
    let ask = ["ask", "--small", &node.url, "--policy", "small-only", "x"];
    let output = specthink(&ask, None);
    assert_eq!(output.status.code(), Some(7));
    let error = stderr(&output);
    assert!(error.contains("the node is shutting down"), "{error}");
    assert!(!error.contains("start it with"), "it is there: {error}");
}

#[test]
fn a_node_lost_in_mid_answer_keeps_the_text_in_the_journal() {
    let runtime = Runtime::new().unwrap();
    let kind = FaultKind::Fail(Failure::new(Code::Unavailable, "it was unplugged"));
    let faults = vec![Fault { session: None, command: 1, after_tokens: 2, kind }];
    let options = Options { faults, ..Options::default() };
    let thinker = ScriptedThinker::with_options(Script::text("one two three"), options);
    let node = served(&runtime, Arc::new(thinker));
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("run.jsonl");
    let journal = journal.to_str().unwrap();
    let ask = ["ask", "--small", &node.url, "--policy", "small-only", "--journal", journal, "x"];
    refused(&ask, None, 16, &["it was unplugged", "the text so far is in the journal"]);
    let traced = specthink(&["trace", journal], None);
    assert_eq!(stdout(&traced), "one two\n");
    assert!(stderr(&traced).contains("failed "), "{}", stderr(&traced));
}

#[test]
fn the_help_teaches() {
    let help = specthink(&["ask", "--help"], None);
    assert!(help.status.success());
    for word in ["Examples:", "Exit codes:", "--large-timeout", "⟦large: reflection⟧", "strict"]
    {
        assert!(stdout(&help).contains(word), "{word}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_ctrl_c_ends_a_command_that_is_stuck_in_writing() {
    use std::{io::Write, process::Stdio, time::Duration};
    let runtime = Runtime::new().unwrap();
    // Long enough for a line of the journal. Once that line is written, the pipe is written next.
    let thinker = ScriptedThinker::new(Script::lists([vec!["x".repeat(500)]]));
    let node = served(&runtime, Arc::new(thinker));
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("run.jsonl");
    let (_unread, mut full) = std::io::pipe().unwrap();
    // The capacity of a pipe on Linux.
    full.write_all(&[b'-'; 65536]).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_specthink"))
        .args(["ask", "--small", &node.url, "--policy", "small-only", "--loops", "off"])
        .args(["--journal", journal.to_str().unwrap(), "x"])
        .stdout(full)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut status = None;
    for _ in 0..1000 {
        std::thread::sleep(Duration::from_millis(10));
        let lines = std::fs::read_to_string(&journal).unwrap_or_default();
        if lines.contains("\"event\":\"text\"") {
            let kill = ["-INT", &child.id().to_string()];
            assert!(std::process::Command::new("kill").args(kill).status().unwrap().success());
        }
        status = child.try_wait().unwrap();
        if status.is_some() {
            break;
        }
    }
    // Leave no process behind before the test can fail.
    let _ = child.kill();
    assert_eq!(status.expect("it is still stuck").code(), Some(130));
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_compute_and_keeps_the_journal() {
    use std::{io::Read, process::Stdio, time::Duration};
    let runtime = Runtime::new().unwrap();
    let token_delay = Duration::from_millis(5);
    let options = Options { token_delay, ..Options::default() };
    let thinker = Arc::new(ScriptedThinker::with_options(Script::babble(), options));
    let node = served(&runtime, thinker.clone());
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("run.jsonl");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_specthink"))
        .args(["ask", "--small", &node.url, "--policy", "small-only", "--max-tokens", "1000000"])
        .args(["--journal", journal.to_str().unwrap(), "x"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The answer has begun.
    let mut begun = [0; 8];
    child.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    let kill = ["-INT", &child.id().to_string()];
    assert!(std::process::Command::new("kill").args(kill).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("cancelled"), "{}", stderr(&output));
    let traced = specthink(&["trace", journal.to_str().unwrap()], None);
    let shown = [&begun[..], &output.stdout].concat();
    assert_eq!(traced.stdout, shown, "what was shown is in the journal");
    // The node notices by itself; how soon depends on the transport.
    for _ in 0..1000 {
        if thinker.open_sessions() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the node still computes for a caller that has gone away");
}

#[test]
fn nodes_that_are_named_together_must_serve_one_model() {
    let runtime = Runtime::new().unwrap();
    let serving =
        |name: &str| served_by(&runtime, large(), |config| config.card.name = name.to_owned());
    let (small, one, other) = (serving("small"), serving("one"), serving("other"));
    let arguments =
        ["ask", "--small", &small.url, "--large", &one.url, "--large", &other.url, "2 + 2?"];
    let words = ["large node: ", &other.url, "serves the model \"other\"", "leave one of them out"];
    refused(&arguments, None, 2, &words);
}
