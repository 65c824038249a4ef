//! Decisions that depend on time: over another link they come out the same, or the answer has diverged.

use std::time::Duration;

use answer::Progress;
use lab::replay::{Conditions, Divergence, Race, RecordedOver, Recording, replay};
use thinking::policy::{Limits, PolicySpec, Role, Targets};

use crate::{
    by_hand::{story, stretch},
    driven::{Driven, driven, ms},
    journal, over, recording,
};

/// An answer by the default policy within limits.
async fn within(limits: Limits) -> Driven {
    driven(PolicySpec::default().within(limits), 0).await
}

/// When the first takeover was asked for, in microseconds.
fn first_takeover_us(driven: &Driven) -> u64 {
    let asked = driven.journal.events.iter().find(
        |stamped| matches!(&stamped.progress, Progress::Ask(asked) if asked.role == Role::Large),
    );
    asked.unwrap().at_us
}

/// Checks that without a link it takes as long as recorded.
fn is_itself(driven: &Driven) {
    let replayed = replay(&driven.recording(), &Conditions::none()).unwrap();
    assert_eq!(replayed.diverged, None);
    assert_eq!(replayed.time, driven.outcome.summary.time);
    assert_eq!(replayed.takeovers, driven.outcome.summary.takeovers);
}

#[tokio::test(start_paused = true)]
async fn an_answer_diverges_where_a_takeover_is_later_than_it_is_waited_for() {
    let driven = within(Limits { deadline: Some(ms(100)), ..Limits::default() }).await;
    is_itself(&driven);
    let near = over(&driven.recording(), "rtt=20ms");
    assert_eq!(near.diverged, None);
    assert_eq!(near.takeovers.len(), driven.outcome.summary.takeovers.len());
    let far = over(&driven.recording(), "rtt=200ms");
    // The small node is near, so the first takeover was asked for at the same time.
    let at_us = first_takeover_us(&driven) + 100_000;
    assert_eq!(far.diverged, Some(Divergence { why: Race::Takeover, at_us }));
    // The figures are for what comes before.
    assert_eq!((far.time.total_us, far.takeovers.len()), (at_us, 0));
    let json = serde_json::to_value(&far).unwrap();
    let diverged = serde_json::json!({ "why": "takeover", "at_us": at_us });
    assert_eq!(json["diverged"], diverged);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_its_own_node_made_late_is_given_up_over_every_link() {
    let driven = within(Limits { deadline: Some(ms(20)), ..Limits::default() }).await;
    assert!(driven.outcome.summary.abandoned > 2);
    is_itself(&driven);
    for rtt in ["rtt=1ms", "rtt=300ms"] {
        let far = over(&driven.recording(), rtt);
        assert_eq!(far.diverged, None, "{rtt}");
        assert_eq!(far.time.total_us, driven.outcome.summary.time.total_us, "{rtt}");
    }
    let over_a_link = Recording::new(&driven.journal, RecordedOver::Link).unwrap_err().to_string();
    assert!(over_a_link.contains("given up because it was late"), "{over_a_link}");
}

#[tokio::test(start_paused = true)]
async fn an_overlap_that_the_large_model_won_is_not_known_beyond_that() {
    let driven = within(Limits { overlap_tokens: Some(10), ..Limits::default() }).await;
    assert!(driven.outcome.summary.abandoned == 0 && !driven.outcome.summary.takeovers.is_empty());
    is_itself(&driven);
    // Meanwhile the small one writes three tokens; what it would write after them was not recorded.
    let far = over(&driven.recording(), "rtt=200ms").diverged.unwrap();
    assert_eq!(far.why, Race::Overlap);
    assert!(far.at_us < first_takeover_us(&driven) + 50_000, "{far:?}");
}

#[tokio::test(start_paused = true)]
async fn an_overlap_that_the_small_model_won_is_won_over_every_link() {
    let driven = within(Limits { overlap_tokens: Some(2), ..Limits::default() }).await;
    assert!(driven.outcome.summary.abandoned > 2);
    is_itself(&driven);
    let far = over(&driven.recording(), "rtt=200ms");
    assert_eq!(far.diverged, None);
    assert_eq!(far.time.total_us, driven.outcome.summary.time.total_us);
}

#[tokio::test(start_paused = true)]
async fn a_target_for_the_latency_is_kept_with_the_times_of_the_link() {
    let targets = Targets { latency: Some(Duration::from_secs(60)), ..Targets::default() };
    let driven = within(Limits { targets, ..Limits::default() }).await;
    assert!(driven.outcome.summary.takeovers.len() > 2);
    is_itself(&driven);
    assert_eq!(over(&driven.recording(), "rtt=20ms").diverged, None);
    let far = over(&driven.recording(), "rtt=20s").diverged.unwrap();
    assert_eq!(far.why, Race::LatencyTarget);
}

#[test]
fn a_node_that_reads_for_long_gives_signs_meanwhile() {
    // Longer than a large node may be silent.
    let mut stretches = story();
    stretches[1].timing.prefill_us = 100_000_000;
    let recording = recording(&stretches);
    for rtt in ["rtt=0ms", "rtt=90ms"] {
        assert_eq!(over(&recording, rtt).diverged, None, "{rtt}");
    }
    // Its heartbeats are lost if the link is slow.
    let mut journal = journal(&[stretch(Role::Large, 5, 50_000, 0)]);
    journal.header.settings.large_timeout = ms(700);
    let recording = Recording::new(&journal, RecordedOver::Loopback).unwrap();
    assert_eq!(over(&recording, "rtt=600ms").diverged, None);
    let far = over(&recording, "rtt=800ms").diverged.unwrap();
    assert_eq!(far, Divergence { why: Race::LargeTimeout, at_us: 700_000 });
}
