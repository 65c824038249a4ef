//! The lab's command with the built-in pair: a sweep over a short link, from its arguments to its table.

use serde_json::Value;
use tests::Process;

/// The lab's command.
const LAB: &str = env!("CARGO_BIN_EXE_specthink-lab-under-test");

#[test]
fn a_sweep_needs_no_node_and_the_link_costs_takeovers_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/arithmetic/dev.jsonl");
    let args =
        ["sweep", data, "--limit", "4", "--link", "rtt=60ms", "--out", out.to_str().unwrap()];
    let ended = Process::spawn(LAB, &args, &[]).wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout.len(), 5, "a head, and a row for each policy: {ended:?}");
    let takeovers = |policy: &str| -> Vec<Value> {
        let log = out.join(policy).join("rtt=60ms").join("seed-0").join("log.jsonl");
        let text = std::fs::read_to_string(log).unwrap();
        let rows: Vec<Value> =
            text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 4);
        rows.iter()
            .flat_map(|row| row["summary"]["takeovers"].as_array().unwrap().clone())
            .collect()
    };
    let strict = takeovers("strict");
    assert!(!strict.is_empty());
    assert!(
        strict.iter().all(|takeover| takeover["wall_us"].as_u64() >= Some(60_000)),
        "{strict:?}"
    );
    assert!(takeovers("small-only").is_empty());
}
