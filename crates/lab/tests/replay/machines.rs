//! What answers by hand cost on other machines.

use std::time::Duration;

use lab::replay::{Conditions, NodeSpeeds, RecordedOver, Recording, ReplayError, Replayed, replay};
use machines::SpeedCurve;
use thinking::policy::Role;

use crate::{
    by_hand::{story, stretch},
    journal, link, recording,
};

/// A decode step of one session takes `step_ms`, and reading many tokens takes no longer than reading one.
fn curve(step_ms: u32) -> SpeedCurve {
    let one = 1e3 / f64::from(step_ms);
    let text = format!(
        "prefill_tokens_per_s = 1e9\nprefill_chunk_tokens = 100000\n\
         decode = [{{ sessions = 1, tokens_per_s = {one} }}, {{ sessions = 2, tokens_per_s = {} }}]\n",
        one * 1.5
    );
    SpeedCurve::parse("c.toml", &text).unwrap()
}

/// The decode step of two sessions on such a curve, in microseconds.
fn step_of_two(step_ms: u32) -> u32 {
    step_ms * 2_000 * 2 / 3
}

fn at(speeds: &NodeSpeeds, description: Option<&str>) -> Replayed {
    let conditions =
        description.map_or_else(Conditions::none, |text| Conditions::over(link(text), 1));
    replay(&recording(&story()).at(speeds).unwrap(), &conditions).unwrap()
}

fn large(step_ms: u32) -> NodeSpeeds {
    NodeSpeeds { large: Some(curve(step_ms)), ..NodeSpeeds::default() }
}

#[test]
fn tokens_take_the_steps_of_the_machine_and_the_other_node_stays_as_recorded() {
    let recorded = at(&NodeSpeeds::default(), None);
    let replayed = at(&large(40), None);
    // The first token of a stretch takes no step: its logits are there once the text has been read.
    let steps: u32 = story()
        .iter()
        .filter(|stretch| stretch.role == Role::Large)
        .map(|stretch| stretch.tokens - 1)
        .sum();
    assert_eq!(replayed.time.large.decode_us, u64::from(steps) * 40_000);
    assert_eq!(replayed.time.small.decode_us, recorded.time.small.decode_us);
    assert_eq!(replayed.time.network_us(), 0);
    let more = replayed.time.total_us - recorded.time.total_us;
    let slower = replayed.time.large.decode_us - recorded.time.large.decode_us;
    // What it reads in between takes a pass each time, which is at least as long as the largest decode step.
    let reads = u64::from(step_of_two(40)) * 3;
    let recorded_reading = 10_000;
    let most = slower + reads + recorded_reading;
    assert!((slower..=most).contains(&more), "{more} us more, {slower} us of it decoding");
}

#[test]
fn a_link_costs_what_it_costs_on_any_machine() {
    let added = |speeds: &NodeSpeeds| {
        let over = at(speeds, Some("rtt=100ms")).time.total_us;
        over - at(speeds, None).time.total_us
    };
    // A round trip for the session, and one for each of two takeovers.
    for speeds in [large(5), large(80)] {
        let added = added(&speeds);
        assert!((200_000..=320_000).contains(&added), "{added}");
    }
}

#[test]
fn the_same_speeds_twice_give_the_same_figures() {
    let speeds = NodeSpeeds { small: Some(curve(10)), large: Some(curve(20)) };
    assert_eq!(at(&speeds, Some("4g-good")), at(&speeds, Some("4g-good")));
}

#[test]
fn an_answer_that_a_nodes_time_decided_is_refused_on_another_machine() {
    let mut journal = journal(&[stretch(Role::Small, 50, 100_000, 0)]);
    journal.header.policy.limits.deadline = Some(Duration::from_millis(50));
    let recording = Recording::new(&journal, RecordedOver::Loopback).unwrap();
    let as_recorded = recording.clone().at(&NodeSpeeds::default());
    assert!(as_recorded.is_ok(), "nothing is re-timed");
    let error = recording.at(&large(40)).unwrap_err();
    assert!(matches!(error, ReplayError::DecidedByTime { .. }), "{error}");
    assert!(error.to_string().contains("a takeover's deadline"), "{error}");
}
