//! Calibration in simulated time, where its figures are exact.
//!
//! Rates are chosen so that a ping takes whole milliseconds, because tokio's paused clock has that resolution.

use std::cell::RefCell;

use tokio::io::{DuplexStream, duplex};

use super::{
    exchange::{answer, measure},
    *,
};
use crate::link::{Clock, Counters, Links, carry};

/// Measures a link between pipes; no real time passes.
async fn simulated(link: &str, effort: Effort) -> Result<Calibration, CalibrateError> {
    let profile = Links::shipped().unwrap().link(link).unwrap();
    let clock = Clock::tokio();
    let tasks = RefCell::new(JoinSet::new());
    let connections = RefCell::new(0);
    let open = || {
        let (client, mut near) = duplex(16 * 1024);
        let (mut far, server) = duplex(16 * 1024);
        let (profile, clock) = (profile.clone(), clock.clone());
        let connection = connections.replace_with(|number| *number + 1);
        let mut tasks = tasks.borrow_mut();
        tasks.spawn(answer(server, effort));
        tasks.spawn(async move {
            let (seeds, counters) = ((3, connection), Counters::default());
            let _ = carry(&mut near, &mut far, &profile, seeds, &clock, &counters).await;
        });
        std::future::ready(io::Result::<DuplexStream>::Ok(client))
    };
    measure(open, &profile, effort).await
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn effort(pings: usize) -> Effort {
    let transfer_time = Duration::from_secs(20);
    Effort {
        pings,
        ping_time: Duration::from_secs(100_000),
        transfer_time,
        transfer_bytes: 8 << 20,
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_link_gives_what_was_asked() {
    // A ping of 64 bytes takes 1 ms up and 2 ms down.
    let measured = simulated("rtt=20ms,down=256kbit,up=512kbit", effort(100)).await.unwrap();
    let rtt = ms(20 + 1 + 2);
    let round_trips = RoundTrips { pings: 100, least: rtt, median: rtt, p95: rtt, most: rtt };
    assert_eq!(measured.rtt, round_trips);
    assert_eq!(measured.first_answer, ms(20) + rtt);
    assert_eq!(measured.stalls.share, 1.0, "3 ms of work are more than the slack");
    let (down, up) = (measured.down_mbit.unwrap(), measured.up_mbit.unwrap());
    assert!((down / 0.256 - 1.0).abs() < 0.005, "{down}");
    assert!((up / 0.512 - 1.0).abs() < 0.005, "{up}");
}

#[tokio::test(start_paused = true)]
async fn jitter_moves_the_median_little_and_the_p95_as_two_directions_do() {
    let measured = simulated("rtt=100ms,jitter=20ms", effort(5_000)).await.unwrap();
    assert_eq!(measured.rtt.least, ms(100));
    // Each direction adds a normal time with a deviation of 14.1 ms, cut off at zero: the sum's median is 8.4 ms, its
    // p95 34 ms.
    let (median, p95) = (measured.rtt.median, measured.rtt.p95);
    assert!(median >= ms(107) && median <= ms(111), "{median:?}");
    assert!(p95 >= ms(131) && p95 <= ms(135), "{p95:?}");
    assert!(measured.stalls.share < 0.002, "{:?}", measured.stalls);
}

#[tokio::test(start_paused = true)]
async fn losses_are_stalls_of_a_timeout_for_whoever_waits_for_an_answer() {
    let measured = simulated("rtt=60ms,loss=2%", effort(5_000)).await.unwrap();
    assert_eq!(measured.rtt.median, ms(60));
    // Loss in either direction: 4 %, less the bursts that hit both. Nothing follows a ping, so only timeouts reveal a
    // loss.
    let share = measured.stalls.share;
    assert!((0.025..0.050).contains(&share), "{share}");
    assert_eq!(measured.stalls.median, ms(200));
    assert!(measured.stalls.longest >= ms(400));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_a_long_stall() {
    let measured = simulated("rtt=60ms,outage=5s/60s", effort(10_000)).await.unwrap();
    let longest = measured.stalls.longest;
    assert!(longest >= ms(4_900) && longest <= ms(6_400), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_resets_is_measured_over_several_connections() {
    let measured = simulated("rtt=50ms,reset=2s", effort(100)).await.unwrap();
    assert_eq!((measured.rtt.pings, measured.rtt.median), (100, ms(50)));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_never_comes_up_is_told() {
    let told = simulated("rtt=50ms,reset=60ms", effort(100)).await.unwrap_err().to_string();
    assert!(told.starts_with("link rtt=50ms,reset=60ms: the connection broke"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn the_table_has_a_row_for_each_link() {
    let one = simulated("rtt=20ms,down=256kbit,up=512kbit", effort(10)).await.unwrap();
    let two = simulated("rtt=100ms", effort(10)).await.unwrap();
    let table = table(&[one, two]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4);
    let columns = |line: &str| line.matches(" |").count();
    assert!(lines.iter().all(|line| columns(line) == columns(lines[0])), "{table}");
    let first = "| rtt=20ms,down=256kbit,up=512kbit | 20.00 | 23.00 | 23.00 | 23.00 | 43.00 | 256kbit | 0.26 |";
    assert!(lines[2].starts_with(first), "{table}");
    assert!(lines[3].contains("| none of 10 | - | - |"), "{table}");
}

#[tokio::test(start_paused = true)]
async fn losses_over_a_long_round_trip_fill_the_window() {
    for (link, mbit) in [("geo,loss=0%", 19.8..20.2), ("geo", 12.0..16.0), ("4g-median", 1.8..1.95)]
    {
        let measured = simulated(link, effort(3)).await.unwrap().down_mbit.unwrap();
        assert!(mbit.contains(&measured), "{link}: {measured}");
    }
}
