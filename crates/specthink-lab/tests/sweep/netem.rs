//! Links of real packets. If the machine supports them, they have the requested properties; if not, the error is one
//! line.

use lab::results::Results;

use crate::bench::{Bench, RTT_US, TWO, stderr};

#[test]
fn a_takeover_over_real_packets_costs_a_round_trip_or_the_machine_can_have_none() {
    let bench = Bench::new();
    let flags = ["--netem", "--link", "rtt=40ms,jitter=4ms,up=20mbit,down=20mbit,outage=1s/1h"];
    let output = bench.sweep(&[&TWO[..], &flags].concat());
    if output.status.success() {
        let results = Results::read(&[bench.out()]).unwrap();
        let strict = results.cells.iter().filter(|cell| cell.policy == "strict");
        let handoffs = strict.flat_map(|cell| cell.graded()).flat_map(|row| &row.summary.takeovers);
        let handoffs: Vec<u64> = handoffs.map(|takeover| takeover.handoff_us.unwrap()).collect();
        assert_eq!(handoffs.len(), 4);
        assert!(handoffs.iter().all(|us| *us >= RTT_US), "{handoffs:?}");
        let proxy = bench.sweep(&[&TWO[..], &flags[1..]].concat());
        assert_eq!(proxy.status.code(), Some(5), "{}", stderr(&proxy));
        assert!(stderr(&proxy).contains("with or without --netem"), "{}", stderr(&proxy));
    } else {
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let told = stderr(&output);
        assert_eq!(told.lines().count(), 1, "{told}");
        let reasons = ["network namespace", "cannot run ", "no netem"];
        assert!(told.contains("--netem: ") && told.contains("leave out --netem"), "{told}");
        assert!(reasons.iter().any(|reason| told.contains(reason)), "{told}");
        assert!(!bench.out().exists(), "nothing was begun");
    }
}
