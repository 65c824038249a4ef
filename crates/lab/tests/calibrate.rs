//! Calibration over real sockets on loopback. A busy machine must not make a test fail: nothing may be faster than
//! requested, but slowness is not judged. Exact figures are tested in simulated time, next to the code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use lab::{
    calibrate::{Effort, calibrate},
    link::{Links, Shaping},
};
use tokio::time::timeout;

#[tokio::test]
async fn a_link_is_never_better_than_asked() {
    let effort = Effort {
        pings: 20,
        ping_time: Duration::from_secs(2),
        transfer_time: Duration::from_millis(400),
        transfer_bytes: 4 << 20,
    };
    let profile = Links::shipped().unwrap().link("rtt=20ms,down=20mbit,up=20mbit").unwrap();
    let measured = timeout(Duration::from_secs(60), calibrate(Shaping::Proxy, &profile, 1, effort))
        .await
        .unwrap()
        .unwrap();
    assert!(measured.rtt.least >= Duration::from_millis(20), "{measured:?}");
    assert!(measured.first_answer >= Duration::from_millis(40), "{measured:?}");
    for rate in [measured.down_mbit, measured.up_mbit] {
        // The first bytes, from which time is measured, may have arrived late, which makes the rest look faster.
        assert!(rate.is_some_and(|rate| rate < 40.0), "{measured:?}");
    }
}
