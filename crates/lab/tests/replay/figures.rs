//! The cost of hand-made answers over other links, and which journals are refused.

use std::time::Duration;

use answer::{Progress, Stamped, Summary, journal::Journal, progress::Abandoned};
use lab::replay::{Conditions, Race, RecordedOver, Recording, ReplayError, Replayed, replay};
use proptest::prelude::*;
use thinking::{
    policy::{End, Role},
    thinker::Timing,
};

use crate::{
    by_hand::{Stretch, story, stretch},
    journal, link, over, recording,
};

fn parts(replayed: &Replayed) -> u64 {
    let time = &replayed.time;
    time.waited_us() + time.other_us
}

#[test]
fn a_takeovers_deadline_that_was_met_is_watched_over_other_links() {
    let mut journal = journal(&story());
    journal.header.policy.limits.deadline = Some(Duration::from_millis(50));
    let recording = Recording::new(&journal, RecordedOver::Loopback).unwrap();
    assert_eq!(race(&recording, "rtt=20ms"), None);
    assert_eq!(race(&recording, "rtt=80ms"), Some(Race::Takeover));
}

/// The decision that comes out differently over a link.
fn race(recording: &Recording, description: &str) -> Option<Race> {
    over(recording, description).diverged.map(|diverged| diverged.why)
}

#[test]
fn an_answer_whose_policy_went_by_a_links_times_is_refused() {
    let mut journal = journal(&story());
    journal.header.policy.limits.targets.latency = Some(Duration::from_secs(8));
    let error = Recording::new(&journal, RecordedOver::Link).unwrap_err();
    assert!(matches!(error, ReplayError::Disturbed { .. }), "{error}");
}

#[test]
fn an_answer_with_a_takeover_that_a_link_made_late_is_refused() {
    let mut journal = journal(&story());
    let abandoned = Progress::Abandoned(Abandoned { ask: 1, waited_us: 300_000 });
    journal.events.insert(8, Stamped { at_us: journal.events[8].at_us, progress: abandoned });
    let error = Recording::new(&journal, RecordedOver::Link).unwrap_err();
    assert!(matches!(error, ReplayError::Disturbed { .. }), "{error}");
    assert!(error.to_string().contains("given up because it was late"), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn without_a_link_an_answer_takes_its_computing() {
    let replayed = replay(&recording(&story()), &Conditions::none()).unwrap();
    let decode_us: u64 = story().iter().map(|stretch| stretch.timing.decode_us).sum();
    // The last text of the other model is read while it is written: part of a chunk is waited for.
    let read_us: u64 = story().iter().map(|stretch| stretch.read_us).sum();
    let total_us = replayed.time.total_us;
    assert!((decode_us..=decode_us + read_us).contains(&total_us), "{total_us}");
    assert_eq!(replayed.time.small.decode_us + replayed.time.large.decode_us, decode_us);
    assert_eq!(replayed.time.network_us() + replayed.handling_us, 0);
    assert_eq!(parts(&replayed), total_us);
    assert_eq!((replayed.link.as_str(), replayed.diverged), ("none", None));
}

#[test]
fn each_takeover_costs_a_round_trip_and_little_more() {
    let recording = recording(&story());
    let none = replay(&recording, &Conditions::none()).unwrap();
    for rtt_us in [1_000, 20_000, 90_000, 680_000] {
        let replayed = over(&recording, &format!("rtt={rtt_us}us"));
        assert_eq!(replayed.takeovers.len(), 2);
        for (far, near) in replayed.takeovers.iter().zip(&none.takeovers) {
            let added = far.handoff_us.unwrap() - near.handoff_us.unwrap().min(3_000);
            // At most the text that it reads later, which it would have read while the small one wrote.
            assert!((rtt_us..rtt_us + 5_000).contains(&added), "{rtt_us}: {added}");
            // As the driver counts, reading reported after the ask is prefill, even if it was hidden by the ask's time
            // in flight.
            assert!(far.spent.network_us + far.spent.prefill_us >= rtt_us);
            assert_eq!(far.spent.total_us(), far.wall_us);
        }
        let added = replayed.time.total_us - none.time.total_us;
        // The time in flight may hide a little reading that was waited for without a link.
        assert!((2 * rtt_us - 1_000..2 * rtt_us + 10_000).contains(&added), "{rtt_us}: {added}");
    }
}

#[test]
fn the_small_model_alone_does_not_see_the_link() {
    let recording = recording(&[stretch(Role::Small, 50, 100_000, 0)]);
    let none = replay(&recording, &Conditions::none()).unwrap();
    let geo = over(&recording, "geo");
    assert_eq!((geo.time, geo.small_traffic), (none.time, none.small_traffic));
    assert_eq!(geo.large_traffic.sent_bytes, 0);
    assert_eq!(geo.time.total_us, 100_000);
    // Over its own link it does, once for the question and once for the ask.
    let remote = Conditions { small: Some(link("rtt=50ms")), ..Conditions::none() };
    assert_eq!(replay(&recording, &remote).unwrap().time.total_us, 200_000);
}

#[test]
fn the_same_seed_gives_the_same_and_another_another() {
    let recording = recording(&story());
    let replayed = |seed| replay(&recording, &Conditions::over(link("leo"), seed)).unwrap();
    assert_eq!(replayed(3), replayed(3));
    assert_ne!(replayed(3).time.total_us, replayed(4).time.total_us);
    let json = serde_json::to_string(&replayed(3)).unwrap();
    assert_eq!(serde_json::from_str::<Replayed>(&json).unwrap(), replayed(3));
}

#[test]
fn connections_that_must_be_made_take_a_round_trip_more() {
    // The large one writes first, so nothing is hidden.
    let recording = recording(&[stretch(Role::Large, 5, 50_000, 0)]);
    let made = Conditions::over(link("rtt=100ms"), 1);
    let new = Conditions { connected: false, ..made.clone() };
    let total_us = |conditions| replay(&recording, &conditions).unwrap().time.total_us;
    assert_eq!(total_us(new) - total_us(made), 100_000);
}

#[test]
fn bytes_are_those_of_the_text_and_its_framing() {
    let replayed = over(&recording(&story()), "lan");
    let text: u32 = story().iter().map(|stretch| stretch.tokens * 4).sum();
    let large: u32 =
        story().iter().filter(|s| s.role == Role::Large).map(|stretch| stretch.tokens * 4).sum();
    let (up, down) = (replayed.large_traffic.sent_bytes, replayed.large_traffic.received_bytes);
    assert!(up > u64::from(text - large) && up < 3 * u64::from(text), "{up}");
    assert!(down > u64::from(large) && down < 2_500, "{down}");
}

#[test]
fn a_link_on_which_the_settings_would_lose_patience_is_told() {
    let recording = recording(&story());
    assert_eq!(race(&recording, "rtt=20s"), None);
    assert_eq!(race(&recording, "rtt=40s"), Some(Race::LargeTimeout));
    let mut journal = journal(&story());
    journal.header.question.deadline_ms = Some(300);
    let recording = Recording::new(&journal, RecordedOver::Loopback).unwrap();
    assert_eq!(race(&recording, "lan"), None);
    assert_eq!(race(&recording, "rtt=90ms"), Some(Race::Deadline));
}

fn refused(change: impl FnOnce(&mut Journal)) -> String {
    let mut journal = journal(&story());
    change(&mut journal);
    let line = Recording::new(&journal, RecordedOver::Loopback).unwrap_err().to_string();
    assert!(line.starts_with("question \"q\": ") && !line.contains('\n'), "{line}");
    line
}

fn summary(change: impl FnOnce(&mut Summary)) -> String {
    refused(|journal| match &mut journal.events.last_mut().unwrap().progress {
        Progress::Ended(summary) => change(summary),
        other => panic!("{other:?}"),
    })
}

#[test]
fn what_cannot_be_timed_is_refused_with_its_reason() {
    for events in [0, 1, 5, 10] {
        let line = refused(|journal| journal.events.truncate(events));
        assert!(line.contains("breaks off before the answer's end"), "{line}");
    }
    let line = summary(|summary| summary.degraded = Some("the large node was late".to_owned()));
    assert!(line.contains("without the large one (the large node was late)"), "{line}");
    assert!(line.ends_with("record it again over loopback"), "{line}");
    assert!(summary(|summary| summary.resumes = 1).contains("another small node took it up"));
    assert!(summary(|summary| summary.hash_repairs = 1).contains("was sent its text again"));
    assert!(summary(|summary| summary.end = Some(End::Deadline)).contains("its deadline passed"));
    assert!(summary(|summary| summary.end = None).contains("did not end by itself"));
    let ask = |stamped: &Stamped| matches!(&stamped.progress, Progress::Ask(ask) if ask.ask == 1);
    let line = refused(|journal| {
        let finished = |stamped: &Stamped| matches!(stamped.progress, Progress::Finished(_));
        let first = journal.events.iter().position(finished).unwrap();
        let second = journal.events.iter().position(ask).unwrap();
        journal.events.swap(first, second);
    });
    assert!(line.contains("ask 1 began before the previous one was finished"), "{line}");
    let line = refused(|journal| journal.events.retain(|stamped| !ask(stamped)));
    assert!(line.contains("ask 1 is finished but was not open"), "{line}");
    let reset = replay(&recording(&story()), &Conditions::over(link("rtt=9ms,reset=5s"), 1));
    assert!(matches!(reset, Err(ReplayError::Resets { .. })));
}

fn any_stretch() -> impl Strategy<Value = Stretch> {
    let role = prop_oneof![Just(Role::Small), Just(Role::Large)];
    (role, 1..60u32, 0..5_000u64, 0..20_000u64, 1..90_000u64, 0..9_000u64).prop_map(
        |(role, tokens, queue_us, prefill_us, decode_us, read_us)| Stretch {
            role,
            tokens,
            timing: Timing { queue_us, prefill_us, decode_us },
            read_us,
        },
    )
}

proptest! {
    #[test]
    fn the_parts_add_up_and_distance_never_helps(
        stretches in prop::collection::vec(any_stretch(), 1..8),
        seed in any::<u64>(),
    ) {
        let recording = recording(&stretches);
        for name in ["loopback", "wifi-good", "4g-median", "geo", "flaky"] {
            let replayed = replay(&recording, &Conditions::over(link(name), seed)).unwrap();
            prop_assert_eq!(parts(&replayed), replayed.time.total_us);
            let computed: u64 = stretches.iter().map(|s| s.timing.decode_us).sum();
            prop_assert!(replayed.time.total_us >= computed);
        }
        let mut before = 0;
        for rtt in ["0ms", "1ms", "10ms", "50ms", "300ms"] {
            let total_us = over(&recording, &format!("rtt={rtt}")).time.total_us;
            prop_assert!(total_us >= before, "{rtt}: {total_us} after {before}");
            before = total_us;
        }
    }
}
