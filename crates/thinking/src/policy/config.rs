//! From a policy's name and an optional YAML file to a policy.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_saphyr::Error as YamlError;

use super::{
    Bounded, Bounds, Paper, PaperConfig, Policy, Role, Scheduled, Solo, Strict, StrictConfig,
};

/// Tokens of a period of the `periodic` policy, unless told otherwise.
pub const PERIOD_TOKENS: u32 = 200;

/// The policies by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// The authors' published loop to the letter.
    Paper,
    /// The paper's rules without the loop's leaks.
    #[default]
    Strict,
    /// The small writer alone.
    SmallOnly,
    /// The large writer alone.
    LargeOnly,
    /// A writer drawn for every paragraph.
    Random,
    /// Writers in turns of fixed length.
    Periodic,
}

impl PolicyKind {
    /// Every policy.
    pub const ALL: [PolicyKind; 6] = [
        PolicyKind::Strict,
        PolicyKind::Paper,
        PolicyKind::SmallOnly,
        PolicyKind::LargeOnly,
        PolicyKind::Random,
        PolicyKind::Periodic,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            PolicyKind::Paper => "paper",
            PolicyKind::Strict => "strict",
            PolicyKind::SmallOnly => "small-only",
            PolicyKind::LargeOnly => "large-only",
            PolicyKind::Random => "random",
            PolicyKind::Periodic => "periodic",
        }
    }
}

/// What kind of small model the values are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Both models reason.
    #[default]
    Reasoning,
    /// The small model is an ordinary instruct model: the large one begins the answer and is tried at
    /// every paragraph break.
    Instruct,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Preset; 2] = [Preset::Reasoning, Preset::Instruct];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Reasoning => "reasoning",
            Preset::Instruct => "instruct",
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for PolicyKind {
    type Err = PolicyError;

    fn from_str(name: &str) -> Result<Self, PolicyError> {
        let found = PolicyKind::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| unknown("policy", name, PolicyKind::ALL.map(PolicyKind::name).to_vec()))
    }
}

impl FromStr for Preset {
    type Err = PolicyError;

    fn from_str(name: &str) -> Result<Self, PolicyError> {
        let found = Preset::ALL.into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| unknown("preset", name, Preset::ALL.map(Preset::name).to_vec()))
    }
}

/// Why there is no policy. Each is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No policy or preset has this name.
    #[error("unknown {what} {name:?}: did you mean {nearest:?}? Known: {known}")]
    UnknownName {
        /// "policy" or "preset".
        what: &'static str,
        /// What was given.
        name: String,
        /// The known name that is most like it.
        nearest: String,
        /// All known names.
        known: String,
    },
    /// The YAML has a key that the policy does not know.
    #[error(
        "unknown key {key:?} in line {line} of the {kind} policy's YAML: did you mean {nearest:?}?"
    )]
    UnknownKey {
        /// The policy.
        kind: PolicyKind,
        /// The key.
        key: String,
        /// Its line, from 1.
        line: u64,
        /// The known key that is most like it.
        nearest: String,
    },
    /// A value in the YAML does not fit its key, or it is no YAML.
    #[error("bad {kind} policy YAML, line {line} ({at:?}): {why}")]
    BadYaml {
        /// The policy.
        kind: PolicyKind,
        /// The line, from 1; 0 when unknown.
        line: u64,
        /// The line's text.
        at: String,
        /// What is wrong.
        why: String,
    },
    /// A value that no answer could be written with.
    #[error("bad value for {key} in the {kind} policy's YAML: it must be {must_be}")]
    BadValue {
        /// The policy.
        kind: PolicyKind,
        /// The key.
        key: &'static str,
        /// What it must be.
        must_be: &'static str,
    },
    /// A YAML for a policy that has no parameters.
    #[error("the {kind} policy reads no YAML: leave it out, or choose paper or strict")]
    NoParameters {
        /// The policy.
        kind: PolicyKind,
    },
    /// Bounds for takeovers of a policy that has none.
    #[error(
        "the {kind} policy has no takeovers to give up: leave --takeover-deadline, --overlap and --target out, or \
         choose another policy"
    )]
    NoTakeovers {
        /// The policy.
        kind: PolicyKind,
    },
    /// A share that is no share.
    #[error("bad share {share}: give the large model's share of the tokens, from 0 to 1")]
    BadShare {
        /// What was given.
        share: String,
    },
}

/// What a policy is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe<'a> {
    /// Which policy.
    pub kind: PolicyKind,
    /// Which values, where no YAML is given.
    pub preset: Preset,
    /// The parameters of `paper` (the authors' keys) or `strict`, as YAML. Keys that are left out
    /// have the values of a reasoning pair.
    pub yaml: Option<&'a str>,
    /// Greatest number of tokens of the answer; for `paper`, of prompt and answer.
    pub max_tokens: u32,
    /// The large writer's share of the tokens, from 0 to 1; for `random` and `periodic`.
    pub share: f64,
    /// Tokens of a period; for `periodic`.
    pub period_tokens: u32,
    /// Seeds `random`.
    pub seed: u64,
    /// What takeovers may cost.
    pub bounds: Bounds,
}

impl Default for Recipe<'_> {
    fn default() -> Self {
        Recipe {
            kind: PolicyKind::default(),
            preset: Preset::default(),
            yaml: None,
            max_tokens: 4096,
            share: 0.2,
            period_tokens: PERIOD_TOKENS,
            seed: 0,
            bounds: Bounds::default(),
        }
    }
}

/// Makes a policy. One that asks the large writer knows what to do when that is late or out.
pub fn build(recipe: &Recipe<'_>) -> Result<Box<dyn Policy>, PolicyError> {
    let Recipe { kind, preset, yaml, max_tokens, share, period_tokens, seed, bounds } = *recipe;
    if yaml.is_some() && !matches!(kind, PolicyKind::Paper | PolicyKind::Strict) {
        return Err(PolicyError::NoParameters { kind });
    }
    let scheduled = matches!(kind, PolicyKind::Random | PolicyKind::Periodic);
    if scheduled && !(0.0..=1.0).contains(&share) {
        return Err(PolicyError::BadShare { share: share.to_string() });
    }
    if bounds != Bounds::default() && matches!(kind, PolicyKind::SmallOnly | PolicyKind::LargeOnly)
    {
        return Err(PolicyError::NoTakeovers { kind });
    }
    let policy: Box<dyn Policy> = match kind {
        PolicyKind::Paper => Box::new(Paper::new(paper_config(preset, yaml)?, max_tokens)),
        PolicyKind::Strict => Box::new(Strict::new(strict_config(preset, yaml)?, max_tokens)),
        PolicyKind::SmallOnly => Box::new(Solo::new(Role::Small, max_tokens)),
        PolicyKind::LargeOnly => Box::new(Solo::new(Role::Large, max_tokens)),
        PolicyKind::Random => Box::new(Scheduled::random(share, seed, max_tokens)),
        PolicyKind::Periodic => Box::new(Scheduled::periodic(share, period_tokens, max_tokens)),
    };
    Ok(match kind {
        PolicyKind::SmallOnly => policy,
        _ => Box::new(Bounded::new(policy, bounds, max_tokens)),
    })
}

/// The configuration of `paper`: from the authors' YAML where there is one, else the preset's.
pub fn paper_config(preset: Preset, yaml: Option<&str>) -> Result<PaperConfig, PolicyError> {
    let kind = PolicyKind::Paper;
    let config = match (yaml, preset) {
        (Some(yaml), _) => parse::<PaperConfig>(kind, yaml)?,
        (None, Preset::Reasoning) => PaperConfig::default(),
        (None, Preset::Instruct) => PaperConfig::instruct(),
    };
    checked(kind, config.fault(), config)
}

/// The configuration of `strict`: from YAML where there is one, else the preset's.
pub fn strict_config(preset: Preset, yaml: Option<&str>) -> Result<StrictConfig, PolicyError> {
    let kind = PolicyKind::Strict;
    let config = match (yaml, preset) {
        (Some(yaml), _) => parse::<StrictConfig>(kind, yaml)?,
        (None, Preset::Reasoning) => StrictConfig::default(),
        (None, Preset::Instruct) => StrictConfig::instruct(),
    };
    checked(kind, config.fault(), config)
}

fn checked<T>(
    kind: PolicyKind,
    fault: Option<(&'static str, &'static str)>,
    config: T,
) -> Result<T, PolicyError> {
    match fault {
        Some((key, must_be)) => Err(PolicyError::BadValue { kind, key, must_be }),
        None => Ok(config),
    }
}

fn parse<T: DeserializeOwned>(kind: PolicyKind, yaml: &str) -> Result<T, PolicyError> {
    serde_saphyr::from_str(yaml).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(0, |location| location.line());
        if let YamlError::SerdeUnknownField { field, expected, .. } = error {
            let nearest = nearest(field, expected);
            return PolicyError::UnknownKey { kind, key: field.clone(), line, nearest };
        }
        let number = usize::try_from(line).unwrap_or(0);
        let at = number.checked_sub(1).and_then(|index| yaml.lines().nth(index)).unwrap_or("");
        let why = match error {
            YamlError::InvalidScalar { ty: "u32", .. } => {
                format!("give a whole number from 0 to {}", u32::MAX)
            }
            YamlError::InvalidScalar { ty, .. } => format!("give a value of type {ty}"),
            YamlError::DuplicateMappingKey { .. } => "the key is there twice; leave one".to_owned(),
            other => other.to_string().lines().collect::<Vec<_>>().join(" "),
        };
        PolicyError::BadYaml { kind, line, at: at.trim().to_owned(), why }
    })
}

fn unknown(what: &'static str, name: &str, known: Vec<&'static str>) -> PolicyError {
    PolicyError::UnknownName {
        what,
        name: name.to_owned(),
        nearest: nearest(name, &known),
        known: known.join(", "),
    }
}

/// The known name most like this one; letters' case is the least difference.
fn nearest(name: &str, known: &[&'static str]) -> String {
    let distance = |known: &str| {
        let lower = strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
        (lower, strsim::damerau_levenshtein(name, known))
    };
    known.iter().min_by_key(|known| distance(known)).map_or_else(String::new, |k| (*k).to_owned())
}
