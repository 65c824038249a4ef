//! The models that a server has.

use serde::{Deserialize, Serialize};

/// What `GET /v1/models` gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelList<M = ModelEntry> {
    /// Always "list".
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
    pub object: String,
    /// Since when it is there, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// Whose it is.
    pub owned_by: String,
}
