//! The lab's command with the built-in pair: a sweep over a short link, from its arguments to its table.

use serde_json::Value;
use tests::Process;

/// The lab's command.
pub(crate) const LAB: &str = env!("CARGO_BIN_EXE_specthink-lab-under-test");

#[test]
fn a_sweep_needs_no_node_and_the_link_costs_takeovers_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/arithmetic/dev.jsonl");
    let args =
        ["sweep", data, "--limit", "4", "--link", "rtt=60ms", "--out", out.to_str().unwrap()];
    let ended = Process::spawn(LAB, &args, &[]).wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout.len(), 8, "a head, and a row for each policy: {ended:?}");
    let rows = |policy: &str| -> Vec<Value> {
        let log = out.join(policy).join("rtt=60ms").join("seed-0").join("log.jsonl");
        let text = std::fs::read_to_string(log).unwrap();
        let rows = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap());
        let mut rows: Vec<Value> = rows.collect();
        assert_eq!(rows.len(), 4);
        rows.sort_by_key(|row| row["id"].to_string());
        rows
    };
    let takeovers = |policy: &str| -> Vec<Value> {
        let takeovers = |row: &Value| row["summary"]["takeovers"].as_array().unwrap().clone();
        rows(policy).iter().flat_map(takeovers).collect()
    };
    let strict = takeovers("strict");
    assert!(!strict.is_empty());
    let wall = |takeover: &Value| takeover["wall_us"].as_u64();
    assert!(strict.iter().all(|takeover| wall(takeover) >= Some(60_000)), "{strict:?}");
    assert!(takeovers("small-only").is_empty());
    // What is sent does not change the answers.
    let texts =
        |policy| rows(policy).into_iter().map(|row| row["text"].clone()).collect::<Vec<_>>();
    assert_eq!(texts("strict%3aresend"), texts("strict"));
    let report = std::fs::read_to_string(out.join("report").join("report.html")).unwrap();
    assert!(report.contains("random:share=strict"));
}
