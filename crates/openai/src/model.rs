//! The list of a server's models.

use serde::{Deserialize, Serialize};

use crate::lenient::or_default;

/// The answer of `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelList<M = ModelEntry> {
    /// Always "list".
    #[serde(default, deserialize_with = "or_default")]
    pub object: String,
    /// The models.
    pub data: Vec<M>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// Its name in requests.
    pub id: String,
    /// Always "model".
    #[serde(default, deserialize_with = "or_default")]
    pub object: String,
    /// Since when it has existed, in seconds since 1970-01-01 UTC.
    #[serde(default, deserialize_with = "or_default")]
    pub created: u64,
    /// Its owner.
    #[serde(default, deserialize_with = "or_default")]
    pub owned_by: String,
}
