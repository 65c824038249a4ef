//! How fast a node computes, depending on how many sessions it writes at a time: a file with at least two measured
//! figures.
//!
//! How the figures are measured is described elsewhere; how work waits for other work is in [`super::processor`].

use std::{fs, path::Path};

use serde::Deserialize;

/// How many tokens a turn's prefill has unless the file specifies it: the engine's value.
const CHUNK_TOKENS: u32 = 128;

/// How fast a node computes. Validated: see [`SpeedCurve::parse`].
#[derive(Debug, Clone, PartialEq)]
pub struct SpeedCurve {
    prefill_tokens_per_s: f64,
    prefill_chunk_tokens: f64,
    /// The number of sessions, and how long one token of each takes when they are computed together.
    steps: Vec<(f64, f64)>,
}

/// The format of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CurveFile {
    prefill_tokens_per_s: f64,
    #[serde(default = "chunk_tokens")]
    prefill_chunk_tokens: u32,
    decode: Vec<DecodeFigure>,
}

/// A measured figure.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DecodeFigure {
    /// How many sessions write at a time.
    sessions: u32,
    /// How many tokens they make together.
    tokens_per_s: f64,
}

fn chunk_tokens() -> u32 {
    CHUNK_TOKENS
}

/// A curve that cannot be used, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot use the speeds {path}: {why}; docs/sizing.md shows such a file and how it is measured"
)]
pub struct SpeedCurveError {
    path: String,
    why: String,
}

impl SpeedCurve {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, and as [`SpeedCurve::parse`].
    pub fn read(path: &Path) -> Result<SpeedCurve, SpeedCurveError> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|why| SpeedCurveError { path: shown.clone(), why: why.to_string() })?;
        SpeedCurve::parse(&shown, &text)
    }

    /// Parses the text of a file. `path` is for messages.
    ///
    /// # Errors
    /// When a field is missing or unknown; when there are fewer than two figures, the first is not for one session, or
    /// the numbers of sessions do not rise; when more sessions make fewer tokens together, or each of them makes more.
    pub fn parse(path: &str, text: &str) -> Result<SpeedCurve, SpeedCurveError> {
        let bad = |why: String| SpeedCurveError { path: path.to_owned(), why };
        let file: CurveFile =
            toml::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
                bad(error.message().split_whitespace().collect::<Vec<_>>().join(" "))
            })?;
        file.check().map_err(bad)?;
        let step = |figure: &DecodeFigure| {
            let sessions = f64::from(figure.sessions);
            (sessions, sessions / figure.tokens_per_s)
        };
        Ok(SpeedCurve {
            prefill_tokens_per_s: file.prefill_tokens_per_s,
            prefill_chunk_tokens: f64::from(file.prefill_chunk_tokens),
            steps: file.decode.iter().map(step).collect(),
        })
    }

    /// Returns how many tokens it reads in a second when it does nothing else.
    pub fn prefill_tokens_per_s(&self) -> f64 {
        self.prefill_tokens_per_s
    }

    /// Returns the most tokens that it reads between two steps of writing.
    pub fn prefill_chunk_tokens(&self) -> f64 {
        self.prefill_chunk_tokens
    }

    /// Returns how long one token takes in seconds when this many sessions write. Interpolates linearly between the
    /// figures; beyond the last one, more sessions make no more tokens together.
    pub fn step_s(&self, sessions: u32) -> f64 {
        let sessions = f64::from(sessions);
        let next = self.steps.partition_point(|(at, _)| *at < sessions);
        match (next.checked_sub(1).and_then(|before| self.steps.get(before)), self.steps.get(next))
        {
            (Some((from, shorter)), Some((to, longer))) => {
                shorter + (longer - shorter) * (sessions - from) / (to - from)
            }
            (None, Some((_, first))) => *first,
            (Some((last, step)), None) => step * sessions / last,
            (None, None) => 0.0,
        }
    }

    /// Returns the most tokens that it writes in a second, over all sessions.
    pub fn most_tokens_per_s(&self) -> f64 {
        self.steps.last().map_or(0.0, |(sessions, step)| sessions / step)
    }
}

impl CurveFile {
    /// Returns what is wrong with the file.
    fn check(&self) -> Result<(), String> {
        let speeds = self.decode.iter().map(|figure| ("tokens_per_s", figure.tokens_per_s));
        for (name, speed) in speeds.chain([("prefill_tokens_per_s", self.prefill_tokens_per_s)]) {
            if !(speed.is_finite() && speed > 0.0) {
                return Err(format!("{name} is {speed}, but a speed must be a number above 0"));
            }
        }
        if self.prefill_chunk_tokens == 0 {
            return Err("prefill_chunk_tokens is 0, but a chunk needs tokens".to_owned());
        }
        if self.decode.len() < 2 {
            let count = self.decode.len();
            return Err(format!(
                "it has {count} [[decode]], but at least two are needed to show how speed changes with sessions"
            ));
        }
        let first = self.decode.first().map_or(0, |figure| figure.sessions);
        if first != 1 {
            return Err(format!(
                "its first [[decode]] is for {first} sessions: begin with sessions = 1"
            ));
        }
        for pair in self.decode.windows(2) {
            let [fewer, more] = pair else { continue };
            let (few, many) = (fewer.sessions, more.sessions);
            if many <= few {
                return Err(format!("{many} sessions come after {few}: give them in rising order"));
            }
            if more.tokens_per_s < fewer.tokens_per_s {
                return Err(format!(
                    "{many} sessions make fewer tokens together than {few}, {} a second and {}: leave out the larger \
                     batch, or measure for longer",
                    more.tokens_per_s, fewer.tokens_per_s
                ));
            }
            let each = |figure: &DecodeFigure| figure.tokens_per_s / f64::from(figure.sessions);
            if each(more) > each(fewer) * 1.000_001 {
                return Err(format!(
                    "each of {many} sessions is faster than each of {few}: tokens_per_s is the sum over all sessions, \
                     so measure again"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn curve(figures: &[(u32, f64)]) -> Result<SpeedCurve, SpeedCurveError> {
        let decode = figures.iter().map(|(sessions, speed)| {
            format!("[[decode]]\nsessions = {sessions}\ntokens_per_s = {speed}\n")
        });
        let text = format!("prefill_tokens_per_s = 1000\n{}", decode.collect::<String>());
        SpeedCurve::parse("c.toml", &text)
    }

    #[test]
    fn a_step_is_on_the_line_between_the_figures() {
        let curve = curve(&[(1, 50.0), (5, 125.0)]).unwrap();
        let steps: Vec<f64> = [1, 2, 3, 5, 10].map(|n| (curve.step_s(n) * 1e3).round()).to_vec();
        assert_eq!(steps, [20.0, 25.0, 30.0, 40.0, 80.0]);
        assert_eq!(curve.most_tokens_per_s(), 125.0);
        assert_eq!(curve.prefill_chunk_tokens(), 128.0);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_one_line_with_its_fault() {
        let table = [
            (curve(&[]), "missing field `decode`"),
            (curve(&[(1, 50.0)]), "it has 1 [[decode]]"),
            (curve(&[(2, 50.0), (4, 80.0)]), "begin with sessions = 1"),
            (curve(&[(1, 50.0), (8, 40.0)]), "8 sessions make fewer tokens together than 1"),
            (curve(&[(1, 50.0), (2, 120.0)]), "each of 2 sessions is faster than each of 1"),
            (curve(&[(1, 50.0), (8, 90.0), (4, 95.0)]), "4 sessions come after 8"),
            (curve(&[(1, 0.0), (8, 90.0)]), "tokens_per_s is 0"),
            (curve(&[(1, f64::NAN), (8, 90.0)]), "expected"),
            (SpeedCurve::parse("c.toml", "speed = 1"), "unknown field `speed`"),
            (SpeedCurve::read(Path::new("no such file")), "no such file"),
        ];
        for (parsed, fault) in table {
            let line = parsed.unwrap_err().to_string();
            assert!(line.contains(fault) && line.contains("docs/sizing.md"), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }

    proptest! {
        #[test]
        fn more_sessions_make_more_together_and_each_less(
            speeds in prop::collection::vec((1..20_u32, 0.0..1.0_f64), 1..5),
            first in 1.0..200.0_f64,
        ) {
            let mut figures = vec![(1, first)];
            for (more, gain) in speeds {
                let (sessions, speed) = figures[figures.len() - 1];
                let most = speed * f64::from(sessions + more) / f64::from(sessions);
                figures.push((sessions + more, speed + (most - speed) * gain));
            }
            let curve = curve(&figures).unwrap();
            let together = |n: u32| f64::from(n) / curve.step_s(n);
            for n in 1..120 {
                prop_assert!(together(n + 1) > together(n) * 0.999_999, "{n}");
                prop_assert!(curve.step_s(n + 1) > curve.step_s(n) * 0.999_999, "{n}");
                prop_assert!(together(n) < curve.most_tokens_per_s() * 1.000_001, "{n}");
            }
        }
    }
}
