//! Rates in bits a second, parsed and printed with their unit.

use std::{fmt, str::FromStr, time::Duration};

/// The units, the largest first.
const UNITS: [(&str, u64); 4] =
    [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];
/// Below this range a link is down rather than slow; above it nothing here could keep up.
const ALLOWED: std::ops::RangeInclusive<u64> = 1_000..=1_000_000_000_000;

/// How many bits pass in a second: from 1 kbit to 1 tbit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// A text that is not a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number with kbit, mbit or gbit, from 1kbit to 1000gbit, such as 20mbit")]
pub struct NotARate;

impl Rate {
    /// Creates a rate from bits a second.
    ///
    /// # Errors
    /// When it is below 1 kbit or above 1 tbit.
    pub fn new(bits_per_second: u64) -> Result<Self, NotARate> {
        if ALLOWED.contains(&bits_per_second) { Ok(Rate(bits_per_second)) } else { Err(NotARate) }
    }

    /// Returns the rate in bits a second.
    pub fn bits_per_second(self) -> u64 {
        self.0
    }

    /// Returns how many bytes pass within a time.
    pub fn bytes_in(self, time: Duration) -> usize {
        let bytes = u128::from(self.0) * time.as_nanos() / 8_000_000_000;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let lower = text.trim().to_ascii_lowercase();
        let text = lower.strip_suffix("/s").unwrap_or(&lower);
        let unit = UNITS.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
        let (number, bits) = unit.ok_or(NotARate)?;
        let number: f64 = number.trim_end().parse().map_err(|_| NotARate)?;
        let bits = (number * bits as f64).round();
        // Also false if it is not a number.
        if bits >= *ALLOWED.start() as f64 && bits <= *ALLOWED.end() as f64 {
            Rate::new(bits as u64)
        } else {
            Err(NotARate)
        }
    }
}

impl fmt::Display for Rate {
    /// Prints the rate in the largest unit that needs at most three decimals, so that parsing it gives the same rate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |bits: u64| self.0 >= bits && self.0.is_multiple_of(bits / 1_000);
        let (unit, bits) = UNITS.into_iter().find(|(_, bits)| fits(*bits)).unwrap_or(("bit", 1));
        let decimals = format!("{:03}", self.0 % bits * 1_000 / bits);
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        write!(f, "{}{point}{decimals}{unit}", self.0 / bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_their_unit() {
        for (text, bits) in [
            ("20mbit", 20_000_000),
            ("1.25 Mbit/s", 1_250_000),
            ("10gbit", 10_000_000_000),
            ("56kbit", 56_000),
            ("1500bit", 1_500),
        ] {
            assert_eq!(text.parse(), Rate::new(bits), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in
            ["", "20", "mbit", "-1mbit", "nanmbit", "infgbit", "0mbit", "1mb", "1mbps", "2000gbit"]
        {
            assert_eq!(text.parse::<Rate>(), Err(NotARate), "{text}");
        }
    }

    #[test]
    fn a_rate_is_written_as_people_write_it() {
        for text in ["20mbit", "1.25mbit", "10gbit", "56kbit", "1.5kbit", "1000.001kbit"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()).as_deref(), Ok(text));
        }
    }
}
