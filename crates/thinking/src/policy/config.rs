//! The names of policies and presets, and policies' parameters in YAML, with errors that name the line.

use std::str::FromStr;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_saphyr::Error as YamlError;
use strum::{Display, IntoStaticStr, VariantArray};

use super::{LoopRule, Role};
use crate::{names::nearest, thinker::ModelCard};

/// The policies by name.
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
    /// A writer drawn for every paragraph.
    Random,
    /// Writers in turns of fixed length.
    Periodic,
    /// One token of the large writer at places drawn anywhere: what a correction of `review` is worth where it is not
    /// called for.
    RandomToken,
    /// The large writer writes the paragraphs of whose first token the small one is unsure.
    Entropy,
    /// The large writer gives every paragraph a mark, and writes those again that have a low one.
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

    /// Its name.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it has a use for the large writer. A node that it has no use for is not asked for anything, and cannot
    /// degrade the answer.
    pub fn uses_large(self) -> bool {
        self != PolicyKind::SmallOnly
    }

    /// Whether both writers have a part in it.
    pub fn has_takeovers(self) -> bool {
        !matches!(self, PolicyKind::SmallOnly | PolicyKind::LargeOnly)
    }

    /// Whether the large writer judges what the small one writes.
    pub fn reviews(self) -> bool {
        matches!(self, PolicyKind::Review | PolicyKind::StrictReview)
    }

    /// Whether a node that serves this can play this part.
    pub fn fits(self, role: Role, card: &ModelCard) -> bool {
        match (self, role) {
            (PolicyKind::Review | PolicyKind::StrictReview | PolicyKind::Score, Role::Large) => {
                card.can_review
            }
            (PolicyKind::Entropy, Role::Small) => card.can_report_entropy,
            _ => true,
        }
    }

    /// What is done about loops where nothing else is asked for.
    pub fn usual_loops(self) -> LoopRule {
        match self {
            PolicyKind::Paper => LoopRule::Off,
            _ if self.has_takeovers() => LoopRule::HandOver,
            _ => LoopRule::End,
        }
    }
}

/// What kind of small model the values are for.
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
    /// The small model is an ordinary instruct model: the large one begins the answer and is tried at
    /// every paragraph break.
    Instruct,
}

impl Preset {
    /// Every preset, the default one first.
    pub const ALL: &'static [Preset] = Preset::VARIANTS;

    /// Its name.
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
    /// A value in the YAML does not fit its key, or it is not YAML.
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
        /// The known one that is most like it.
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
    /// Something else than a policy.
    #[error("not a policy: {why}; write {{\"name\": \"strict\", \"parameters\": {{}}}}")]
    BadSpec {
        /// What is wrong.
        why: String,
    },
    /// A YAML for a policy that has no parameters.
    #[error("the {kind} policy reads no YAML: leave it out, or choose paper or strict")]
    NoParameters {
        /// The policy.
        kind: PolicyKind,
    },
    /// Limits for takeovers of a policy that has none.
    #[error(
        "the {kind} policy has no takeovers to give up or to hand a loop over with: leave --takeover-deadline, \
         --overlap, --target and --loops hand-over out, or choose another policy"
    )]
    NoTakeovers {
        /// The policy.
        kind: PolicyKind,
    },
    /// A review of a policy that has none, or none of one that is nothing else.
    #[error(
        "the {kind} policy and a review do not go together: choose review or strict+review for one, and leave \
         --review-* out of any other policy"
    )]
    NoReview {
        /// The policy.
        kind: PolicyKind,
    },
    /// A rule for loops for the policy that has none.
    #[error("the {kind} policy goes through loops as its authors' does: leave --loops out")]
    HasNoLoops {
        /// The policy.
        kind: PolicyKind,
    },
    /// A share outside 0 to 1.
    #[error("bad share {share}: give the large model's share of the tokens, from 0 to 1")]
    BadShare {
        /// What was given.
        share: String,
    },
}

/// Reads YAML strictly; errors name the line.
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
            YamlError::DuplicateMappingKey { .. } => "the key is there twice; leave one".to_owned(),
            other => other.to_string().lines().collect::<Vec<_>>().join(" "),
        };
        PolicyError::BadYaml { kind, line, at: at.trim().to_owned(), why }
    })
}

/// The one of this name; the error names all and the nearest.
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
