//! Translates a profile into the arguments of the kernel's netem. Pure: `netem` runs the commands.

use std::time::Duration;

use super::{
    LinkProfile, SEGMENT_BYTES, Way,
    pump::window_bytes,
    shaper::{Draws, Jitter},
};

/// The file with our distribution of delays, and the argument that selects it.
pub(super) const DELAYS: &str = "specthink.dist";
const DISTRIBUTION: &str = " distribution specthink";
/// One standard deviation in netem's tables, and the largest number of values in a table.
const DEVIATION: u64 = 8192;
const VALUES: usize = 4096;
/// Represents "no limit": with a rate set, netem lets no packet overtake another.
const UNLIMITED: u64 = 1_000_000_000_000;

/// What netem does to the packets of one direction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Discipline {
    delay: Duration,
    /// Its standard deviation, before negative values are cut off.
    jitter: Duration,
    bits_per_second: u64,
    loss: f64,
    packets: usize,
}

impl Discipline {
    pub(super) fn new(profile: &LinkProfile, way: Way) -> Discipline {
        let segments = |way| window_bytes(profile, way).div_ceil(SEGMENT_BYTES);
        let other = if way == Way::Down { Way::Up } else { Way::Down };
        Discipline {
            delay: profile.delay(way),
            jitter: profile.jitter_one_way(),
            bits_per_second: profile.rate(way).map_or(UNLIMITED, super::Rate::bits_per_second),
            loss: profile.loss,
            // The acknowledgements of the other direction count as well: one for two segments.
            packets: segments(way) + segments(other) / 2,
        }
    }

    /// Returns the arguments for `tc` to set netem up.
    pub(super) fn begin(&self) -> String {
        let late = if self.jitter.is_zero() { "" } else { DISTRIBUTION };
        self.arguments(late, true)
    }

    /// Returns the arguments for `tc` to change netem, which keeps its distribution. A link that is down loses
    /// everything.
    pub(super) fn change(&self, up: bool) -> String {
        self.arguments("", up)
    }

    fn arguments(&self, distribution: &str, up: bool) -> String {
        let us = |time: Duration| time.as_nanos() as f64 / 1e3;
        let (delay, jitter) = (us(self.delay), us(self.jitter));
        // Independent losses: netem's bursts count packets, however far apart they are, and would lose the
        // retransmissions of a sparse stream for seconds.
        let percent = if up { (self.loss * 1e8).round() / 1e6 } else { 100.0 };
        let (packets, rate) = (self.packets, self.bits_per_second);
        format!(
            "limit {packets} delay {delay}us {jitter}us{distribution} loss {percent}% rate {rate}bit"
        )
    }
}

/// Returns the distribution of delays in the format of netem's tables: how many deviations a packet is late, drawn as
/// in the proxy.
pub(super) fn delays() -> String {
    let mut jitter = Jitter::new(Duration::from_nanos(DEVIATION), Draws::new(0));
    // netem keeps these values in 16 bits.
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
            ("loopback", Way::Up, "limit 17380 delay 0us 0us loss 0% rate 1000000000000bit"),
            (
                "rtt=90ms,jitter=10ms,down=100mbit,up=20mbit",
                Way::Up,
                "limit 1149 delay 45000us 7071.068us distribution specthink loss 0% rate 20000000bit",
            ),
            (
                "rtt=1ms,down=1mbit,up=1mbit",
                Way::Down,
                "limit 69 delay 500us 0us loss 0% rate 1000000bit",
            ),
            (
                "rtt=1ms,down=1mbit,up=2mbit,loss=0.7%",
                Way::Up,
                "limit 69 delay 500us 0us loss 0.7% rate 2000000bit",
            ),
        ];
        let links = Links::shipped().unwrap();
        for (link, way, words) in table {
            let discipline = Discipline::new(&links.link(link).unwrap(), way);
            assert_eq!(discipline.begin(), words, "{link}");
            assert_eq!(discipline.change(true), words.replace(DISTRIBUTION, ""), "{link}");
            assert!(discipline.change(false).contains(" loss 100% rate "), "{link}");
        }
    }

    #[test]
    fn half_of_the_packets_are_on_time_and_the_rest_as_late_as_the_models() {
        let delays: Vec<i64> = delays().lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(delays.len(), VALUES);
        let share = |least: i64| {
            delays.iter().filter(|delay| **delay >= least).count() as f64 / VALUES as f64
        };
        assert!(delays.iter().all(|delay| (0..32_768).contains(delay)));
        // In a normal distribution: the fraction above its mean, and above its deviation.
        assert!((share(1) - 0.5).abs() < 0.03, "{}", share(1));
        assert!((share(8192) - 0.159).abs() < 0.02, "{}", share(8192));
    }
}
