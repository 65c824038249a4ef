//! Targets, with what the driver measures.

use std::{sync::Arc, time::Duration};

use coordinator::Outcome;
use thinking::policy::{Bounds, Targets};

use crate::{
    late::{ALONE, doubtful},
    support::{Far, STORY, answered, bounded, large_script, run, small_script, thinker},
};

/// The answer of a small model beside a large one that is 50 ms away.
async fn within(small: thinking::testing::Script, targets: Targets) -> Outcome {
    let large = Far { near: thinker(large_script(), vec![]), one_way: Duration::from_millis(50) };
    let mut run = run(&[thinker(small, vec![])], Some(Arc::new(large)));
    let bounds = Bounds { targets, ..Bounds::default() };
    run.policy = bounded(bounds, 200);
    answered(run).await.0
}

#[tokio::test(start_paused = true)]
async fn a_latency_is_kept_by_doing_without_the_takeover() {
    for (latency_ms, text, total_ms) in [(1000, STORY, 260), (150, ALONE, 140)] {
        let latency = Some(Duration::from_millis(latency_ms));
        let outcome = within(small_script(), Targets { latency, ..Targets::default() }).await;
        assert_eq!(outcome.text(), text);
        assert_eq!(outcome.summary.time.total_us, total_ms * 1000, "{latency_ms}");
        assert_eq!(outcome.summary.abandoned, 0, "what is not asked for is not given up");
        assert_eq!(outcome.summary.degraded, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_text_that_comes_too_late_for_the_latency_is_given_up() {
    // A takeover fits, as far as anybody knows before the first one.
    let latency = Some(Duration::from_millis(430));
    let outcome = within(doubtful(2), Targets { latency, ..Targets::default() }).await;
    assert_eq!((outcome.summary.abandoned, outcome.summary.takeovers.len()), (0, 1));
    let latency = Some(Duration::from_millis(330));
    let outcome = within(doubtful(2), Targets { latency, ..Targets::default() }).await;
    assert_eq!((outcome.summary.abandoned, outcome.summary.takeovers.len()), (1, 0));
    assert!(outcome.summary.time.total_us <= 330_000 + 70_000, "{:?}", outcome.summary.time);
}

#[tokio::test(start_paused = true)]
async fn a_share_holds_of_the_tokens_in_the_books() {
    for share in [0.0, 0.15, 0.3, 0.6] {
        let targets = Targets { share: Some(share), ..Targets::default() };
        let summary = within(doubtful(20), targets).await.summary;
        let large = summary.large.tokens as f64 / summary.tokens() as f64;
        assert!(large <= share, "{large} of {share}");
        assert!(large + 0.2 >= share, "{large} of {share}: it is used, but for what must be left");
    }
}
