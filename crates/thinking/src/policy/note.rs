//! The JSON form of a [`PolicySpec`](super::PolicySpec): names, limits, and the treatment of unknown parameters. The
//! rules of a spec are elsewhere.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Limits, LoopRule, PolicyKind, Targets, TokenPrices};

/// What to do with a parameter that the policy does not have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unknown {
    Dropped,
    Refused,
}

/// Drops the keys that `known` does not have, in nested objects too.
pub(super) fn keep_known(map: &mut Map<String, Value>, known: &Map<String, Value>) {
    map.retain(|key, _| known.contains_key(key));
    for (key, value) in map {
        if let (Value::Object(map), Some(Value::Object(known))) = (value, known.get(key)) {
            keep_known(map, known);
        }
    }
}

/// The JSON form in journals and logs.
#[derive(Serialize, Deserialize)]
pub(super) struct LenientNote {
    pub(super) name: PolicyKind,
    #[serde(default)]
    pub(super) parameters: Map<String, Value>,
}

/// The JSON form in requests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StrictNote {
    pub(super) name: PolicyKind,
    #[serde(default)]
    pub(super) parameters: Map<String, Value>,
}

/// The parameters of a schedule.
#[derive(Deserialize)]
pub(super) struct ScheduleNote {
    pub(super) share: f64,
    #[serde(default)]
    pub(super) period_tokens: u32,
}

/// The parameters of `entropy`.
#[derive(Serialize, Deserialize)]
pub(super) struct EntropyNote {
    pub(super) entropy_nats: f32,
}

/// The parameters of `score`.
#[derive(Serialize, Deserialize)]
pub(super) struct ScoreNote {
    pub(super) least_score: u32,
}

/// The keys of [`LimitsNote`].
pub(super) const LIMIT_KEYS: [&str; 8] = [
    "takeover_deadline_us",
    "overlap_tokens",
    "target_share",
    "target_latency_us",
    "target_cost",
    "prices",
    "thought_only",
    "loops",
];

/// The limits, which are part of a policy's parameters; times are in microseconds.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct LimitsNote {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) takeover_deadline_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) overlap_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_latency_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_cost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prices: Option<TokenPrices>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) thought_only: bool,
    /// Absent in journals from before the rule existed, when nothing was done about loops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) loops: Option<LoopRule>,
}

impl From<Limits> for LimitsNote {
    fn from(limits: Limits) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let Targets { share, latency, cost } = limits.targets;
        LimitsNote {
            takeover_deadline_us: limits.deadline.map(micros),
            overlap_tokens: limits.overlap_tokens,
            target_share: share,
            target_latency_us: latency.map(micros),
            target_cost: cost.map(|(cost, _)| cost),
            prices: cost.map(|(_, prices)| prices),
            thought_only: limits.thought_only,
            loops: Some(limits.loops).filter(|rule| *rule != LoopRule::Off),
        }
    }
}

impl From<LimitsNote> for Limits {
    fn from(note: LimitsNote) -> Self {
        Limits {
            deadline: note.takeover_deadline_us.map(Duration::from_micros),
            overlap_tokens: note.overlap_tokens,
            targets: Targets {
                share: note.target_share,
                latency: note.target_latency_us.map(Duration::from_micros),
                cost: note.target_cost.zip(note.prices),
            },
            thought_only: note.thought_only,
            loops: note.loops.unwrap_or_default(),
            review: None,
        }
    }
}
