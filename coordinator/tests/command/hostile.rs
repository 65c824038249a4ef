//! Names, texts and errors of a node that try to steer a terminal or to forge a line.

use std::sync::Arc;

use serde_json::Value;
use thinking::{
    testing::{Fault, FaultKind, Options, Script, ScriptedThinker},
    thinker::{Code, Failure},
};
use tokio::runtime::Runtime;

use crate::nodes::{large, served, small, specthink, stderr, stdout};

/// Sets a terminal's title, clears the screen, reverses the reading direction, and begins a forged line.
const HOSTILE: &str = "x\x1b]0;title\x07\x1b[2J\u{9b}2J\u{202e}\nerror: forged";

/// Returns a node that uses it everywhere, with these faults.
fn hostile(faults: Vec<Fault>) -> Arc<ScriptedThinker> {
    let mut options = Options { faults, ..Options::default() };
    options.card.name = HOSTILE.to_owned();
    options.card.device = HOSTILE.to_owned();
    Arc::new(ScriptedThinker::with_options(Script::text(HOSTILE), options))
}

fn failing(after_tokens: u32) -> Vec<Fault> {
    let kind = FaultKind::Fail(Failure::new(Code::Internal, HOSTILE));
    vec![Fault { session: None, command: 1, after_tokens, kind }]
}

/// Returns whether this text is safe to show on a terminal.
fn is_harmless(text: &str) -> bool {
    let steers = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    !text.contains(steers) && !text.contains("\nerror: forged")
}

#[test]
fn an_answer_is_whole_in_a_pipe_and_harmless_where_it_is_coloured() {
    let runtime = Runtime::new().unwrap();
    let node = served(&runtime, hostile(Vec::new()));
    let ask = ["ask", "--policy", "small-only", "--small", &node.url, "x"];
    let with = |more: &[&str]| specthink(&[&ask[..], more].concat(), None);
    let piped = with(&[]);
    assert_eq!(stdout(&piped), format!("{HOSTILE}\n"));
    assert!(is_harmless(stderr(&piped)), "{:?}", stderr(&piped));
    assert!(stderr(&piped).contains("by x\u{fffd}]0;title"), "{}", stderr(&piped));
    let coloured = with(&["--color", "always"]);
    assert!(!stdout(&coloured).contains(['\x1b', '\x07', '\u{9b}', '\u{202e}']), "{coloured:?}");
    let json = with(&["--json", "--color", "always"]);
    assert!(is_harmless(stdout(&json)), "{:?}", stdout(&json));
    let json: Value = serde_json::from_str(stdout(&json)).unwrap();
    assert_eq!(json["answer"], HOSTILE, "the same text in JSON's escapes");
}

#[test]
fn reasons_and_names_are_one_harmless_line() {
    let runtime = Runtime::new().unwrap();
    let (sound, lost) = (served(&runtime, small()), served(&runtime, hostile(failing(0))));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let journal = path("journal");
    let nodes = ["--small", &sound.url, "--large", &lost.url, "--journal", &journal];
    let degraded = specthink(&[&["ask", "x"], &nodes[..]].concat(), None);
    assert!(degraded.status.success(), "{degraded:?}");
    assert!(stderr(&degraded).contains("\ndegraded   large node"), "{}", stderr(&degraded));
    let traced = specthink(&["trace", &journal], None);
    for shown in [stderr(&degraded), stderr(&traced)] {
        assert!(is_harmless(shown), "{shown:?}");
    }

    let failed = specthink(&["ask", "--policy", "small-only", "--small", &lost.url, "x"], None);
    assert!(stderr(&failed).contains("error: small node"), "{}", stderr(&failed));
    assert!(is_harmless(stderr(&failed)), "{:?}", stderr(&failed));

    std::fs::write(
        path("data"),
        "{\"id\":\"a\\u001b[2J\",\"question\":\"2+2?\",\"answer\":\"4\"}\n",
    )
    .unwrap();
    let large = served(&runtime, large());
    let nodes = ["--small", &lost.url, "--large", &large.url];
    let run = specthink(&[&["eval", &path("data")], &nodes[..]].concat(), None);
    assert!(stderr(&run).contains("failed: "), "{}", stderr(&run));
    assert!(is_harmless(stderr(&run)), "{:?}", stderr(&run));
}
