//! The time of a forward pass by its number of tokens, from two measured figures or more.
//!
//! What does not live here: how the figures are measured, and who waits for what.

use std::{fs, ops::RangeInclusive, path::Path};

use serde::Deserialize;

use crate::MachineError;

/// Tokens of a prefill pass unless the file says otherwise: our engine's.
const CHUNK_TOKENS: u32 = 128;
/// Speeds that are taken, in tokens a second.
const SPEEDS: RangeInclusive<f64> = 1e-3..=1e9;
/// The most tokens that a prefill pass may have.
const MOST_CHUNK_TOKENS: u32 = 1 << 20;

/// How fast a node computes. Validated: see [`SpeedCurve::parse`].
#[derive(Debug, Clone, PartialEq)]
pub struct SpeedCurve {
    prefill_tokens_per_s: f64,
    prefill_chunk_tokens: f64,
    /// Sessions, and the time in seconds of a decode step that computes one token of each.
    steps: Vec<(f64, f64)>,
}

/// A file of speeds, as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeedFigures {
    /// Tokens that it prefills in a second.
    pub prefill_tokens_per_s: f64,
    /// Tokens of a prefill pass.
    #[serde(default = "chunk_tokens")]
    pub prefill_chunk_tokens: u32,
    /// Decode speeds, by rising numbers of sessions.
    pub decode: Vec<DecodeFigure>,
}

/// A decode speed.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeFigure {
    /// How many sessions decode at a time.
    pub sessions: u32,
    /// Tokens a second, of all sessions together.
    pub tokens_per_s: f64,
}

fn chunk_tokens() -> u32 {
    CHUNK_TOKENS
}

/// What is wrong with a TOML text, in one line.
pub(crate) fn toml_fault(error: &toml::de::Error) -> String {
    error.message().split_whitespace().collect::<Vec<_>>().join(" ")
}

impl SpeedCurve {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, and as [`SpeedCurve::parse`].
    pub fn read(path: &Path) -> Result<SpeedCurve, MachineError> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|why| MachineError::File { path: shown.clone(), why: why.to_string() })?;
        SpeedCurve::parse(&shown, &text)
    }

    /// Parses the text of a file. `path` is for messages.
    ///
    /// # Errors
    /// When a figure is missing or unknown; when there are fewer than two decode figures, the first is not for one
    /// session, or they do not rise; when more sessions make fewer tokens together, or each of them makes more.
    pub fn parse(path: &str, text: &str) -> Result<SpeedCurve, MachineError> {
        let bad = |why: String| MachineError::File { path: path.to_owned(), why };
        let figures: SpeedFigures = toml::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|error| bad(toml_fault(&error)))?;
        SpeedCurve::checked(&figures).map_err(bad)
    }

    /// A curve of figures that may be wrong. The error is what is wrong with them.
    pub(crate) fn checked(figures: &SpeedFigures) -> Result<SpeedCurve, String> {
        figures.check()?;
        Ok(SpeedCurve::of(figures))
    }

    /// A curve of figures that are known to be right.
    pub(crate) fn of(figures: &SpeedFigures) -> SpeedCurve {
        let step = |figure: &DecodeFigure| {
            let sessions = f64::from(figure.sessions);
            (sessions, sessions / figure.tokens_per_s)
        };
        SpeedCurve {
            prefill_tokens_per_s: figures.prefill_tokens_per_s,
            prefill_chunk_tokens: f64::from(figures.prefill_chunk_tokens),
            steps: figures.decode.iter().map(step).collect(),
        }
    }

    /// Returns how many tokens it prefills in a second when it does nothing else.
    pub fn prefill_tokens_per_s(&self) -> f64 {
        self.prefill_tokens_per_s
    }

    /// Returns the most tokens of a prefill pass.
    pub fn prefill_chunk_tokens(&self) -> f64 {
        self.prefill_chunk_tokens
    }

    /// Returns the time of a decode step of this many sessions, in seconds. Interpolates linearly between the figures;
    /// beyond the last one, more sessions make no more tokens together.
    pub fn step_s(&self, sessions: u32) -> f64 {
        let sessions = f64::from(sessions);
        match self.on_the_line(sessions) {
            Ok(step_s) => step_s,
            Err((last, step_s)) => step_s * sessions / last,
        }
    }

    /// Returns the time in seconds of a pass over this many tokens, whatever sessions they are of. A pass over as many
    /// tokens as a decode step takes as long as that step; a full prefill pass takes what the prefill speed says;
    /// between them lies a straight line. More tokens than fit into a pass take several.
    pub fn pass_s(&self, tokens: u32) -> f64 {
        let tokens = f64::from(tokens);
        let last = self.steps.last().map_or(1.0, |(sessions, _)| *sessions);
        let most = self.prefill_chunk_tokens.max(last);
        let (full, rest) = ((tokens / most).floor(), tokens % most);
        let one = |tokens: f64| if tokens > 0.0 { self.one_pass_s(tokens) } else { 0.0 };
        if full > 0.0 { full * one(most) + one(rest) } else { one(rest) }
    }

    /// The same for tokens that fit into one pass.
    fn one_pass_s(&self, tokens: f64) -> f64 {
        match self.on_the_line(tokens) {
            Ok(step_s) => step_s,
            Err((last, step_s)) => {
                let full_s = self.prefill_chunk_tokens / self.prefill_tokens_per_s;
                let part = (tokens - last) / (self.prefill_chunk_tokens - last);
                step_s + (full_s - step_s).max(0.0) * part.min(1.0)
            }
        }
    }

    /// Returns the time on the line between the figures, or fails with the last figure beyond it.
    fn on_the_line(&self, sessions: f64) -> Result<f64, (f64, f64)> {
        let next = self.steps.partition_point(|(at, _)| *at < sessions);
        match (next.checked_sub(1).and_then(|before| self.steps.get(before)), self.steps.get(next))
        {
            (Some((from, shorter)), Some((to, longer))) => {
                Ok(shorter + (longer - shorter) * (sessions - from) / (to - from))
            }
            (None, Some((_, first))) => Ok(*first),
            (Some(last), None) => Err(*last),
            (None, None) => Ok(0.0),
        }
    }

    /// Returns the most tokens that it decodes in a second, over all sessions.
    pub fn most_tokens_per_s(&self) -> f64 {
        self.steps.last().map_or(0.0, |(sessions, step)| sessions / step)
    }
}

impl SpeedFigures {
    /// Fails with what is wrong with the figures.
    fn check(&self) -> Result<(), String> {
        let speeds = self.decode.iter().map(|figure| ("tokens_per_s", figure.tokens_per_s));
        for (name, speed) in speeds.chain([("prefill_tokens_per_s", self.prefill_tokens_per_s)]) {
            if !SPEEDS.contains(&speed) {
                return Err(format!(
                    "{name} is {speed}, but a speed must be a number from {} to {}",
                    SPEEDS.start(),
                    SPEEDS.end()
                ));
            }
        }
        if !(1..=MOST_CHUNK_TOKENS).contains(&self.prefill_chunk_tokens) {
            return Err(format!(
                "prefill_chunk_tokens is {}, but a chunk has from 1 to {MOST_CHUNK_TOKENS} tokens",
                self.prefill_chunk_tokens
            ));
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

    fn curve(figures: &[(u32, f64)]) -> Result<SpeedCurve, MachineError> {
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
            (curve(&[(1, 1e-300), (8, 90.0)]), "from 0.001 to"),
            (curve(&[(1, 1.0), (8, 1e12)]), "from 0.001 to"),
            (curve(&[(1, f64::NAN), (8, 90.0)]), "expected"),
            (SpeedCurve::parse("c.toml", "speed = 1"), "unknown field `speed`"),
            (SpeedCurve::read(Path::new("no such file")), "no such file"),
        ];
        for (parsed, fault) in table {
            let line = parsed.unwrap_err().to_string();
            assert!(line.contains(fault) && line.contains("docs/machines.md"), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }

    #[test]
    fn a_pass_takes_what_a_decode_step_or_a_full_prefill_pass_of_its_size_takes() {
        // A step of one is 20 ms, of five 40 ms; a full pass of 128 tokens takes 128 ms.
        let curve = curve(&[(1, 50.0), (5, 125.0)]).unwrap();
        let ms = |tokens: u32| (curve.pass_s(tokens) * 1e3).round();
        assert_eq!([1, 3, 5].map(ms), [20.0, 30.0, 40.0]);
        assert_eq!(ms(128), 128.0);
        assert_eq!((ms(1280), ms(0)), (1280.0, 0.0), "ten passes, and none");
        assert_eq!(ms(129), 148.0, "a full pass, and one of a single token");
        let between = ms(66);
        assert!((80.0..90.0).contains(&between), "{between}");
    }

    #[test]
    fn a_prefill_pass_is_never_shorter_than_the_largest_decode_step() {
        let curve = SpeedCurve::parse(
            "c.toml",
            "prefill_tokens_per_s = 10000\nprefill_chunk_tokens = 64\n\
             decode = [{ sessions = 1, tokens_per_s = 50 }, { sessions = 8, tokens_per_s = 350 }]\n",
        );
        let curve = curve.unwrap();
        for tokens in 0..64 {
            assert!(curve.pass_s(tokens) <= curve.pass_s(tokens + 1) + 1e-12, "{tokens}");
        }
        assert!(curve.pass_s(64) >= curve.step_s(8));
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
