//! The names of policies and presets, and policy parameters in YAML, with errors that name the line.

use std::str::FromStr;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_saphyr::Error as YamlError;
use strum::{Display, IntoStaticStr, VariantArray};

use super::{LoopRule, Role};
use crate::{names::nearest, thinker::ModelCard};

/// The policies by name. The default is `strict`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum PolicyKind {
    /// The paper's rules without the leaks of the authors' loop.
    #[default]
    Strict,
    /// The authors' published loop to the letter.
    Paper,
    /// The small writer alone.
    SmallOnly,
    /// The large writer alone.
    LargeOnly,
    /// A writer drawn at random for every paragraph.
    Random,
    /// Writers in turns of fixed length.
    Periodic,
    /// Single tokens of the large writer at random places. This shows what a correction of `review` is worth where
    /// nothing calls for one.
    RandomToken,
    /// The large writer writes each paragraph whose first token the small one is unsure of.
    Entropy,
    /// The large writer gives every paragraph a mark, and rewrites those with a low one.
    Score,
    /// The small writer, judged by the large one.
    Review,
    /// The default policy, with the small writer's text judged by the large one.
    #[serde(rename = "strict+review")]
    #[strum(serialize = "strict+review")]
    StrictReview,
}

impl PolicyKind {
    /// Every policy, the default one first.
    pub const ALL: &'static [PolicyKind] = PolicyKind::VARIANTS;

    /// Returns its name.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns whether it uses the large writer. If it does not, no large node is asked for anything, so none can
    /// degrade the answer.
    pub fn uses_large(self) -> bool {
        self != PolicyKind::SmallOnly
    }

    /// Returns whether both writers take part.
    pub fn has_takeovers(self) -> bool {
        !matches!(self, PolicyKind::SmallOnly | PolicyKind::LargeOnly)
    }

    /// Returns whether the large writer judges what the small one writes.
    pub fn reviews(self) -> bool {
        matches!(self, PolicyKind::Review | PolicyKind::StrictReview)
    }

    /// Returns whether a node with this card can play this role.
    pub fn fits(self, role: Role, card: &ModelCard) -> bool {
        match (self, role) {
            (PolicyKind::Review | PolicyKind::StrictReview | PolicyKind::Score, Role::Large) => {
                card.can_review
            }
            (PolicyKind::Entropy, Role::Small) => card.can_report_entropy,
            _ => true,
        }
    }

    /// Returns the rule for loops that applies if none is chosen.
    pub fn usual_loops(self) -> LoopRule {
        match self {
            PolicyKind::Paper => LoopRule::Off,
            _ if self.has_takeovers() => LoopRule::HandOver,
            _ => LoopRule::End,
        }
    }
}

/// Which kind of small model the default values are for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Preset {
    /// Both models reason.
    #[default]
    Reasoning,
    /// The small model is an ordinary instruct model: the large one begins the answer and takes over at every paragraph
    /// break.
    Instruct,
}

impl Preset {
    /// Every preset, the default one first.
    pub const ALL: &'static [Preset] = Preset::VARIANTS;

    /// Returns its name.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl FromStr for PolicyKind {
    type Err = PolicyError;

    fn from_str(name: &str) -> Result<Self, PolicyError> {
        by_name("policy", name, PolicyKind::ALL)
    }
}

impl FromStr for LoopRule {
    type Err = PolicyError;

    fn from_str(name: &str) -> Result<Self, PolicyError> {
        by_name("rule for loops", name, LoopRule::ALL)
    }
}

impl FromStr for Preset {
    type Err = PolicyError;

    fn from_str(name: &str) -> Result<Self, PolicyError> {
        by_name("preset", name, Preset::ALL)
    }
}

/// A policy that cannot be read or built. Each message is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No policy or preset has this name.
    #[error("unknown {what} {name:?}: did you mean {nearest:?}? Known: {known}")]
    UnknownName {
        /// "policy", "preset" or "rule for loops".
        what: &'static str,
        /// The given name.
        name: String,
        /// The known name closest to it.
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
        /// The known key closest to it.
        nearest: String,
    },
    /// The YAML has a value that does not fit its key, or is not valid YAML.
    #[error("bad {kind} policy YAML, line {line} ({at:?}): {why}")]
    BadYaml {
        /// The policy.
        kind: PolicyKind,
        /// The line, from 1; 0 if not known.
        line: u64,
        /// The line's text.
        at: String,
        /// What is wrong.
        why: String,
    },
    /// A value with which no answer could be written.
    #[error("bad value for {key} of the {kind} policy: it must be {must_be}")]
    BadValue {
        /// The policy.
        kind: PolicyKind,
        /// The key.
        key: &'static str,
        /// What it must be.
        must_be: &'static str,
    },
    /// A parameter that the policy does not have.
    #[error("the {kind} policy has no parameter {key:?}: did you mean {nearest:?}?")]
    UnknownParameter {
        /// The policy.
        kind: PolicyKind,
        /// The parameter.
        key: String,
        /// The known parameter closest to it.
        nearest: String,
    },
    /// A parameter with a value of the wrong type.
    #[error("bad parameter of the {kind} policy: {why}")]
    BadParameter {
        /// The policy.
        kind: PolicyKind,
        /// What is wrong.
        why: String,
    },
    /// The value is not a policy.
    #[error("not a policy: {why}; write {{\"name\": \"strict\", \"parameters\": {{}}}}")]
    BadSpec {
        /// What is wrong.
        why: String,
    },
    /// YAML for a policy that has no parameters.
    #[error("the {kind} policy reads no YAML: leave it out, or choose paper or strict")]
    NoParameters {
        /// The policy.
        kind: PolicyKind,
    },
    /// Limits on takeovers for a policy that has none.
    #[error(
        "the {kind} policy has no takeovers: leave out --takeover-deadline, --overlap, --target and \
         --loops hand-over, or choose another policy"
    )]
    NoTakeovers {
        /// The policy.
        kind: PolicyKind,
    },
    /// A review for a policy that has none, or no review for a policy that needs one.
    #[error(
        "the {kind} policy does not match its review settings: choose review or strict+review for a review, and leave \
         out --review-* with any other policy"
    )]
    NoReview {
        /// The policy.
        kind: PolicyKind,
    },
    /// A rule for loops for `paper`, which has none.
    #[error("the {kind} policy ignores loops, as its authors' program does: leave --loops out")]
    HasNoLoops {
        /// The policy.
        kind: PolicyKind,
    },
    /// A share outside 0 to 1.
    #[error("bad share {share}: give the large model's share of the tokens, from 0 to 1")]
    BadShare {
        /// The given share.
        share: String,
    },
}

/// Parses YAML strictly. Errors name the line.
pub(super) fn parse<T: DeserializeOwned>(kind: PolicyKind, yaml: &str) -> Result<T, PolicyError> {
    serde_saphyr::from_str(yaml).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(0, |location| location.line());
        if let YamlError::SerdeUnknownField { field, expected, .. } = error {
            let nearest = nearest(field, expected).to_owned();
            return PolicyError::UnknownKey { kind, key: field.clone(), line, nearest };
        }
        let number = usize::try_from(line).unwrap_or(0);
        let at = number.checked_sub(1).and_then(|index| yaml.lines().nth(index)).unwrap_or("");
        let why = match error {
            YamlError::InvalidScalar { ty: "u32", .. } => {
                format!("give a whole number from 0 to {}", u32::MAX)
            }
            YamlError::InvalidScalar { ty, .. } => format!("give a value of type {ty}"),
            YamlError::DuplicateMappingKey { .. } => "the key occurs twice; remove one".to_owned(),
            other => other.to_string().lines().collect::<Vec<_>>().join(" "),
        };
        PolicyError::BadYaml { kind, line, at: at.trim().to_owned(), why }
    })
}

/// Returns the value with this name. The error lists all names and the nearest one.
fn by_name<T: Copy + Into<&'static str>>(
    what: &'static str,
    name: &str,
    all: &[T],
) -> Result<T, PolicyError> {
    let names: Vec<&str> = all.iter().map(|one| (*one).into()).collect();
    let found = names.iter().position(|known| *known == name).map(|at| all[at]);
    found.ok_or_else(|| PolicyError::UnknownName {
        what,
        name: name.to_owned(),
        nearest: nearest(name, &names).to_owned(),
        known: names.join(", "),
    })
}
