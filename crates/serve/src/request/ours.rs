//! The object `specthink` of a request. Unknown fields in it are refused.

use std::time::Duration;

use serde_json::Value;
use thinking::{names::nearest, policy::Target};

use super::fields::{Fields, wrong_type, wrong_value};
use crate::error::{ApiError, ErrorCode};

/// The longest time that a request may name, in milliseconds: a day.
const LONGEST_MS: u64 = 24 * 3600 * 1000;

const KEYS: [&str; 5] = ["policy", "targets", "deadline_ms", "takeover_deadline_ms", "reasoning"];

/// What a request asks for beyond OpenAI's API.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OursWanted {
    pub(crate) policy: Option<PolicyWanted>,
    pub(crate) targets: Option<Vec<Target>>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) takeover_deadline: Option<Duration>,
    /// Whether the reasoning is to stay in the content.
    pub(crate) is_inline: Option<bool>,
}

/// The policy that a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PolicyWanted {
    /// The policy of this name.
    Named(String),
    /// A policy with its parameters, as JSON.
    Spec(Value),
}

impl OursWanted {
    pub(crate) fn read(fields: Option<Fields>) -> Result<Self, ApiError> {
        let Some(fields) = fields else { return Ok(OursWanted::default()) };
        if let Some(name) = fields.names().find(|name| !KEYS.contains(name)) {
            let path = fields.path(name);
            let near = nearest(name, &KEYS);
            let message = format!(
                "{path} is not a known field: write {near}, or leave it out; the known fields are {}",
                KEYS.join(", ")
            );
            return Err(ApiError::new(ErrorCode::UnknownField, message).about(path));
        }
        let time = |name| -> Result<Option<Duration>, ApiError> {
            Ok(fields.whole(name, 1, LONGEST_MS)?.map(Duration::from_millis))
        };
        Ok(OursWanted {
            policy: policy(&fields)?,
            targets: targets(&fields)?,
            deadline: time("deadline_ms")?,
            takeover_deadline: time("takeover_deadline_ms")?,
            is_inline: is_inline(&fields)?,
        })
    }
}

fn policy(fields: &Fields) -> Result<Option<PolicyWanted>, ApiError> {
    match fields.get("policy") {
        None => Ok(None),
        Some(Value::String(name)) => Ok(Some(PolicyWanted::Named(name.clone()))),
        Some(value @ Value::Object(_)) => Ok(Some(PolicyWanted::Spec(value.clone()))),
        Some(value) => {
            Err(wrong_type(&fields.path("policy"), value, "a policy's name or an object"))
        }
    }
}

fn targets(fields: &Fields) -> Result<Option<Vec<Target>>, ApiError> {
    let Some(list) = fields.list("targets")? else { return Ok(None) };
    let path = fields.path("targets");
    let read = list.iter().map(|value| {
        let text = value.as_str().ok_or_else(|| wrong_type(&path, value, "a list of texts"))?;
        text.parse().map_err(|_| {
            wrong_value(
                &path,
                value,
                "share<=10%, latency<=8s or cost<=0.002, with a number of 0 or more",
            )
        })
    });
    read.collect::<Result<_, _>>().map(Some)
}

fn is_inline(fields: &Fields) -> Result<Option<bool>, ApiError> {
    match (fields.text("reasoning")?, fields.get("reasoning")) {
        (Some("split"), _) => Ok(Some(false)),
        (Some("inline"), _) => Ok(Some(true)),
        (_, None) => Ok(None),
        (_, Some(value)) => Err(wrong_value(&fields.path("reasoning"), value, "split or inline")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<OursWanted, ApiError> {
        OursWanted::read(Some(Fields::at("specthink", value)?))
    }

    #[test]
    fn what_is_ours_is_read() {
        let read =
            read(&json!({ "policy": "small-only", "targets": ["share<=10%"], "deadline_ms": 1500,
            "takeover_deadline_ms": 300, "reasoning": "inline" }));
        let expected = OursWanted {
            policy: Some(PolicyWanted::Named("small-only".to_owned())),
            targets: Some(vec![Target::Share(0.1)]),
            deadline: Some(Duration::from_millis(1500)),
            takeover_deadline: Some(Duration::from_millis(300)),
            is_inline: Some(true),
        };
        assert_eq!(read, Ok(expected));
        assert_eq!(OursWanted::read(None), Ok(OursWanted::default()));
    }

    #[test]
    fn nothing_unknown_or_wrong_is_accepted() {
        for (value, param, words) in [
            (json!({ "polcy": "strict" }), "specthink.polcy", "write policy"),
            (json!({ "policy": 1 }), "specthink.policy", "a policy's name"),
            (json!({ "targets": "share<=10%" }), "specthink.targets", "a list"),
            (json!({ "targets": ["share<10%"] }), "specthink.targets", "share<=10%"),
            (json!({ "deadline_ms": 0 }), "specthink.deadline_ms", "from 1"),
            (json!({ "reasoning": "no" }), "specthink.reasoning", "split or inline"),
        ] {
            let error = read(&value).expect_err(&value.to_string());
            assert_eq!(error.param.as_deref(), Some(param));
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
