//! Reading the output of sweeps: complete, unfinished, damaged and mixed folders.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod by_hand;

use std::fs;

use by_hand::sweep::{Plan, Sweep};
use lab::results::{Results, SkippedKind, SkippedResult};
use runs::Row;

fn read(sweep: &Sweep) -> Results {
    Results::read(&[sweep.path()]).unwrap()
}

fn said(skipped: &[SkippedResult], what: SkippedKind) -> Vec<String> {
    skipped.iter().filter(|one| one.what == what).map(ToString::to_string).collect()
}

/// Everything that is refused when all journals are read.
fn refused(results: &Results) -> Vec<SkippedResult> {
    let cells = results.cells.iter();
    cells.flat_map(|cell| cell.graded().filter_map(|row| cell.journal(row).err())).collect()
}

#[test]
fn a_whole_sweep_is_read_with_nothing_left_out() {
    let sweep = Sweep::new(&Plan::default());
    let results = read(&sweep);
    assert_eq!((results.cells.len(), results.skipped.len()), (6, 0), "{:?}", results.skipped);
    assert_eq!(refused(&results), []);
    let labels: Vec<&str> = results.policies.iter().map(|policy| policy.label.as_str()).collect();
    assert_eq!(labels, ["strict", "small-only", "large-only"], "in the order they were given");
    assert_eq!(results.links[0].name, "loopback", "the shortest round trip first");
    assert_eq!(results.links[1].rtt.as_millis(), 680);
    assert!(results.cells.iter().all(|cell| cell.graded().count() == 6));
}

#[test]
fn what_was_not_asked_or_failed_is_told_and_the_rest_is_read() {
    let plan = Plan { policies: &["strict", "small-only"], ..Plan::default() };
    let sweep = Sweep::empty(&plan);
    sweep.answer("strict", "geo", 0, 1);
    let failed = Row::Failed { id: "q2".to_owned(), reason: "nobody there".to_owned() };
    sweep.row("strict", "geo", 0, &failed);
    let log = sweep.cell("strict", "geo", 0).join("log.jsonl");
    fs::write(&log, fs::read_to_string(&log).unwrap() + "{\"row\":\"gra").unwrap();
    let results = read(&sweep);
    assert_eq!(results.cells.len(), 1);
    let skipped = &results.skipped;
    assert_eq!(said(skipped, SkippedKind::Cell).len(), 3, "the cells that were not begun");
    assert!(said(skipped, SkippedKind::Failed)[0].contains("question q2: it failed: nobody there"));
    assert!(said(skipped, SkippedKind::Open)[0].contains("4 of 6 questions"), "{skipped:?}");
    assert_eq!(said(skipped, SkippedKind::BrokenRow).len(), 1);
}

#[test]
fn a_journal_that_is_not_this_answers_is_refused_by_its_reason() {
    let sweep = Sweep::new(&Plan { questions: 8, ..Plan::default() });
    let path = |number| sweep.journal("strict", "geo", number);
    let text = |number| fs::read_to_string(path(number)).unwrap();
    fs::write(path(0), text(0).replace("\"specthink_journal\":1", "\"specthink_journal\":9"))
        .unwrap();
    fs::write(path(1), &text(1)[..text(1).len() - 40]).unwrap();
    fs::write(path(2), text(3)).unwrap();
    fs::write(path(4), fs::read(sweep.journal("large-only", "geo", 4)).unwrap()).unwrap();
    fs::remove_file(path(5)).unwrap();
    fs::write(path(6), "no journal\n").unwrap();
    // The same question, asked again: a different end.
    fs::write(path(7), text(7).replace("\"resumes\":0", "\"resumes\":1")).unwrap();
    fs::write(path(9), "").unwrap();
    let results = read(&sweep);
    let refused = refused(&results);
    let of = |what| said(&refused, what);
    assert!(
        of(SkippedKind::Version)[0].contains("question q0: its journal has version 9"),
        "{refused:?}"
    );
    assert!(of(SkippedKind::Truncated)[0].contains("question q1"), "{refused:?}");
    let mixed = of(SkippedKind::Mixed);
    assert_eq!(mixed.len(), 3, "{mixed:?}");
    for (number, other) in [(0, "another question"), (1, "another policy"), (2, "another run")] {
        assert!(mixed[number].contains(other), "{mixed:?}");
    }
    assert!(of(SkippedKind::NoJournal)[0].contains("question q5"), "{refused:?}");
    assert!(of(SkippedKind::Damaged)[0].contains("question q6"), "{refused:?}");
    assert!(
        said(&results.skipped, SkippedKind::Stray)[0].contains("q9.jsonl"),
        "{:?}",
        results.skipped
    );
}

#[test]
fn a_cell_with_the_log_of_another_is_left_out() {
    let sweep = Sweep::new(&Plan::default());
    let log = |policy| sweep.cell(policy, "geo", 0).join("log.jsonl");
    fs::copy(log("large-only"), log("strict")).unwrap();
    let results = read(&sweep);
    assert_eq!(results.cells.len(), 5);
    let said = said(&results.skipped, SkippedKind::Cell);
    assert!(said[0].contains("strict over geo with seed 0"), "{said:?}");
    assert!(said[0].contains("another policy"), "{said:?}");
}

#[test]
fn several_folders_are_one_result_when_they_are_of_one_data_set() {
    let first = Sweep::new(&Plan::default());
    let more =
        Sweep::new(&Plan { links: &[("lan", "rtt=1ms"), ("geo", "rtt=9ms")], ..Plan::default() });
    let results = Results::read(&[first.path(), more.path()]).unwrap();
    assert_eq!((results.cells.len(), results.policies.len()), (12, 3));
    let links: Vec<&str> = results.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(links.len(), 4, "the two geos are not the same: {links:?}");
    assert!(links.iter().filter(|name| name.starts_with("geo (")).count() == 2, "{links:?}");
    let twice = Results::read(&[first.path(), first.path()]).unwrap();
    assert_eq!(twice.cells.len(), 6);
    assert_eq!(said(&twice.skipped, SkippedKind::Cell).len(), 6);
    let shorter = Sweep::new(&Plan { questions: 2, ..Plan::default() });
    let apart = Results::read(&[first.path(), shorter.path()]).unwrap();
    assert_eq!(apart.policies.len(), 6, "other questions are not pooled");
    let other = Sweep::new(&Plan { data_set: "def", ..Plan::default() });
    let error = Results::read(&[first.path(), other.path()]).unwrap_err().to_string();
    assert!(error.contains("of another data set") && error.lines().count() == 1, "{error}");
}

#[test]
fn a_folder_that_is_no_sweep_is_one_line() {
    let folder = tempfile::TempDir::new().unwrap();
    let read = || Results::read(&[folder.path().to_owned()]).unwrap_err().to_string();
    assert!(read().contains("holds no sweep: there is no sweep.toml"), "{}", read());
    fs::write(folder.path().join("sweep.toml"), "specthink_sweep = \"x\"\n").unwrap();
    assert!(read().contains("holds no sweep: sweep.toml: "), "{}", read());
    let sweep = Sweep::empty(&Plan::default());
    let name = sweep.path().join("sweep.toml");
    let text = fs::read_to_string(&name).unwrap();
    fs::write(&name, text.replace("specthink_sweep = 1", "specthink_sweep = 2")).unwrap();
    let error = Results::read(&[sweep.path()]).unwrap_err().to_string();
    assert!(error.contains("version 2, not 1") && error.lines().count() == 1, "{error}");
}
