//! The model of one direction, in simulated time: what always holds, and what holds in the long run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, time::Duration};

use lab::link::{Direction, LinkProfile, Links, Outage, Rate, SEGMENT_BYTES, Way, connect};
use proptest::prelude::*;

fn link(text: &str) -> LinkProfile {
    Links::shipped().unwrap().link(text).unwrap()
}

fn down(text: &str) -> Direction {
    Direction::new(&link(text), Way::Down, 7, 0)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

/// Sends a segment every `gap`; returns when each was sent and arrived.
fn arrivals(direction: &mut Direction, gap: Duration, pieces: u32) -> Vec<(Duration, Duration)> {
    (0..pieces).map(|n| (gap * n, direction.send(gap * n, SEGMENT_BYTES))).collect()
}

#[test]
fn a_round_trip_is_the_rtt_to_the_nanosecond() {
    let profile = LinkProfile { rtt: Duration::from_nanos(33_333_333), ..LinkProfile::default() };
    let [mut up, mut down] = [Way::Up, Way::Down].map(|way| Direction::new(&profile, way, 1, 0));
    let there = up.send(ms(5), 100);
    assert_eq!(down.send(there, 100), ms(5) + profile.rtt);
}

#[test]
fn a_handshake_costs_one_round_trip() {
    let profile = link("transatlantic,jitter=0ms,loss=0%");
    let [mut up, mut down] = [Way::Up, Way::Down].map(|way| Direction::new(&profile, way, 1, 0));
    assert_eq!(connect(&mut up, &mut down, ms(3)), ms(93));
}

#[test]
fn bytes_wait_behind_those_before_them() {
    // 1000 bytes take 8 ms at 1 mbit.
    let mut direction = down("rtt=20ms,down=1mbit");
    assert_eq!(direction.send(ms(0), 1000), ms(18));
    assert_eq!(direction.send(ms(0), 1000), ms(26));
    assert_eq!(direction.send(ms(10), 1000), ms(34));
    // The queue is empty again.
    assert_eq!(direction.send(ms(100), 1000), ms(118));
}

#[test]
fn the_rate_is_met_to_the_nanosecond_however_the_bytes_are_cut() {
    // 3 mbit: a byte takes 2666.67 ns.
    let mut direction = down("down=3mbit");
    let mut last = Duration::ZERO;
    for _ in 0..375_000 {
        last = direction.send(Duration::ZERO, 1);
    }
    assert_eq!(last, ms(1000));
}

#[test]
fn the_same_losses_whatever_the_jitter() {
    let passed = |text| {
        let mut direction = down(text);
        arrivals(&mut direction, ms(50), 5_000);
        direction.passed().lost
    };
    assert_eq!(passed("rtt=60ms,loss=2%"), passed("rtt=60ms,jitter=30ms,loss=2%"));
}

/// Returns how late each piece is beyond the propagation of 30 ms.
fn late(text: &str, gap: Duration, pieces: u32) -> Vec<Duration> {
    let mut direction = down(text);
    let late = |(sent, at): (Duration, Duration)| at - sent - ms(30);
    arrivals(&mut direction, gap, pieces).into_iter().map(late).collect()
}

#[test]
fn a_loss_within_a_flow_costs_a_round_trip_and_the_gap_to_the_next_piece() {
    let late = late("rtt=60ms,loss=0.1%", ms(20), 100_000);
    let stalled: Vec<Duration> = late.into_iter().filter(|late| !late.is_zero()).collect();
    // 100 segments are lost; pieces that follow within the 80 ms wait for the first of them.
    assert!((50..1000).contains(&stalled.len()), "{}", stalled.len());
    let most = stalled.iter().filter(|late| **late <= ms(80)).count();
    assert!(most * 100 >= stalled.len() * 95, "{stalled:?}");
    assert!(stalled.contains(&ms(80)));
}

#[test]
fn a_loss_with_nothing_after_it_costs_a_timeout() {
    let late = late("rtt=60ms,loss=1%", ms(10_000), 10_000);
    let stalls: Vec<Duration> = late.into_iter().filter(|late| !late.is_zero()).collect();
    assert!((50..200).contains(&stalls.len()), "{}", stalls.len());
    assert!(stalls.iter().all(|late| *late >= ms(200)));
    let plain = stalls.iter().filter(|late| **late == ms(200)).count();
    assert!(plain * 100 >= stalls.len() * 90, "{stalls:?}");
}

#[test]
fn losses_cost_stalls_and_no_throughput() {
    for (link, seconds) in [("4g-median", 600.0), ("geo", 60.0), ("flaky,outage=none", 120.0)] {
        let profile = Links::shipped().unwrap().link(link).unwrap();
        let mut direction = Direction::new(&profile, Way::Down, 2, 0);
        let bytes = profile.down.map_or(0, |rate| rate.bytes_in(Duration::from_secs_f64(seconds)));
        let mut last = ms(0);
        for _ in 0..bytes / SEGMENT_BYTES {
            last = direction.send(ms(0), SEGMENT_BYTES);
        }
        let taken = last.as_secs_f64();
        assert!(taken > seconds - 0.1 && taken < seconds * 1.02, "{link}: {taken} s for {seconds}");
    }
}

#[test]
fn losses_come_in_bursts_of_four() {
    let mut direction = down("rtt=60ms,loss=1%");
    let (mut bursts, mut before) = (0, false);
    for n in 0..300_000u64 {
        let had = direction.passed().lost;
        direction.send(ms(n), SEGMENT_BYTES);
        let lost = direction.passed().lost > had;
        bursts += u64::from(lost && !before);
        before = lost;
    }
    let mean = direction.passed().lost as f64 / bursts as f64;
    assert!((3.6..4.4).contains(&mean), "{mean}");
}

#[test]
fn nothing_arrives_in_an_outage_and_the_link_is_no_faster_after_it() {
    let profile = link("rtt=20ms,down=1mbit,outage=2s/10s");
    let mut direction = Direction::new(&profile, Way::Down, 3, 0);
    // A piece every millisecond is 1.45 ms of work each: the link is always busy.
    let times: Vec<Duration> =
        arrivals(&mut direction, ms(1), 30_000).into_iter().map(|(_, at)| at).collect();
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let outages: Vec<&Duration> = gaps.iter().filter(|gap| **gap > ms(1_000)).collect();
    // 350 s of work, 2 s of every 10 down.
    assert!(outages.len() > 30, "{}", outages.len());
    // With timeouts of 200, 400, 800, 1600 ms the link is found up 1.4 or 3 s after the first attempt.
    assert!(outages.iter().all(|gap| (ms(2_000)..=ms(3_012)).contains(*gap)), "{outages:?}");
    // A segment takes 11.584 ms, and no less when an outage left a queue.
    assert!(gaps.iter().all(|gap| *gap >= us(11_583)));
}

#[test]
fn all_connections_of_a_link_share_its_outages() {
    let profile = link("rtt=20ms,outage=5s/60s");
    let first_stall = |way, connection| {
        let mut direction = Direction::new(&profile, way, 11, connection);
        arrivals(&mut direction, ms(10), 7_000)
            .into_iter()
            .position(|(sent, at)| at > sent + ms(10))
    };
    let stall = first_stall(Way::Down, 0);
    assert!(stall.is_some());
    assert_eq!((stall, stall), (first_stall(Way::Up, 0), first_stall(Way::Down, 9)));
}

#[test]
fn jitter_is_normal_and_never_early() {
    let mut direction = down("rtt=60ms,jitter=20ms");
    let one_way = ms(20).as_secs_f64() / 2f64.sqrt();
    // So far apart that none waits for another.
    let late: Vec<f64> = arrivals(&mut direction, ms(1_000), 100_000)
        .into_iter()
        .map(|(sent, at)| (at - sent - ms(30)).as_secs_f64() / one_way)
        .collect();
    let share = |more: f64| late.iter().filter(|late| **late > more).count() as f64 / 1e5;
    assert!((share(0.0) - 0.5).abs() < 0.01, "{}", share(0.0));
    assert!((share(1.0) - 0.1587).abs() < 0.005, "{}", share(1.0));
    assert!((share(2.0) - 0.0228).abs() < 0.002, "{}", share(2.0));
    assert!(late.iter().all(|late| *late <= 6.0));
}

#[test]
fn jitter_holds_for_what_is_sent_together_whatever_its_pieces() {
    for start in 0..200 {
        // Four tokens within 6 ms: each in its own piece, or read from a socket as one.
        let (mut pieces, mut whole) = (down("rtt=60ms,jitter=20ms"), down("rtt=60ms,jitter=20ms"));
        let begin = ms(start);
        pieces.send(begin, 10);
        pieces.send(begin + ms(2), 10);
        whole.send(begin, 10);
        let last = begin + ms(6);
        assert_eq!(pieces.send(last, 10), whole.send(last, 30));
        // Later the delay has changed.
        let (next, again) = (pieces.send(begin + ms(100), 10), whole.send(begin + ms(100), 10));
        assert_eq!(next, again);
    }
    let late = |at: u64| down("rtt=60ms,jitter=20ms").send(ms(at), 1) - ms(at);
    let mut direction = down("rtt=60ms,jitter=20ms");
    let drawn: BTreeSet<Duration> =
        (0..100).map(|n| direction.send(ms(n * 100), 1) - ms(n * 100)).collect();
    assert!(drawn.len() > 30, "half are on time, the others each have their own: {}", drawn.len());
    assert_eq!(late(0), late(500), "the same seed, the same first draw");
}

#[test]
fn a_profile_made_by_hand_with_impossible_numbers_does_no_harm() {
    for loss in [f64::NAN, -1.0, 1.0, 7.0, f64::INFINITY] {
        let profile = LinkProfile {
            loss,
            outage: Some(Outage { every: ms(0), lasts: ms(5) }),
            ..LinkProfile::default()
        };
        let mut direction = Direction::new(&profile, Way::Up, 1, 1);
        for n in 0..100 {
            assert!(direction.send(ms(n), 5_000) >= ms(n));
        }
    }
}

fn any_link() -> impl Strategy<Value = LinkProfile> {
    let rate =
        proptest::option::of((1_000u64..2_000_000_000).prop_map(|bits| Rate::new(bits).ok()));
    let outage = proptest::option::of(
        (1u64..5_000, 1u64..60_000)
            .prop_map(|(lasts, up)| Outage { lasts: ms(lasts), every: ms(lasts + up) }),
    );
    (0u64..700_000, 0.0..1.0f64, rate, 0.0..0.5f64, outage).prop_map(
        |(rtt, jitter, rate, loss, outage)| LinkProfile {
            rtt: us(rtt),
            jitter: us(rtt).mul_f64(jitter),
            down: rate.flatten(),
            up: rate.flatten(),
            loss,
            outage,
            ..LinkProfile::default()
        },
    )
}

/// Gaps in microseconds, and bytes.
fn any_pieces() -> impl Strategy<Value = Vec<(u64, usize)>> {
    proptest::collection::vec((0u64..50_000, 0usize..20_000), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn it_never_reorders_and_nothing_is_there_too_early(
        profile in any_link(), pieces in any_pieces(), seed: u64, connection in 0u64..4,
    ) {
        let mut direction = Direction::new(&profile, Way::Down, seed, connection);
        let mut again = Direction::new(&profile, Way::Down, seed, connection);
        let (mut now, mut before, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
        for (gap, size) in pieces {
            now += us(gap);
            bytes += size;
            let at = direction.send(now, size);
            prop_assert!(at >= before, "reordered");
            let alone = profile.down.map_or(0.0, |rate| size as f64 * 8.0 / rate.bits_per_second() as f64);
            let floor = now + profile.rtt / 2 + Duration::from_secs_f64(alone);
            prop_assert!(at + Duration::from_nanos(2) >= floor, "{:?} before {:?}", at, floor);
            prop_assert_eq!(at, again.send(now, size), "same seed, other arrival");
            before = at;
        }
        prop_assert_eq!(direction.passed(), again.passed());
        prop_assert_eq!(direction.passed().bytes, bytes as u64);
    }

    #[test]
    fn without_any_property_it_is_the_identity(pieces in any_pieces(), seed: u64) {
        let mut direction = Direction::new(&LinkProfile::default(), Way::Up, seed, 0);
        let mut now = Duration::ZERO;
        for (gap, size) in pieces {
            now += us(gap);
            prop_assert_eq!(direction.send(now, size), now);
        }
        prop_assert_eq!(direction.passed().stalls, 0);
    }

    #[test]
    fn a_long_transfer_takes_what_the_rate_says(
        kbit in 100u64..100_000, rtt in 0u64..300, jitter in 0.0..1.0f64, seed: u64,
    ) {
        let rate = Rate::new(kbit * 1_000).unwrap();
        let (rtt, jitter) = (ms(rtt), ms(rtt).mul_f64(jitter));
        let profile = LinkProfile { rtt, jitter, down: Some(rate), ..LinkProfile::default() };
        let mut direction = Direction::new(&profile, Way::Down, seed, 0);
        let last = (0..1_000).map(|_| direction.send(ms(0), 10_000)).last().unwrap();
        let least = Duration::from_secs_f64(8e7 / (kbit as f64 * 1e3)) + rtt / 2;
        // Only the jitter of the last pieces is not made up: at most six deviations of one direction.
        prop_assert!(last + us(1) >= least && last <= least + jitter * 5, "{:?} for {:?}", last, least);
    }

    #[test]
    fn the_share_of_lost_segments_converges(loss in 0.002..0.5f64, seed: u64) {
        let profile = LinkProfile { loss, rtt: ms(10), ..LinkProfile::default() };
        let mut direction = Direction::new(&profile, Way::Up, seed, 0);
        for n in 0..500u64 {
            direction.send(ms(n), 100 * SEGMENT_BYTES);
        }
        let passed = direction.passed();
        prop_assert_eq!(passed.segments, 50_000);
        let share = passed.lost as f64 / passed.segments as f64;
        // Bursts of four: the deviation is about 2.6 times that of single losses.
        let deviation = 2.7 * (loss * (1.0 - loss) / 50_000.0).sqrt();
        prop_assert!((share - loss).abs() < 6.0 * deviation, "{} of {}", share, loss);
    }
}
