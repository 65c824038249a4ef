//! [`PolicySpec`]: a policy with its parameters and its limits, as one value.
//!
//! Everything that names a policy (arguments, a file, a log's header, a request) parses into a `PolicySpec`, and
//! nothing else builds a policy. As JSON it is `{"name": "strict", "parameters": {...}}`, with the limits among the
//! parameters. `Deserialize` is lenient, since a journal may come from a later version of the program: unknown
//! parameters are dropped, and absent ones get their defaults. [`PolicySpec::from_request`] is strict. YAML files are
//! parsed in [`super::config`].

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::{Map, Value};

use super::{
    Limited, Limits, LoopRule, Paper, PaperConfig, Policy, PolicyError, PolicyKind, Preset,
    ReviewConfig, Role, Solo, Strict, StrictConfig, Targets, TokenPrices,
    baselines::Scheduled,
    config,
    note::{
        EntropyNote, LIMIT_KEYS, LenientNote, LimitsNote, ScheduleNote, ScoreNote, StrictNote,
        Unknown, keep_known,
    },
    paragraphs::{ByEntropy, ByScore},
    review,
};
use crate::{names::nearest, trigger::Watch};

/// The large writer's default share of a schedule: about that of the paper.
pub const DEFAULT_SHARE: f64 = 0.2;

/// The large writer's default share where its tokens are scattered: about that of a review.
const DEFAULT_TOKEN_SHARE: f64 = 0.02;

/// The default entropy of a paragraph's first token above which the large writer writes the paragraph, in nats.
const DEFAULT_ENTROPY_NATS: f32 = 1.0;

/// The default mark at which a paragraph is kept: that of SpecReason.
const DEFAULT_LEAST_SCORE: u32 = 7;

/// The default period of the `periodic` policy, in tokens.
const DEFAULT_PERIOD_TOKENS: u32 = 200;

/// A policy with its parameters and limits.
///
/// ```
/// use thinking::policy::{PolicyKind, PolicySpec, Preset};
///
/// let spec = PolicySpec::new(PolicyKind::Strict, Preset::Reasoning);
/// let mut policy = spec.build(0, 2048)?;
/// let json = serde_json::json!({ "name": "random", "parameters": { "share": 0.3 } });
/// assert_eq!(PolicySpec::from_request(json)?.kind(), PolicyKind::Random);
/// # Ok::<(), thinking::policy::PolicyError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PolicySpec {
    /// Who writes when.
    pub rules: Rules,
    /// The limits on its takeovers and on loops, and its review.
    pub limits: Limits,
}

/// A policy's kind with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum Rules {
    /// See [`Strict`].
    Strict(StrictConfig),
    /// See [`Paper`].
    Paper(PaperConfig),
    /// The small writer alone.
    SmallOnly,
    /// The large writer alone.
    LargeOnly,
    /// A writer drawn at random for every paragraph.
    Random {
        /// The large writer's share of the paragraphs, from 0 to 1.
        share: f64,
    },
    /// Single tokens of the large writer at random places.
    RandomToken {
        /// The large writer's share of the tokens, from 0 to 1.
        share: f64,
    },
    /// The large writer writes each paragraph whose first token the small one is unsure of.
    Entropy {
        /// The entropy of that token above which the large writer takes over, in nats.
        over_nats: f32,
    },
    /// The large writer gives every paragraph a mark, and rewrites those with a low one.
    Score {
        /// The lowest mark at which a paragraph is kept, from 0 to 10.
        least: u32,
    },
    /// The small writer alone, under a review.
    Review,
    /// Writers in turns of fixed length.
    Periodic {
        /// The large writer's share of the tokens, from 0 to 1.
        share: f64,
        /// Tokens of a period; at least 1.
        period_tokens: u32,
    },
}

impl PolicySpec {
    /// A policy without limits, with the default parameters for this kind of small model.
    pub fn new(kind: PolicyKind, preset: Preset) -> Self {
        let instruct = preset == Preset::Instruct;
        let (share, period_tokens) = (DEFAULT_SHARE, DEFAULT_PERIOD_TOKENS);
        let rules = match kind {
            PolicyKind::Strict | PolicyKind::StrictReview if instruct => {
                Rules::Strict(StrictConfig::instruct())
            }
            PolicyKind::Strict | PolicyKind::StrictReview => Rules::Strict(StrictConfig::default()),
            PolicyKind::Review => Rules::Review,
            PolicyKind::Paper if instruct => Rules::Paper(PaperConfig::instruct()),
            PolicyKind::Paper => Rules::Paper(PaperConfig::default()),
            PolicyKind::SmallOnly => Rules::SmallOnly,
            PolicyKind::LargeOnly => Rules::LargeOnly,
            PolicyKind::Random => Rules::Random { share },
            PolicyKind::RandomToken => Rules::RandomToken { share: DEFAULT_TOKEN_SHARE },
            PolicyKind::Periodic => Rules::Periodic { share, period_tokens },
            PolicyKind::Entropy => Rules::Entropy { over_nats: DEFAULT_ENTROPY_NATS },
            PolicyKind::Score => Rules::Score { least: DEFAULT_LEAST_SCORE },
        };
        let review = kind.reviews().then(ReviewConfig::default);
        PolicySpec { rules, limits: Limits { review, ..Limits::default() } }
    }

    /// A policy without limits, with its parameters from YAML, in the authors' keys (`paper`) or ours (`strict`). Keys
    /// that are left out get the values of a reasoning pair.
    ///
    /// # Errors
    /// If the policy takes no YAML, or the YAML has an unknown key or a bad value.
    pub fn from_yaml(kind: PolicyKind, yaml: &str) -> Result<Self, PolicyError> {
        let rules = match kind {
            PolicyKind::Strict | PolicyKind::StrictReview => {
                Rules::Strict(config::parse(kind, yaml)?)
            }
            PolicyKind::Paper => Rules::Paper(config::parse(kind, yaml)?),
            _ => return Err(PolicyError::NoParameters { kind }),
        };
        let review = kind.reviews().then(ReviewConfig::default);
        let spec = PolicySpec { rules, limits: Limits { review, ..Limits::default() } };
        spec.check()?;
        Ok(spec)
    }

    /// Reads the JSON form of a spec from a request. Nothing unknown is accepted.
    ///
    /// # Errors
    /// If it has another shape, an unknown parameter or a bad value.
    pub fn from_request(value: Value) -> Result<Self, PolicyError> {
        let bad = |why: serde_json::Error| PolicyError::BadSpec { why: why.to_string() };
        let note = serde_json::from_value::<StrictNote>(value).map_err(bad)?;
        let spec = PolicySpec::read(note.name, note.parameters, Unknown::Refused)?;
        spec.check()?;
        Ok(spec)
    }

    /// Returns the same policy with these limits. If they have no review, the policy keeps its own.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        let review = limits.review.or(self.limits.review);
        PolicySpec { limits: Limits { review, ..limits }, ..self }
    }

    /// Returns the same policy with this share of the large writer, if the policy has a share.
    #[must_use]
    pub fn with_share(mut self, wanted: f64) -> Self {
        if let Some(share) = self.share_mut() {
            *share = wanted;
        }
        self
    }

    /// Returns the share of the large writer, if the policy has one.
    pub fn share_mut(&mut self) -> Option<&mut f64> {
        match &mut self.rules {
            Rules::Random { share }
            | Rules::RandomToken { share }
            | Rules::Periodic { share, .. } => Some(share),
            _ => None,
        }
    }

    /// Returns the policy's kind.
    pub fn kind(&self) -> PolicyKind {
        match self.rules {
            Rules::Strict(_) if self.limits.review.is_some() => PolicyKind::StrictReview,
            Rules::Strict(_) => PolicyKind::Strict,
            Rules::Review => PolicyKind::Review,
            Rules::Paper(_) => PolicyKind::Paper,
            Rules::SmallOnly => PolicyKind::SmallOnly,
            Rules::LargeOnly => PolicyKind::LargeOnly,
            Rules::Random { .. } => PolicyKind::Random,
            Rules::RandomToken { .. } => PolicyKind::RandomToken,
            Rules::Periodic { .. } => PolicyKind::Periodic,
            Rules::Entropy { .. } => PolicyKind::Entropy,
            Rules::Score { .. } => PolicyKind::Score,
        }
    }

    /// Returns what the small writer's ordinary turns are watched for, if anything.
    pub fn watch(&self) -> Option<Watch> {
        match &self.rules {
            Rules::Strict(config) => config.watch(),
            _ => None,
        }
    }

    /// Returns the time limit for an answer that the parameters set, if any.
    pub fn deadline(&self) -> Option<Duration> {
        match &self.rules {
            Rules::Paper(config) => Duration::try_from_secs_f64(config.deadline_s()?).ok(),
            _ => None,
        }
    }

    /// Checks every value: [`PolicySpec::build`] succeeds exactly if this does.
    ///
    /// # Errors
    /// Names the first value with which no answer could be written.
    pub fn check(&self) -> Result<(), PolicyError> {
        let kind = self.kind();
        let fault = match &self.rules {
            Rules::Strict(config) => config.fault(),
            Rules::Paper(config) => config.fault(),
            Rules::Random { share }
            | Rules::RandomToken { share }
            | Rules::Periodic { share, .. }
                if !(0.0..=1.0).contains(share) =>
            {
                return Err(PolicyError::BadShare { share: share.to_string() });
            }
            Rules::Periodic { period_tokens: 0, .. } => Some(("period_tokens", "at least 1")),
            Rules::Entropy { over_nats } if !(0.0..=100.0).contains(over_nats) => {
                Some(("entropy_nats", "a number of nats from 0 to 100"))
            }
            Rules::Score { least: 11.. } => Some(("least_score", "from 0 to 10")),
            _ => None,
        };
        let Limits { loops, review, .. } = self.limits;
        if review.is_some() != kind.reviews() {
            return Err(PolicyError::NoReview { kind });
        }
        let without_loops = Limits { loops: LoopRule::Off, ..self.limits };
        let wants_takeovers = loops == LoopRule::HandOver || without_loops != Limits::default();
        if wants_takeovers && !kind.has_takeovers() {
            return Err(PolicyError::NoTakeovers { kind });
        }
        if loops != LoopRule::Off && kind == PolicyKind::Paper {
            return Err(PolicyError::HasNoLoops { kind });
        }
        match fault.or_else(|| fault_of(&self.limits)) {
            Some((key, must_be)) => Err(PolicyError::BadValue { kind, key, must_be }),
            None => Ok(()),
        }
    }

    /// Builds the policy for one answer of at most `max_tokens` generated tokens (for `paper`: tokens of prompt and
    /// answer). `seed` seeds the random schedules.
    ///
    /// # Errors
    /// The same as [`PolicySpec::check`].
    pub fn build(&self, seed: u64, max_tokens: u32) -> Result<Limited, PolicyError> {
        self.check()?;
        let policy: Box<dyn Policy> = match &self.rules {
            Rules::Strict(config) => Box::new(Strict::new(config.clone(), max_tokens)),
            Rules::Paper(config) => Box::new(Paper::new(config.clone(), max_tokens)),
            Rules::SmallOnly | Rules::Review => Box::new(Solo::new(Role::Small, max_tokens)),
            Rules::LargeOnly => Box::new(Solo::new(Role::Large, max_tokens)),
            Rules::Random { share } => Box::new(Scheduled::random(*share, seed, max_tokens)),
            Rules::RandomToken { share } => Box::new(Scheduled::tokens(*share, seed, max_tokens)),
            Rules::Periodic { share, period_tokens } => {
                Box::new(Scheduled::periodic(*share, *period_tokens, max_tokens))
            }
            Rules::Entropy { over_nats } => Box::new(ByEntropy::new(*over_nats, max_tokens)),
            Rules::Score { least } => Box::new(ByScore::new(*least, max_tokens)),
        };
        Ok(Limited::new(policy, self.limits, max_tokens))
    }

    fn read(
        kind: PolicyKind,
        mut parameters: Map<String, Value>,
        unknown: Unknown,
    ) -> Result<Self, PolicyError> {
        let bad = |why: serde_json::Error| PolicyError::BadParameter { kind, why: why.to_string() };
        let mut known = PolicySpec::new(kind, Preset::Reasoning).parameters().map_err(bad)?;
        known.extend(LIMIT_KEYS.map(|key| (key.to_owned(), Value::Null)));
        if kind.reviews() {
            known.extend(review::KEYS.map(|key| (key.to_owned(), Value::Null)));
        }
        let prices = serde_json::to_value(TokenPrices::default()).map_err(bad)?;
        known.insert("prices".to_owned(), prices);
        match unknown {
            Unknown::Dropped => keep_known(&mut parameters, &known),
            Unknown::Refused => {
                if let Some(key) = parameters.keys().find(|key| !known.contains_key(*key)) {
                    let names: Vec<&str> = known.keys().map(String::as_str).collect();
                    let nearest = nearest(key, &names).to_owned();
                    return Err(PolicyError::UnknownParameter { kind, key: key.clone(), nearest });
                }
            }
        }
        let limits = parameters.iter().filter(|(key, _)| LIMIT_KEYS.contains(&key.as_str()));
        let limits = limits.map(|(key, value)| (key.clone(), value.clone())).collect();
        let limits: LimitsNote = serde_json::from_value(Value::Object(limits)).map_err(bad)?;
        if limits.target_cost.is_some() != limits.prices.is_some()
            && matches!(unknown, Unknown::Refused)
        {
            let why = "target_cost and prices belong together: give both, or neither".to_owned();
            return Err(PolicyError::BadParameter { kind, why });
        }
        parameters.retain(|key, _| !LIMIT_KEYS.contains(&key.as_str()));
        let reviewed: Map<String, Value> =
            review::KEYS.iter().filter_map(|key| parameters.remove_entry(*key)).collect();
        let review = match kind.reviews() {
            true => Some(serde_json::from_value(Value::Object(reviewed)).map_err(bad)?),
            false => None,
        };
        // Parameters that are left out get their defaults.
        let mut all = PolicySpec::new(kind, Preset::Reasoning).parameters().map_err(bad)?;
        all.retain(|key, _| !review::KEYS.contains(&key.as_str()));
        all.extend(parameters);
        let rules = rules(kind, Value::Object(all)).map_err(bad)?;
        let mut limits = Limits::from(limits);
        limits.review = review;
        Ok(PolicySpec { rules, limits })
    }

    /// Returns the parameters as JSON: the policy's own, then the limits that are set.
    fn parameters(&self) -> Result<Map<String, Value>, serde_json::Error> {
        let own = match &self.rules {
            Rules::Strict(config) => serde_json::to_value(config)?,
            Rules::Paper(config) => serde_json::to_value(config)?,
            Rules::SmallOnly | Rules::LargeOnly | Rules::Review => Value::Null,
            Rules::Random { share } | Rules::RandomToken { share } => {
                serde_json::json!({ "share": share })
            }
            Rules::Periodic { share, period_tokens } => {
                serde_json::json!({ "share": share, "period_tokens": period_tokens })
            }
            Rules::Entropy { over_nats: entropy_nats } => {
                serde_json::to_value(EntropyNote { entropy_nats: *entropy_nats })?
            }
            Rules::Score { least } => serde_json::to_value(ScoreNote { least_score: *least })?,
        };
        let review = self.limits.review.map(serde_json::to_value).transpose()?.unwrap_or_default();
        let limits = serde_json::to_value(LimitsNote::from(self.limits))?;
        let objects = [own, review, limits].into_iter().filter_map(|value| match value {
            Value::Object(map) => Some(map),
            _ => None,
        });
        Ok(objects.flatten().collect())
    }
}

impl Default for PolicySpec {
    fn default() -> Self {
        PolicySpec::new(PolicyKind::default(), Preset::default())
    }
}

impl Serialize for PolicySpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parameters = self.parameters().map_err(S::Error::custom)?;
        LenientNote { name: self.kind(), parameters }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PolicySpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let LenientNote { name, parameters } = LenientNote::deserialize(deserializer)?;
        PolicySpec::read(name, parameters, Unknown::Dropped).map_err(D::Error::custom)
    }
}

/// Returns the rules of this kind with these parameters, which must be complete.
fn rules(kind: PolicyKind, own: Value) -> Result<Rules, serde_json::Error> {
    Ok(match kind {
        PolicyKind::Strict | PolicyKind::StrictReview => {
            Rules::Strict(serde_json::from_value(own)?)
        }
        PolicyKind::Review => Rules::Review,
        PolicyKind::Paper => Rules::Paper(serde_json::from_value(own)?),
        PolicyKind::SmallOnly => Rules::SmallOnly,
        PolicyKind::LargeOnly => Rules::LargeOnly,
        PolicyKind::Random => {
            let ScheduleNote { share, .. } = serde_json::from_value(own)?;
            Rules::Random { share }
        }
        PolicyKind::RandomToken => {
            let ScheduleNote { share, .. } = serde_json::from_value(own)?;
            Rules::RandomToken { share }
        }
        PolicyKind::Periodic => {
            let ScheduleNote { share, period_tokens } = serde_json::from_value(own)?;
            Rules::Periodic { share, period_tokens }
        }
        PolicyKind::Entropy => {
            let EntropyNote { entropy_nats } = serde_json::from_value(own)?;
            Rules::Entropy { over_nats: entropy_nats }
        }
        PolicyKind::Score => {
            let ScoreNote { least_score } = serde_json::from_value(own)?;
            Rules::Score { least: least_score }
        }
    })
}

/// Returns what is wrong with the limits, as (parameter, what it must be).
fn fault_of(limits: &Limits) -> Option<(&'static str, &'static str)> {
    let Targets { share, cost, .. } = limits.targets;
    if let Some(fault) = limits.review.and_then(|review| review.fault()) {
        return Some(fault);
    }
    let faults = [
        (limits.deadline == Some(Duration::ZERO), ("takeover_deadline_us", "at least 1")),
        (limits.overlap_tokens == Some(0), ("overlap_tokens", "at least 1")),
        (share.is_some_and(|it| !(0.0..=1.0).contains(&it)), ("target_share", "from 0 to 1")),
        (cost.is_some_and(|(it, _)| !(0.0..=f64::MAX).contains(&it)), ("target_cost", "0 or more")),
    ];
    faults.into_iter().find(|(is_bad, _)| *is_bad).map(|(_, fault)| fault)
}
