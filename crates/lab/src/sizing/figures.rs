//! The results of a simulation: percentiles, utilisation and cost.
//!
//! Their wording is up to the command `specthink-lab`.

use std::{fmt, str::FromStr, time::Duration};

use grading::quantile::quantile;

use super::simulation::Tally;

/// Percentiles by nearest rank, and the mean, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// The mean.
    pub mean_s: f64,
    /// The median.
    pub median_s: f64,
    /// The 95th percentile.
    pub p95_s: f64,
    /// The 99th percentile.
    pub p99_s: f64,
}

impl Percentiles {
    /// Returns `None` if there are no values.
    pub(super) fn of(mut seconds: Vec<f32>) -> Option<Percentiles> {
        seconds.sort_unstable_by(f32::total_cmp);
        let at = |share| quantile(&seconds, share).map(f64::from);
        let sum: f64 = seconds.iter().copied().map(f64::from).sum();
        let mean_s = sum / seconds.len() as f64;
        Some(Percentiles { mean_s, median_s: at(0.5)?, p95_s: at(0.95)?, p99_s: at(0.99)? })
    }
}

/// The results of a fleet with a population.
#[derive(Debug, Clone, PartialEq)]
pub struct SizingFigures {
    /// The number of answers behind the figures.
    pub answers: usize,
    /// Whole answers, from the question on.
    pub answer: Percentiles,
    /// From an ask of the large model to its first text, as the user sees it; absent if it was never asked.
    pub first_text: Option<Percentiles>,
    /// How much longer that is than on a node that does nothing else.
    pub wait: Option<Percentiles>,
    /// The fraction of time in which the large nodes compute, from 0 to 1.
    pub utilisation: f64,
    /// The same for the small nodes, if they are shared.
    pub small_utilisation: Option<f64>,
    /// How many sessions a large node writes at a time, while it writes.
    pub sessions: f64,
    /// Answers that took longer than their deadline: they would have been cut off.
    pub cut_off: usize,
    /// The average cost of an answer's tokens.
    pub cost: f64,
}

impl SizingFigures {
    /// Returns `None` if nothing was answered. `nodes` are the numbers of small nodes, if they are shared, and of large
    /// ones.
    pub(super) fn new(tally: Tally, nodes: [Option<u32>; 2]) -> Option<SizingFigures> {
        let Tally { answers_s, first_texts_s, waits_s, cut_off, cost, usage, window_s } = tally;
        let answers = answers_s.len();
        let part = |role: usize| {
            let nodes = nodes[role].map(|nodes| f64::from(nodes) * window_s)?;
            // The sums are rounded.
            Some((usage[role].busy_s / nodes).clamp(0.0, 1.0))
        };
        Some(SizingFigures {
            answers,
            answer: Percentiles::of(answers_s)?,
            first_text: Percentiles::of(first_texts_s),
            wait: Percentiles::of(waits_s),
            utilisation: part(1).filter(|part| part.is_finite()).unwrap_or(0.0),
            small_utilisation: part(0).filter(|part| part.is_finite()),
            sessions: usage[1].session_s / usage[1].writing_s.max(f64::MIN_POSITIVE),
            cut_off,
            cost: cost / answers as f64,
        })
    }

    /// Returns whether a target is kept.
    pub fn keeps(&self, target: &SizingTarget) -> bool {
        match target {
            SizingTarget::Latency(most) => self.answer.p95_s <= most.as_secs_f64(),
            SizingTarget::Takeover(most) => {
                self.first_text.is_none_or(|first_text| first_text.p95_s <= most.as_secs_f64())
            }
        }
    }
}

/// A target for the nodes, at p95.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizingTarget {
    /// Whole answers take at most this long.
    Latency(Duration),
    /// The first text after an ask of the large model takes at most this long.
    Takeover(Duration),
}

/// A target that cannot be parsed. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target {0:?}: write latency<=8s or takeover<=500ms, with a time above zero")]
pub struct BadSizingTarget(String);

impl FromStr for SizingTarget {
    type Err = BadSizingTarget;

    fn from_str(text: &str) -> Result<SizingTarget, BadSizingTarget> {
        let bad = || BadSizingTarget(text.to_owned());
        let (what, most) = text.split_once("<=").ok_or_else(bad)?;
        let most = humantime::parse_duration(most.trim()).map_err(|_| bad())?;
        match what.trim() {
            _ if most.is_zero() => Err(bad()),
            "latency" => Ok(SizingTarget::Latency(most)),
            "takeover" => Ok(SizingTarget::Takeover(most)),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for SizingTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, most) = match self {
            SizingTarget::Latency(most) => ("latency", most),
            SizingTarget::Takeover(most) => ("takeover", most),
        };
        write!(f, "{what}<={}", humantime::format_duration(*most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_shown() {
        let table = [
            ("latency<=8s", SizingTarget::Latency(Duration::from_secs(8))),
            (" takeover <= 500ms", SizingTarget::Takeover(Duration::from_millis(500))),
        ];
        for (text, target) in table {
            assert_eq!(text.parse(), Ok(target), "{text}");
            assert_eq!(target.to_string().parse(), Ok(target), "{target}");
        }
        for text in
            ["", "latency", "latency<=", "latency<=0s", "latency<=8", "share<=1s", "latency>=1s"]
        {
            let line = text.parse::<SizingTarget>().unwrap_err().to_string();
            assert!(line.contains("takeover<=500ms"), "{text}: {line}");
        }
    }
}
