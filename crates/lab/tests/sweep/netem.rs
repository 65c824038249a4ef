//! Links of real packets. Where the machine can have none, that is one line; where it can, they are what was asked.

use lab::results::Results;

use crate::bench::{Bench, RTT_US, TWO, stderr};

#[test]
fn a_takeover_over_real_packets_costs_a_round_trip_or_the_machine_can_have_none() {
    let bench = Bench::new();
    let output = bench.sweep(&[&TWO[..], &["--netem"]].concat());
    if output.status.success() {
        let results = Results::read(&[bench.out()]).unwrap();
        let strict = results.cells.iter().find(|cell| cell.policy == "strict").unwrap();
        let handoffs = strict.graded().flat_map(|row| &row.summary.takeovers);
        let handoffs: Vec<u64> = handoffs.map(|takeover| takeover.handoff_us.unwrap()).collect();
        assert_eq!(handoffs.len(), 2);
        assert!(handoffs.iter().all(|us| *us >= RTT_US), "{handoffs:?}");
        let proxy = bench.sweep(&TWO);
        assert_eq!(proxy.status.code(), Some(5), "{}", stderr(&proxy));
        assert!(stderr(&proxy).contains("with or without --netem"), "{}", stderr(&proxy));
    } else {
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let told = stderr(&output);
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.contains("--netem: ") && told.contains("leave --netem out"), "{told}");
        assert!(!bench.out().exists(), "nothing was begun");
    }
}
