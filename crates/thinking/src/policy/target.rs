//! Targets: limits on what a policy's takeovers may add up to, and how much of the next one is within them.
//!
//! Pure arithmetic over what was written and measured so far; [`super::Limited`] calls it before every takeover. It
//! must decide without knowing how long the answer will be. For the share of large tokens this does not matter, since
//! it holds after every takeover. Latency and cost include what is still to be written; the answer is expected to
//! continue for as long again as it is now (the median of what remains if nothing is known of its length: Gott 1993,
//! Nature 363), up to its token limit.
//!
//! A takeover is granted as many tokens as are affordable, but not if that is only a few. Takeovers that matter less
//! must leave a reserve for those that matter more (`reserve`).

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Ask, Measured, Role, Why};

/// A takeover shorter than this is not worth its hand-over: half the paper's n1.
const LEAST_TOKENS: u32 = 10;

/// If the target is already out of reach, a takeover must make the answer at least this much faster: rounding is not a
/// gain.
const LEAST_GAIN_S: f64 = 1e-3;

/// Returns how many tokens a takeover must leave affordable for those that matter more. With an earlier built-in pair a
/// thousand large tokens brought half as many right answers after affirmations as after reflections and verifications;
/// the present one makes no affirmations (docs/figures.md).
fn reserve(why: Why) -> u32 {
    match why {
        Why::Affirmation => LEAST_TOKENS,
        _ => 0,
    }
}

/// What a policy keeps within by skipping takeovers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// At most this share of an answer's tokens is the large writer's, from 0 to 1.
    Share(f64),
    /// An answer takes at most this long.
    Latency(Duration),
    /// An answer's tokens cost at most this much, in the currency of the prices.
    Cost(f64),
}

/// A target string that cannot be parsed. Displays as one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target {0:?}: write share<=10%, latency<=8s or cost<=0.002, with a number of 0 or more")]
pub struct BadTarget(pub String);

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Target, BadTarget> {
        let bad = || BadTarget(text.to_owned());
        let (what, value) = text.split_once("<=").ok_or_else(bad)?;
        let value = value.trim();
        match what.trim() {
            "share" => parse_share(value).map(Target::Share),
            "latency" => humantime::parse_duration(value).ok().map(Target::Latency),
            "cost" => number(value).map(Target::Cost),
            _ => None,
        }
        .ok_or_else(bad)
    }
}

/// Parses a share, written as 10% or as 0.1.
pub fn parse_share(text: &str) -> Option<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => number(percent)? / 100.0,
        None => number(text)?,
    };
    (share <= 1.0).then_some(share)
}

/// Parses a finite number of 0 or more.
fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Rounded to a millionth of a percent, so that 7 % is not shown as 7.000000000000001 %.
            Target::Share(share) => write!(f, "share<={}%", (share * 1e8).round() / 1e6),
            Target::Latency(time) => write!(f, "latency<={}", humantime::format_duration(*time)),
            Target::Cost(cost) => write!(f, "cost<={cost}"),
        }
    }
}

/// What a model's tokens cost, per million.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of prices")]
pub struct ModelPrices {
    /// Tokens that the model reads.
    pub input_per_million: f64,
    /// Tokens that the model found in its cache.
    pub cached_input_per_million: f64,
    /// Tokens that the model generates.
    pub output_per_million: f64,
}

impl ModelPrices {
    /// Returns the first price that is negative, infinite or not a number, with its key.
    pub fn out_of_range(&self) -> Option<(&'static str, f64)> {
        let prices = [
            ("input_per_million", self.input_per_million),
            ("cached_input_per_million", self.cached_input_per_million),
            ("output_per_million", self.output_per_million),
        ];
        prices.into_iter().find(|(_, price)| !(price.is_finite() && *price >= 0.0))
    }
}

/// What the tokens of both models cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPrices {
    /// The small model's.
    pub small: ModelPrices,
    /// The large model's.
    pub large: ModelPrices,
}

/// The targets of one answer. All that are set apply.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Targets {
    /// The greatest share.
    pub share: Option<f64>,
    /// The longest time.
    pub latency: Option<Duration>,
    /// The greatest cost, and what tokens cost.
    pub cost: Option<(f64, TokenPrices)>,
}

impl Targets {
    /// Adds a target; of two of the same kind the stricter one applies. A cost target is computed with these prices.
    /// Returns whether the target could be added, which fails for a cost target without prices.
    pub fn add(&mut self, target: Target, prices: Option<TokenPrices>) -> bool {
        match (target, prices) {
            (Target::Share(share), _) => {
                self.share = Some(self.share.map_or(share, |other| share.min(other)));
            }
            (Target::Latency(time), _) => {
                self.latency = Some(self.latency.map_or(time, |other| time.min(other)));
            }
            (Target::Cost(cost), Some(prices)) => {
                let cost = self.cost.map_or(cost, |(other, _)| cost.min(other));
                self.cost = Some((cost, prices));
            }
            (Target::Cost(_), None) => return false,
        }
        true
    }
}

/// What a takeover is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) max_tokens: u32,
    /// How long to wait for its first text before the latency target is missed.
    pub(super) first_text_within: Option<Duration>,
}

/// One writer's work so far.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    /// Tokens it generated, and how many of them are part of the answer.
    made: f64,
    kept: f64,
    /// The latest proposal: its bytes and tokens.
    latest: (u64, u32),
    /// How many tokens were timed, and how long they took after the first text, in seconds.
    timed: f64,
    decode_s: f64,
    /// The time from an ask to the first text.
    wait: Option<Wait>,
}

/// A repeated waiting time in seconds: smoothed, with its deviation, as TCP does with round trips (RFC 6298, section
/// 2).
#[derive(Debug, Clone, Copy)]
struct Wait {
    smoothed_s: f64,
    deviation_s: f64,
}

impl Wait {
    fn first(s: f64) -> Self {
        Wait { smoothed_s: s, deviation_s: s / 2.0 }
    }

    fn then(self, s: f64) -> Self {
        let apart_s = (s - self.smoothed_s).abs();
        Wait {
            smoothed_s: self.smoothed_s + (s - self.smoothed_s) / 8.0,
            deviation_s: self.deviation_s + (apart_s - self.deviation_s) / 4.0,
        }
    }

    /// Returns a time that is seldom exceeded.
    fn at_most_s(self) -> f64 {
        self.smoothed_s + 4.0 * self.deviation_s
    }
}

impl Work {
    fn finished(&mut self, bytes: u64, tokens: u32, measured: &Measured) {
        self.made += f64::from(tokens);
        self.latest = (bytes, tokens);
        let Some(wait) = measured.first_text else { return };
        self.waited(wait.as_secs_f64());
        self.timed += f64::from(tokens.saturating_sub(1));
        self.decode_s += measured.wall.saturating_sub(wait).as_secs_f64();
    }

    fn waited(&mut self, s: f64) {
        self.wait = Some(self.wait.map_or_else(|| Wait::first(s), |before| before.then(s)));
    }

    /// Returns the seconds that a token takes, if known.
    fn token_s(&self) -> Option<f64> {
        (self.timed > 0.0).then(|| self.decode_s / self.timed)
    }
}

/// Computes how much of the next takeover is within the targets.
#[derive(Debug, Clone)]
pub(super) struct Allowance {
    targets: Targets,
    /// The most tokens of the answer.
    max_tokens: u32,
    prompt: f64,
    work: [Work; 2],
    measured: Measured,
}

impl Allowance {
    pub(super) fn new(targets: Targets, max_tokens: u32) -> Self {
        Allowance {
            targets,
            max_tokens,
            prompt: 0.0,
            work: [Work::default(); 2],
            measured: Measured::default(),
        }
    }

    pub(super) fn measured(&mut self, measured: &Measured) {
        self.measured = *measured;
    }

    pub(super) fn started(&mut self, prompt_tokens: u32) {
        self.prompt = f64::from(prompt_tokens);
    }

    /// Notes a complete proposal.
    pub(super) fn finished(&mut self, role: Role, bytes: usize, tokens: u32) {
        self.work[role as usize].finished(bytes as u64, tokens, &self.measured);
    }

    /// Notes that a takeover's first text is late: the true wait is longer still.
    pub(super) fn late(&mut self) {
        let waited_s = self.measured.wall.as_secs_f64();
        if waited_s > self.handover_s() {
            self.work[Role::Large as usize].waited(waited_s);
        }
    }

    /// Notes that the first bytes of a writer's latest proposal are part of the answer. A token that is cut in two does
    /// not count.
    pub(super) fn kept(&mut self, role: Role, kept: u64) {
        let work = &mut self.work[role as usize];
        let (bytes, tokens) = std::mem::take(&mut work.latest);
        work.kept += match bytes {
            _ if kept >= bytes => f64::from(tokens),
            0 => 0.0,
            _ => (f64::from(tokens) * kept as f64 / bytes as f64).floor(),
        };
    }

    /// Returns how much of a takeover is within the targets; `None` if that is not worth a hand-over.
    pub(super) fn grant(&self, ask: &Ask) -> Option<Grant> {
        let Targets { share, latency, cost } = self.targets;
        let latency = latency.map(|target| self.latency(target));
        // An aside is not part of the answer.
        let share = share.filter(|_| ask.aside.is_none());
        let affordable = [
            share.map(|share| self.within_share(share)),
            latency.as_ref().map(Spending::affordable),
            cost.map(|(cost, prices)| self.cost(cost, &prices).affordable()),
        ];
        let affordable = affordable.into_iter().flatten().fold(f64::INFINITY, f64::min);
        let max_tokens = (affordable as u32).saturating_sub(reserve(ask.why)).min(ask.max_tokens);
        if max_tokens < LEAST_TOKENS.min(ask.max_tokens) {
            return None;
        }
        let Some(latency) = latency else {
            return Some(Grant { max_tokens, first_text_within: None });
        };
        // The first text can be waited for until the target is out of reach, or until the small writer would have been
        // as fast.
        let tokens = f64::from(max_tokens);
        let spare_s = latency.left - latency.of(tokens);
        let gain_s = latency.of(0.0) - latency.of(tokens) - self.handover_s();
        if spare_s < 0.0 && gain_s < LEAST_GAIN_S {
            return None;
        }
        let within = Duration::try_from_secs_f64(self.handover_s() + spare_s.max(gain_s));
        Some(Grant { max_tokens, first_text_within: within.ok() })
    }

    fn within_share(&self, share: f64) -> f64 {
        if share >= 1.0 {
            return f64::INFINITY;
        }
        let [small, large] = self.work.map(|work| work.kept);
        // After n more tokens, (large + n) / (small + large + n) must be at most the share.
        ((share * (small + large) - large) / (1.0 - share)).max(0.0)
    }

    /// Returns how many more tokens the answer is expected to have.
    fn rest(&self) -> f64 {
        let [small, large] = self.work;
        let left = f64::from(self.max_tokens) - small.made - large.made;
        (small.kept + large.kept).min(left).max(0.0)
    }

    /// Returns how long a takeover is expected to wait for its first text: as long as earlier ones, or as opening the
    /// session took.
    fn handover_s(&self) -> f64 {
        let opened = self.measured.large_opened.map(|opened| opened.as_secs_f64());
        let wait = self.work[Role::Large as usize].wait.or(opened.map(Wait::first));
        wait.map_or(0.0, Wait::at_most_s)
    }

    fn latency(&self, target: Duration) -> Spending {
        let [small, large] = self.work;
        let small_s = small.token_s().unwrap_or(0.0);
        let back_s = small.wait.map_or(0.0, Wait::at_most_s);
        let elapsed_s = self.measured.elapsed.as_secs_f64();
        Spending {
            left: target.as_secs_f64() - elapsed_s - self.handover_s() - back_s,
            rest: self.rest(),
            small: small_s,
            // Until it has been timed, it is assumed to be as fast as the small writer.
            large: large.token_s().unwrap_or(small_s),
        }
    }

    /// Computes the cost so far and to come. Every token is read once by the writer that did not generate it, and the
    /// prompt by both.
    fn cost(&self, target: f64, prices: &TokenPrices) -> Spending {
        let [small, large] = self.work;
        let read = |prices: &ModelPrices| prices.input_per_million / 1e6;
        let made = |prices: &ModelPrices| prices.output_per_million / 1e6;
        let spent = read(&prices.small) * (self.prompt + large.kept)
            + read(&prices.large) * (self.prompt + small.kept)
            + made(&prices.small) * small.made
            + made(&prices.large) * large.made;
        Spending {
            left: target - spent,
            rest: self.rest(),
            small: made(&prices.small) + read(&prices.large),
            large: made(&prices.large) + read(&prices.small),
        }
    }
}

/// A budget (seconds or money): what is left of it for the rest of an answer, and what one token of each writer costs.
#[derive(Debug)]
struct Spending {
    left: f64,
    /// How many tokens the rest of the answer is expected to have.
    rest: f64,
    /// What one token of each writer costs.
    small: f64,
    large: f64,
}

impl Spending {
    /// Returns what the rest costs if the large writer begins it with this many tokens.
    fn of(&self, tokens: f64) -> f64 {
        tokens * self.large + (self.rest - tokens).max(0.0) * self.small
    }

    /// Returns how many tokens the large writer may begin the rest with: any number if its tokens cost no more than the
    /// small writer's.
    fn affordable(&self) -> f64 {
        let more = self.large - self.small;
        if more <= 0.0 {
            return f64::INFINITY;
        }
        // What would be left over if the small writer wrote the rest.
        let over = self.left - self.rest * self.small;
        let tokens = over.max(0.0) / more;
        if tokens <= self.rest { tokens } else { self.left / self.large }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_shown() {
        let table = [
            ("share<=10%", Target::Share(0.1)),
            ("share <= 0.1", Target::Share(0.1)),
            ("latency<=8s", Target::Latency(Duration::from_secs(8))),
            ("latency<=250ms", Target::Latency(Duration::from_millis(250))),
            ("cost<=0.002", Target::Cost(0.002)),
        ];
        for (text, target) in table {
            assert_eq!(text.parse(), Ok(target), "{text}");
            assert_eq!(target.to_string().parse(), Ok(target), "{target}");
        }
        let wrong = [
            "",
            "share",
            "share<=",
            "share<=110%",
            "share>=1%",
            "latency<=8",
            "cost<=-1",
            "cost<=nan",
            "speed<=1",
        ];
        for text in wrong {
            let line = text.parse::<Target>().unwrap_err().to_string();
            assert!(line.contains("latency<=8s"), "{text}: {line}");
        }
    }

    #[test]
    fn what_is_left_is_spent_to_the_end_and_not_beyond() {
        // (left, rest, small, large), and how many tokens are affordable.
        let table = [
            ((10.0, 0.0, 1.0, 2.0), 5.0),
            ((10.0, 8.0, 1.0, 2.0), 2.0),
            ((10.0, 10.0, 1.0, 2.0), 0.0),
            ((10.0, 20.0, 1.0, 2.0), 0.0),
            ((10.0, 4.0, 0.0, 1.0), 10.0),
            ((-1.0, 0.0, 1.0, 2.0), 0.0),
            ((10.0, 8.0, 1.0, 1.0), f64::INFINITY),
            ((0.0, 8.0, 1.0, 0.5), f64::INFINITY),
        ];
        for ((left, rest, small, large), affordable) in table {
            let spending = Spending { left, rest, small, large };
            assert_eq!(spending.affordable(), affordable, "{spending:?}");
            if affordable > 0.0 && affordable.is_finite() {
                assert!(spending.of(affordable) <= left + 1e-9, "{spending:?}");
            }
        }
    }
}
