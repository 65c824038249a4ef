//! What the results of a sweep's policy depend on, besides the seed and the models.

use answer::Settings;
use runs::LogHeader;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::Value;
use thinking::{
    policy::{DEFAULT_SHARE, PolicySpec},
    thinker::Sampling,
};

/// A policy of a sweep, with the settings of its answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The policy.
    pub policy: SweptPolicy,
    /// How tokens are sampled.
    pub sampling: Sampling,
    /// The maximum number of tokens of an answer.
    pub max_tokens: u32,
    /// The time limit for an answer, in milliseconds.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// The system message.
    #[serde(default)]
    pub system: Option<String>,
    /// How the nodes are used.
    pub settings: Settings,
}

impl Terms {
    /// Returns the terms of the cells whose logs have this header. `share_of` names the policy whose share is taken.
    pub(super) fn new(header: &LogHeader, share_of: Option<&str>) -> Self {
        let spec = match share_of {
            Some(_) => header.policy.clone().with_share(DEFAULT_SHARE),
            None => header.policy.clone(),
        };
        Terms {
            policy: SweptPolicy { spec, share_of: share_of.map(str::to_owned) },
            sampling: header.sampling,
            max_tokens: header.max_tokens,
            deadline_ms: header.deadline_ms,
            system: header.system.clone(),
            settings: header.settings,
        }
    }
}

/// A policy whose share of the large writer may be the one that another policy of the sweep had over the same link with
/// the same seed.
///
/// Its JSON is that of the policy, in which `share` may be the other policy's name.
#[derive(Debug, Clone, PartialEq)]
pub struct SweptPolicy {
    /// The policy; with [`DEFAULT_SHARE`] if its share is taken from another one.
    pub spec: PolicySpec,
    /// The name of the policy whose share it takes.
    pub share_of: Option<String>,
}

impl Serialize for SweptPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serde_json::to_value(&self.spec).map_err(S::Error::custom)?;
        if let Some(of) = &self.share_of {
            value["parameters"]["share"] = Value::from(of.as_str());
        }
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SweptPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let share = value.pointer_mut("/parameters/share");
        let share_of = match share {
            Some(share @ Value::String(_)) => {
                let of = share.as_str().map(str::to_owned);
                *share = Value::from(DEFAULT_SHARE);
                of
            }
            _ => None,
        };
        let spec = serde_json::from_value(value).map_err(D::Error::custom)?;
        Ok(SweptPolicy { spec, share_of })
    }
}

#[cfg(test)]
mod tests {
    use thinking::policy::{PolicyKind, Preset};

    use super::*;

    #[test]
    fn a_share_may_be_another_policys() {
        let spec = PolicySpec::new(PolicyKind::Random, Preset::Reasoning);
        for share_of in [None, Some("strict".to_owned())] {
            let policy = SweptPolicy { spec: spec.clone(), share_of };
            let json = serde_json::to_string(&policy).unwrap();
            assert_eq!(serde_json::from_str::<SweptPolicy>(&json).unwrap(), policy, "{json}");
            assert_eq!(json.contains("\"strict\""), policy.share_of.is_some(), "{json}");
        }
    }
}
