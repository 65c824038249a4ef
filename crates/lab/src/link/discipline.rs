//! A profile in the words of the kernel's netem. Pure: what is run with them is elsewhere (`netem`).

use std::{f64::consts::FRAC_1_SQRT_2, fmt::Write as _, time::Duration};

use super::{
    LinkProfile, SEGMENT_BYTES, Way,
    pump::window_bytes,
    shaper::{Draws, Jitter},
};

/// What our distribution of delays is called.
pub(super) const DELAYS: &str = "specthink";
/// A deviation in the tables of netem, and how many values they may have.
const DEVIATION: u64 = 8192;
const VALUES: usize = 4096;
/// Stands in for no limit: with a rate netem lets no packet overtake another.
const UNLIMITED: u64 = 1_000_000_000_000;

/// What netem does with the packets of one way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Discipline {
    delay: Duration,
    /// Its deviation, before it is cut off at none.
    jitter: Duration,
    bits_per_second: u64,
    loss: f64,
    packets: usize,
}

impl Discipline {
    pub(super) fn new(profile: &LinkProfile, way: Way) -> Discipline {
        let half = profile.rtt / 2;
        Discipline {
            delay: if way == Way::Down { half } else { profile.rtt - half },
            jitter: profile.jitter.mul_f64(FRAC_1_SQRT_2),
            bits_per_second: profile.rate(way).map_or(UNLIMITED, super::Rate::bits_per_second),
            loss: profile.loss,
            packets: window_bytes(profile, way).div_ceil(SEGMENT_BYTES),
        }
    }

    /// As `tc` reads it; a link that is not up loses everything.
    pub(super) fn arguments(&self, up: bool) -> String {
        let us = |time: Duration| time.as_nanos() as f64 / 1e3;
        let mut text = format!("limit {} delay {}us", self.packets, us(self.delay));
        // Writing to a text cannot fail.
        if !self.jitter.is_zero() {
            let _ = write!(text, " {}us distribution {DELAYS}", us(self.jitter));
        }
        if !up {
            text.push_str(" loss 100%");
        } else if self.loss > 0.0 {
            // Each for itself: netem's bursts are so many packets, however far apart, and would lose the
            // retransmissions of a thin stream for seconds.
            let _ = write!(text, " loss {}%", (self.loss * 1e8).round() / 1e6);
        }
        let _ = write!(text, " rate {}bit", self.bits_per_second);
        text
    }
}

/// The distribution of delays as netem's tables are written: how many deviations a packet is late, drawn as for
/// the proxy.
pub(super) fn delays() -> String {
    let mut jitter = Jitter::new(Duration::from_nanos(DEVIATION), Draws::new(0));
    // What netem keeps in 16 bits.
    let late = |_| jitter.draw().as_nanos().min(u128::from(4 * DEVIATION - 1));
    (0..VALUES).map(late).map(|value| format!("{value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Links;

    #[test]
    fn a_profile_is_said_in_netems_words() {
        let table = [
            ("loopback", Way::Up, "limit 11587 delay 0us rate 1000000000000bit"),
            (
                "rtt=90ms,jitter=10ms,down=100mbit,up=20mbit",
                Way::Up,
                "limit 329 delay 45000us 7071.068us distribution specthink rate 20000000bit",
            ),
            ("rtt=1ms,down=1mbit", Way::Down, "limit 46 delay 500us rate 1000000bit"),
            (
                "rtt=1ms,up=1mbit,loss=0.7%",
                Way::Up,
                "limit 46 delay 500us loss 0.7% rate 1000000bit",
            ),
        ];
        let links = Links::shipped().unwrap();
        for (link, way, words) in table {
            let discipline = Discipline::new(&links.link(link).unwrap(), way);
            assert_eq!(discipline.arguments(true), words, "{link}");
        }
        let lossy = Discipline::new(&links.link("rtt=1ms,loss=20%").unwrap(), Way::Down);
        assert!(lossy.arguments(false).contains(" loss 100% rate "), "{lossy:?}");
    }

    #[test]
    fn half_of_the_packets_are_on_time_and_the_rest_as_late_as_the_models() {
        let delays: Vec<i64> = delays().lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(delays.len(), VALUES);
        let share = |least: i64| {
            delays.iter().filter(|delay| **delay >= least).count() as f64 / VALUES as f64
        };
        assert!(delays.iter().all(|delay| (0..32_768).contains(delay)));
        // Of a normal distribution: above its mean, and above its deviation.
        assert!((share(1) - 0.5).abs() < 0.03, "{}", share(1));
        assert!((share(8192) - 0.159).abs() < 0.02, "{}", share(8192));
    }
}
