//! What an answer that is an error holds.

use serde::{Deserialize, Serialize};

/// The body of an error, and an event of a stream that breaks off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// An error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// One line for a person.
    pub message: String,
    /// What kind of error, for programs: "invalid_request_error", "server_error", ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The field of the request that it is about.
    #[serde(default)]
    pub param: Option<String>,
    /// Which error, for programs.
    #[serde(default)]
    pub code: Option<String>,
}
