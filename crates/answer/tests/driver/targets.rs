//! Targets, with the driver's measurements.

use std::{sync::Arc, time::Duration};

use answer::Outcome;
use thinking::{
    policy::{Limits, Targets},
    testing::{FaultKind, Script},
};

use crate::{
    late::{ALONE, doubtful},
    support::{Far, STORY, answered, fault, large_script, limited, run, small_script, thinker},
};

/// Returns the answer of a small model together with a large one that is 50 ms away.
async fn within(small: Script, targets: Targets) -> Outcome {
    let large = Far { near: thinker(large_script(), vec![]), one_way: Duration::from_millis(50) };
    let mut run = run(&[thinker(small, vec![])], Some(Arc::new(large)));
    let limits = Limits { targets, ..Limits::default() };
    run.policy = limited(limits, 200);
    answered(run).await.0
}

#[tokio::test(start_paused = true)]
async fn a_latency_is_kept_by_doing_without_the_takeover() {
    for (latency_ms, text, total_ms, passed_over) in [(1000, STORY, 260, 0), (150, ALONE, 140, 1)] {
        let latency = Some(Duration::from_millis(latency_ms));
        let outcome = within(small_script(), Targets { latency, ..Targets::default() }).await;
        assert_eq!(outcome.text(), text);
        assert_eq!(outcome.summary.time.total_us, total_ms * 1000, "{latency_ms}");
        assert_eq!(outcome.summary.abandoned, 0, "what is not asked for is not given up");
        assert_eq!(outcome.summary.passed_over, passed_over);
        assert_eq!(outcome.summary.degraded, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_text_that_comes_too_late_for_the_latency_is_given_up() {
    let silent = thinker(large_script(), vec![fault(2, 0, FaultKind::Silence)]);
    let mut run = run(&[thinker(small_script(), vec![])], Some(silent));
    let latency = Some(Duration::from_millis(800));
    let limits = Limits { targets: Targets { latency, ..Targets::default() }, ..Limits::default() };
    run.policy = limited(limits, 200);
    let (outcome, _) = answered(run).await;
    assert_eq!(outcome.text(), ALONE);
    assert_eq!((outcome.summary.abandoned, outcome.summary.degraded), (1, None));
    let total_us = outcome.summary.time.total_us;
    assert!(total_us > 140_000 && total_us <= 800_000, "{total_us}");
}

#[tokio::test(start_paused = true)]
async fn a_share_holds_of_the_tokens_in_the_books() {
    for share in [0.0, 0.15, 0.3, 0.6] {
        let targets = Targets { share: Some(share), ..Targets::default() };
        let summary = within(doubtful(20), targets).await.summary;
        let large = summary.large.tokens as f64 / summary.tokens() as f64;
        assert!(large <= share, "{large} of {share}");
        assert!(large + 0.2 >= share, "{large} of {share}: it is used, except for the reserve");
    }
}
