//! What `tune` prints of fixed results, as snapshots.

use std::collections::BTreeMap;

use lab::{link::Shaping, plan::Source, stats::Estimate};

use super::*;

/// A threshold, how many of 100 answers were right, corrections, the large model's share, the median latency.
fn tried(gap: f32, right: f64, corrections: f64, share: f64, median_s: f64) -> TriedGap {
    let accuracy = right / 100.0;
    let candidate = Candidate {
        policy: format!("review:review-gap={gap}"),
        pair: String::new(),
        answers: 100,
        accuracy: Estimate { value: accuracy, interval: Some((accuracy - 0.05, accuracy + 0.04)) },
        share,
        corrections,
        latency_median_s: median_s,
        latency_p95_s: 2.0 * median_s,
        cost: share / 100.0,
        clients: None,
        source: Source::Measured,
    };
    TriedGap { gap, candidate }
}

fn tuned(prices: Option<Prices>) -> Tuned {
    let experiment = Experiment {
        specthink_sweep: Experiment::VERSION,
        data_set: "development.jsonl".to_owned(),
        data_set_sha256: "abc".to_owned(),
        questions: 100,
        grader: "own".to_owned(),
        parallel: 1,
        seeds: vec![0, 1],
        pair_name: None,
        models: vec!["qwen3-0.6b".to_owned(), "qwen3-32b".to_owned()],
        policy_order: Vec::new(),
        policies: BTreeMap::new(),
        shaping: Shaping::Proxy,
        links: BTreeMap::new(),
    };
    let tried = vec![
        tried(0.25, 94.0, 4.0, 0.10, 12.5),
        tried(1.0, 96.0, 2.0, 0.05, 8.25),
        tried(5.0, 80.0, 0.2, 0.01, 6.125),
    ];
    Tuned { experiment, threshold: Threshold::Gap, tried, prices }
}

/// What is printed for these targets.
fn printed(tuned: &Tuned, targets: &[&str]) -> String {
    let targets: Vec<PlanTarget> = targets.iter().map(|text| text.parse().unwrap()).collect();
    tuned.text(&choose(&tuned.tried, &targets).unwrap(), "careful", &targets)
}

#[test]
fn the_thresholds_and_the_chosen_policy_read_like_this() {
    insta::assert_snapshot!("no_target", printed(&tuned(None), &[]));
    insta::assert_snapshot!("accuracy", printed(&tuned(None), &["accuracy>=90%"]));
    let priced = tuned(Some(Prices::example().unwrap()));
    insta::assert_snapshot!("prices", printed(&priced, &["cost<=0.0006", "corrections<=3"]));
    insta::assert_snapshot!("none_meets_it", printed(&tuned(None), &["accuracy>=99%"]));
}
