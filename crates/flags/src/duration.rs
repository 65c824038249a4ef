//! The syntax of every flag that takes a time. Times inside a description, such as a link's `rtt=90ms` or a target's
//! `latency<=8s`, always need a unit and are read by `humantime` directly.

use std::time::Duration;

/// A flag's value that is not a valid time. One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDuration {
    /// Not a time, or more than a [`Duration`] can hold.
    #[error("write a time such as 500ms, 90s, 2m or 1h")]
    NotATime,
    /// Zero, which is not allowed.
    #[error("write a time above zero, such as 500ms, 90s, 2m or 1h")]
    Zero,
}

/// Reads a time as `humantime` does: `500ms`, `90s`, `1.5m`, `1h 30m`. A number without a unit means seconds: `90`,
/// `0.5`.
///
/// # Errors
/// [`BadDuration::NotATime`].
pub fn duration(text: &str) -> Result<Duration, BadDuration> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let read = if text.chars().all(is_number) {
        text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    } else if text.starts_with('.') {
        humantime::parse_duration(&format!("0{text}")).ok()
    } else {
        humantime::parse_duration(text).ok()
    };
    read.ok_or(BadDuration::NotATime)
}

/// Reads a time as [`duration`] does, but refuses zero.
///
/// # Errors
/// Both of [`BadDuration`].
pub fn positive_duration(text: &str) -> Result<Duration, BadDuration> {
    match duration(text)? {
        Duration::ZERO => Err(BadDuration::Zero),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_with_their_unit_and_numbers_as_seconds() {
        for (text, millis) in [
            ("90", 90_000),
            ("0.5", 500),
            (".5", 500),
            ("1.5m", 90_000),
            (".5s", 500),
            ("500ms", 500),
            ("2min", 120_000),
            ("1h 30m", 5_400_000),
            ("1m30s", 90_000),
            ("1d", 86_400_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in
            ["", ".", "-1s", "-1", "s", "1.2.3", "soon", "1e3", "inf", "99999999999999999999h"]
        {
            assert_eq!(duration(wrong), Err(BadDuration::NotATime), "{wrong}");
            assert_eq!(positive_duration(wrong), Err(BadDuration::NotATime), "{wrong}");
        }
        for zero in ["0", "0s", "0.0", "0ms"] {
            assert_eq!(positive_duration(zero), Err(BadDuration::Zero), "{zero}");
        }
    }

    proptest! {
        #[test]
        fn a_time_as_it_is_shown_is_read_again(seconds in 1..=u64::from(u32::MAX), nanos in 0..1_000_000_000u32) {
            let time = Duration::new(seconds, nanos);
            let shown = humantime::format_duration(time).to_string();
            prop_assert_eq!(positive_duration(&shown), Ok(time));
        }
    }
}
