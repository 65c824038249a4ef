//! The body of an error.

use serde::{Deserialize, Serialize};

/// The body of an error response, and the event that ends a stream with an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// An error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// One line for people.
    pub message: String,
    /// What kind of error, for programs: "invalid_request_error", "server_error", ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The request field that it is about.
    #[serde(default)]
    pub param: Option<String>,
    /// The code of the error, for programs.
    #[serde(default)]
    pub code: Option<String>,
}
