//! Pages whose commands are run as they stand, in order, in a folder with nothing but the built-in pair's data sets,
//! where nothing can be downloaded and every port is free. A mark behind a block's language says what becomes of it:
//!
//! - `sh run`: its commands are run.
//! - `sh run open`: it starts a program that does not end by itself, as in a terminal of its own. Once the program
//!   listens, the next block is run. The same program started again replaces the first one.
//! - any language and `file=NAME`: what the reader is asked to put into a file.
//! - no mark: it is not run.

use std::{fmt::Write as _, process::Command};

use super::page::{self, Block};
use crate::{LARGE, SMALL, SPECTHINK, lab::LAB as SPECTHINK_LAB, tidy};

/// The data sets that pages use.
const DATA: &str = "models/arithmetic";
/// What a shell needs before the first block.
const BEGINNING: &str = include_str!("run.sh");
/// Programs other than ours that pages use.
const TOOLS: [&str; 6] = ["bash", "curl", "ip", "pkill", "seq", "unshare"];
/// Networks and processes of its own: ports are free, and no program of the user's is met or killed.
const SPACES: [&str; 6] =
    ["--net", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
/// If it is set, a machine that cannot run the pages fails the tests.
const REQUIRED: &str = "SPECTHINK_RUN_DOCUMENTED";

const README: &[&str] = &["README.md"];
const LAPTOP_AND_CLOUD: &[&str] = &["docs/tutorials/laptop-and-cloud.md"];
const CLUSTER: &[&str] = &["docs/tutorials/cluster.md"];
/// The guides use the tutorial's sweep.
const LAB: &[&str] = &[
    "docs/tutorials/lab.md",
    "docs/replay.md",
    "docs/plan.md",
    "docs/report.md",
    "docs/machines.md",
    "docs/sizing.md",
];
const LINKS: &[&str] = &["docs/links.md"];
const OTHERS: &[&str] = &["docs/ask.md", "docs/review.md", "docs/security.md", "docs/serve.md"];

#[test]
fn every_page_with_marks_is_run() {
    let run: Vec<&str> = [README, LAPTOP_AND_CLOUD, CLUSTER, LAB, LINKS, OTHERS]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    let is_marked =
        |page: &String| page::blocks(page, &tidy::read(page)).iter().any(|it| !it.marks.is_empty());
    let marked: Vec<String> = super::pages().into_iter().filter(is_marked).collect();
    let left: Vec<&String> = marked.iter().filter(|page| !run.contains(&page.as_str())).collect();
    assert!(left.is_empty(), "no test runs the marked blocks of {left:?}");
}

#[test]
fn the_readmes_commands_run() {
    let Some(printed) = run(README) else { return };
    assert!(printed.contains(r"\boxed{394}"), "{printed}");
}

#[test]
fn the_tutorial_of_a_laptop_and_a_cloud_runs() {
    let Some(printed) = run(LAPTOP_AND_CLOUD) else { return };
    let answers = printed.matches(r"\boxed{394}").count();
    assert_eq!(answers, 2, "{printed}");
}

#[test]
fn the_tutorial_of_a_cluster_runs_and_loses_no_answer() {
    let Some(printed) = run(CLUSTER) else { return };
    assert!(printed.contains("300 200"), "all questions are answered: {printed}");
    assert!(printed.contains(r#""state":"gone""#), "a node was lost: {printed}");
}

#[test]
fn the_tutorial_of_the_lab_runs_and_so_do_guides_that_go_on_from_its_sweep() {
    let Some(printed) = run(LAB) else { return };
    assert!(printed.contains("| review | geo |"), "{printed}");
}

#[test]
fn the_guide_to_links_runs() {
    let Some(printed) = run(LINKS) else { return };
    assert!(printed.contains("Use large-only"), "{printed}");
}

#[test]
fn the_commands_of_other_guides_run() {
    let Some(printed) = run(OTHERS) else { return };
    assert!(printed.contains("specthink:review"), "{printed}");
}

/// Runs the marked blocks of these pages, one after the other in one folder, and returns what they printed. Returns
/// nothing on a machine where they cannot be run.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn run(pages: &[&str]) -> Option<String> {
    if let Some(missing) = missing() {
        assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, and {missing}");
        eprintln!("not run: {missing}");
        return None;
    }
    let blocks: Vec<Block> =
        pages.iter().flat_map(|page| page::blocks(page, &tidy::read(page))).collect();
    let marked: Vec<&Block> = blocks.iter().filter(|block| !block.marks.is_empty()).collect();
    assert!(!marked.is_empty(), "{pages:?} has nothing to run");

    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("programs");
    let here = folder.path().join("here");
    std::fs::create_dir_all(&programs).unwrap();
    std::fs::create_dir_all(&here).unwrap();
    let named = [
        ("specthink", SPECTHINK),
        ("specthink-lab", SPECTHINK_LAB),
        ("small-node", SMALL),
        ("large-node", LARGE),
    ];
    for (name, program) in named {
        std::os::unix::fs::symlink(program, programs.join(name)).unwrap();
    }
    for name in tidy::files(DATA, "jsonl") {
        std::fs::create_dir_all(here.join(DATA)).unwrap();
        std::fs::write(here.join(&name), tidy::read(&name)).unwrap();
    }
    let script = folder.path().join("script.sh");
    std::fs::write(&script, script_of(&marked)).unwrap();

    let ended = Command::new("unshare")
        .args(SPACES)
        .args(["bash", script.to_str().unwrap()])
        .current_dir(&here)
        // Nothing of the developer's own settings.
        .env_clear()
        .env("HOME", folder.path())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PROGRAMS", &programs)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{printed}\n{said}");
    Some(printed)
}

/// The shell script that does what the marks say.
fn script_of(blocks: &[&Block]) -> String {
    let mut script = BEGINNING.to_owned();
    for block in blocks {
        let Block { page, line, marks, text, .. } = block;
        let marks: Vec<&str> = marks.iter().map(String::as_str).collect();
        writeln!(script, "place={page}:{line}").unwrap();
        match marks[..] {
            ["run"] => script.push_str(text),
            ["run", "open"] => {
                let program = text.split_whitespace().next().unwrap_or_default();
                write!(script, "open {program} <<'BLOCK'\n{text}BLOCK\n").unwrap();
            }
            [file] if let Some(name) = file.strip_prefix("file=") => {
                write!(script, "cat > {name} <<'BLOCK'\n{text}BLOCK\n").unwrap();
            }
            _ => panic!("{page}:{line}: `{}` is no mark", marks.join(" ")),
        }
    }
    script
}

/// What this machine lacks for such a run.
fn missing() -> Option<String> {
    let has = |tool: &&str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
        found.is_ok_and(|found| found.status.success())
    };
    if let Some(tool) = TOOLS.iter().find(|tool| !has(tool)) {
        return Some(format!("there is no {tool}"));
    }
    let spaces = Command::new("unshare")
        .args(SPACES)
        .args(["ip", "link", "set", "lo", "up"])
        .output()
        .unwrap();
    (!spaces.status.success()).then(|| "this user may make no namespaces".to_owned())
}
