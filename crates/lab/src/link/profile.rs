//! One link's profile: its properties, how they are parsed and printed, and which combinations are impossible.
//!
//! Names and files of profiles are in `catalogue`; the effect of a property is in `shaper`.

use std::{f64::consts::FRAC_1_SQRT_2, fmt, time::Duration};

use thinking::names::nearest;

use super::{LinkFault, Rate};

/// Half of all segments: a stream that loses more makes no progress worth measuring.
const MAX_LOSS_PERCENT: f64 = 50.0;
const MAX_RTT: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const KEYS: [&str; 7] = ["rtt", "jitter", "down", "up", "loss", "outage", "reset"];

/// The properties of a link. The default is no link at all: no delay, no limit, no loss.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LinkProfile {
    /// A profile's name, or the description that it was parsed from.
    pub name: String,
    /// The shortest time of a round trip.
    pub rtt: Duration,
    /// The standard deviation of the extra time of a round trip, before negative values are cut off.
    pub jitter: Duration,
    /// The payload rate towards the client; absent: unlimited.
    pub down: Option<Rate>,
    /// The payload rate from the client; absent: unlimited.
    pub up: Option<Rate>,
    /// The fraction of lost segments, 0 to 0.5.
    pub loss: f64,
    /// When nothing passes.
    pub outage: Option<Outage>,
    /// The age at which a connection is reset; absent: never.
    pub reset: Option<Duration>,
    /// Where the figures come from, in plain words.
    pub basis: String,
}

/// Recurring times when a link is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// From the start of one outage to the start of the next.
    pub every: Duration,
    /// How long one lasts; less than `every`.
    pub lasts: Duration,
}

/// The direction of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the client, the end that connects.
    Down,
    /// From the client.
    Up,
}

impl LinkProfile {
    /// Returns the rate in one direction.
    pub fn rate(&self, way: Way) -> Option<Rate> {
        match way {
            Way::Down => self.down,
            Way::Up => self.up,
        }
    }

    /// Returns the shortest time in one direction: half of a round trip.
    pub(super) fn delay(&self, way: Way) -> Duration {
        let half = self.rtt / 2;
        match way {
            Way::Down => half,
            Way::Up => self.rtt - half,
        }
    }

    /// Returns the deviation in one direction, so that both directions together have the deviation of the round trip.
    pub(super) fn jitter_one_way(&self) -> Duration {
        self.jitter.mul_f64(FRAC_1_SQRT_2)
    }

    /// Returns whether the link has no delay, no limit and no loss, like loopback.
    pub fn is_unlimited(&self) -> bool {
        let LinkProfile { name, basis, .. } = self;
        *self == LinkProfile { name: name.clone(), basis: basis.clone(), ..Self::default() }
    }

    /// Changes properties one by one, each at most once, then checks them together.
    pub(super) fn with<'a>(
        mut self,
        properties: impl Iterator<Item = Result<(&'a str, &'a str), LinkFault>>,
    ) -> Result<Self, LinkFault> {
        let mut seen: Vec<&'static str> = Vec::new();
        for property in properties {
            let (key, value) = property?;
            let key = known(key)?;
            if seen.contains(&key) {
                return Err(LinkFault::Twice { key });
            }
            seen.push(key);
            self.set(key, value)?;
        }
        self.checked()
    }

    fn set(&mut self, key: &'static str, value: &str) -> Result<(), LinkFault> {
        match key {
            "rtt" => self.rtt = delay(key, value)?,
            "jitter" => self.jitter = delay(key, value)?,
            "down" => self.down = rate(key, value)?,
            "up" => self.up = rate(key, value)?,
            "loss" => self.loss = loss(key, value)?,
            "outage" => self.outage = outage(key, value)?,
            _ => self.reset = reset(key, value)?,
        }
        Ok(())
    }

    fn checked(self) -> Result<Self, LinkFault> {
        if self.jitter > self.rtt {
            let [jitter, rtt] = [self.jitter, self.rtt].map(shown);
            return Err(LinkFault::JitterAboveRtt { jitter, rtt });
        }
        Ok(self)
    }
}

impl fmt::Display for LinkProfile {
    /// Prints a description that has the same properties when it is parsed again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rtt={}", shown(self.rtt))?;
        if !self.jitter.is_zero() {
            write!(f, ",jitter={}", shown(self.jitter))?;
        }
        for (key, rate) in [("down", self.down), ("up", self.up)] {
            if let Some(rate) = rate {
                write!(f, ",{key}={rate}")?;
            }
        }
        if self.loss > 0.0 {
            // In millionths of a percent, to hide the rounding of binary fractions.
            write!(f, ",loss={}%", (self.loss * 1e8).round() / 1e6)?;
        }
        if let Some(outage) = self.outage {
            write!(f, ",outage={outage}")?;
        }
        match self.reset {
            Some(reset) => write!(f, ",reset={}", shown(reset)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", shown(self.lasts), shown(self.every))
    }
}

/// Formats a time without spaces, at which a shell would split it.
fn shown(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

fn known(key: &str) -> Result<&'static str, LinkFault> {
    match KEYS.iter().find(|known| **known == key) {
        Some(key) => Ok(key),
        None => Err(LinkFault::UnknownKey { key: key.to_owned(), nearest: nearest(key, &KEYS) }),
    }
}

fn bad(key: &'static str, value: &str, must_be: &str) -> LinkFault {
    LinkFault::BadValue { key, value: value.to_owned(), must_be: must_be.to_owned() }
}

fn delay(key: &'static str, value: &str) -> Result<Duration, LinkFault> {
    match humantime::parse_duration(value) {
        Ok(delay) if delay <= MAX_RTT => Ok(delay),
        _ => Err(bad(key, value, "a time from 0s to 1m in whole numbers, such as 90ms or 500us")),
    }
}

fn rate(key: &'static str, value: &str) -> Result<Option<Rate>, LinkFault> {
    if value == "unlimited" {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|why| LinkFault::not_a_rate(key, value, why))
}

fn loss(key: &'static str, value: &str) -> Result<f64, LinkFault> {
    let percent = value.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent {
        // Also false if it is not a number.
        Some(percent) if (0.0..=MAX_LOSS_PERCENT).contains(&percent) => Ok(percent / 100.0),
        Some(percent) if percent > MAX_LOSS_PERCENT => {
            let must_be = "at most 50%, beyond which a stream stands still, or an outage=5s/60s";
            Err(bad(key, value, must_be))
        }
        _ => Err(bad(key, value, "a percentage from 0% to 50%, such as 0.5%")),
    }
}

fn outage(key: &'static str, value: &str) -> Result<Option<Outage>, LinkFault> {
    if value == "none" {
        return Ok(None);
    }
    let time = |text: &str| {
        let time = humantime::parse_duration(text).ok()?;
        (time > Duration::ZERO && time <= DAY).then_some(time)
    };
    let parts = value.split_once('/').map(|(lasts, every)| (time(lasts), time(every)));
    let Some((Some(lasts), Some(every))) = parts else {
        let must_be =
            "how long it lasts and how often it comes, up to a day, such as 5s/60s, or none";
        return Err(bad(key, value, must_be));
    };
    if lasts >= every {
        return Err(LinkFault::NeverUp { outage: value.to_owned() });
    }
    Ok(Some(Outage { every, lasts }))
}

fn reset(key: &'static str, value: &str) -> Result<Option<Duration>, LinkFault> {
    if value == "none" {
        return Ok(None);
    }
    match humantime::parse_duration(value) {
        Ok(age) if age > Duration::ZERO && age <= DAY => Ok(Some(age)),
        _ => Err(bad(key, value, "the age at which a connection is reset, such as 45s, or none")),
    }
}
