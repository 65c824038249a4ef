//! Nodes compared with formulas of queueing theory.

use lab::sizing::{AnswerTrace, Population, size};
use thinking::policy::Role;

use crate::{curve, large, step, trace};

/// Token counts with an exponential distribution, all equally likely.
fn exponential(mean: f64) -> Vec<u32> {
    const COUNT: u32 = 5_000;
    let share = |n: u32| (f64::from(n) + 0.5) / f64::from(COUNT);
    (0..COUNT).map(|n| (-mean * (1.0 - share(n)).ln()).round() as u32).collect()
}

/// A population with this many questions a second.
fn population(per_s: f64) -> Population {
    Population { users: 3600, questions_per_hour: per_s, seed: 5, answers: 400_000 }
}

fn assert_near(is: f64, expected: f64, within: f64) {
    assert!((is / expected - 1.0).abs() < within, "{is}, and not {expected}");
}

#[test]
fn a_node_that_writes_no_faster_for_many_is_a_shared_processor() {
    // 2 s of work on average, however many sessions write at a time: M/M/1 with processor sharing.
    let traces: Vec<AnswerTrace> = exponential(200.0)
        .into_iter()
        .map(|tokens| trace(vec![step(Role::Large, 0.0, 0, tokens)]))
        .collect();
    let fleet = large(1, curve(1000.0, &[(1, 100.0), (2, 100.0)]));
    for used in [0.3, 0.7] {
        let figures = size(&traces, &population(used / 2.0), &fleet).unwrap();
        assert_near(figures.utilisation, used, 0.02);
        assert_near(figures.answer.mean_s, 2.0 / (1.0 - used), 0.03);
        // While at least one session writes: as many as are there.
        assert_near(figures.sessions, 1.0 / (1.0 - used), 0.03);
    }
}

#[test]
fn a_node_that_reads_takes_one_text_after_the_other() {
    // 0.2 s of reading on average, in order of arrival: M/M/1, in which times have an exponential distribution.
    let traces: Vec<AnswerTrace> = exponential(200.0)
        .into_iter()
        .map(|tokens| trace(vec![step(Role::Large, 0.0, tokens, 0)]))
        .collect();
    let fleet = large(1, curve(1000.0, &[(1, 100.0), (2, 100.0)]));
    let used = 0.6;
    let figures = size(&traces, &population(used / 0.2), &fleet).unwrap();
    let mean_s = 0.2 / (1.0 - used);
    assert_near(figures.utilisation, used, 0.02);
    assert_near(figures.answer.mean_s, mean_s, 0.03);
    assert_near(figures.answer.median_s, mean_s * 2.0_f64.ln(), 0.03);
    assert_near(figures.answer.p95_s, mean_s * 20.0_f64.ln(), 0.03);
    assert_near(figures.answer.p99_s, mean_s * 100.0_f64.ln(), 0.05);
}

#[test]
fn nodes_between_which_two_are_drawn_wait_less_than_one_alone() {
    let traces: Vec<AnswerTrace> = exponential(200.0)
        .into_iter()
        .map(|tokens| trace(vec![step(Role::Large, 0.0, tokens, 0)]))
        .collect();
    let speeds = curve(1000.0, &[(1, 100.0), (2, 100.0)]);
    let one = size(&traces, &population(4.0), &large(1, speeds.clone())).unwrap();
    let ten = size(&traces, &population(40.0), &large(10, speeds)).unwrap();
    assert_near(ten.utilisation, one.utilisation, 0.02);
    assert!(ten.answer.p95_s < 0.6 * one.answer.p95_s, "{ten:?} and {one:?}");
}
