//! The errors of requests and answers, in OpenAI's form and with codes of our own.

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use openai::{ErrorBody, ErrorDetail};
use strum::IntoStaticStr;
use thinking::{
    policy::Role,
    shown::one_line,
    thinker::{Code, Failure},
};

/// The code of an error, for programs. docs/serve.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum ErrorCode {
    InvalidJson,
    MissingField,
    InvalidType,
    InvalidValue,
    UnsupportedField,
    UnknownField,
    ContextLengthExceeded,
    TemplateFailed,
    InvalidApiKey,
    HostNotAllowed,
    OriginNotAllowed,
    ModelNotFound,
    AnswerNotFound,
    NoJournals,
    UnknownRoute,
    MethodNotAllowed,
    BodyTooSlow,
    BodyTooLarge,
    MessageTooLarge,
    QueueFull,
    QueueTimeout,
    Internal,
    NodeFailed,
    NodeRefused,
    NodesUnavailable,
    NodesOverloaded,
    ShuttingDown,
    DeadlineExceeded,
}

impl ErrorCode {
    pub(crate) fn status(self) -> StatusCode {
        use ErrorCode as C;
        match self {
            C::InvalidJson
            | C::MissingField
            | C::InvalidType
            | C::InvalidValue
            | C::UnsupportedField
            | C::UnknownField
            | C::ContextLengthExceeded
            | C::TemplateFailed => StatusCode::BAD_REQUEST,
            C::InvalidApiKey => StatusCode::UNAUTHORIZED,
            C::HostNotAllowed | C::OriginNotAllowed => StatusCode::FORBIDDEN,
            C::ModelNotFound | C::AnswerNotFound | C::NoJournals | C::UnknownRoute => {
                StatusCode::NOT_FOUND
            }
            C::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            C::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            C::BodyTooLarge | C::MessageTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            C::QueueFull | C::QueueTimeout => StatusCode::TOO_MANY_REQUESTS,
            C::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            C::NodeFailed | C::NodeRefused => StatusCode::BAD_GATEWAY,
            C::NodesUnavailable | C::NodesOverloaded | C::ShuttingDown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            C::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn kind(self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// Returns when to retry, in seconds, if a retry may help.
    fn retry_after_s(self) -> Option<u64> {
        let again = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        again.contains(&self.status()).then_some(1)
    }
}

/// An error of a request or an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    pub(crate) code: ErrorCode,
    /// The request field that it is about.
    pub(crate) param: Option<String>,
    message: String,
    retry_after_s: Option<u64>,
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl AsRef<str>) -> Self {
        let message = one_line(message.as_ref());
        ApiError { code, param: None, message, retry_after_s: code.retry_after_s() }
    }

    /// Returns the error, about a field.
    pub(crate) fn about(self, param: impl Into<String>) -> Self {
        ApiError { param: Some(param.into()), ..self }
    }

    /// Returns the error of requests and answers that the shutdown ends.
    pub(crate) fn shutting_down() -> Self {
        let why = "this server is shutting down: try again, or use another server";
        ApiError::new(ErrorCode::ShuttingDown, why)
    }

    /// Returns the error of an answer whose last small node failed, or whose large node cannot do what it is needed
    /// for.
    pub(crate) fn of_failure(part: Role, node: &str, failure: &Failure) -> Self {
        let code = match failure.code {
            Code::InvalidArgument if part == Role::Large => ErrorCode::NodeRefused,
            Code::ContextTooLong => ErrorCode::ContextLengthExceeded,
            Code::MessageTooLarge => ErrorCode::MessageTooLarge,
            Code::Template => ErrorCode::TemplateFailed,
            Code::Unauthenticated | Code::UnsupportedVersion => ErrorCode::NodeRefused,
            Code::Overloaded => ErrorCode::NodesOverloaded,
            Code::Unavailable => ErrorCode::NodesUnavailable,
            Code::DeadlineExceeded => ErrorCode::DeadlineExceeded,
            Code::InvalidArgument | Code::Internal => ErrorCode::NodeFailed,
        };
        let at = if failure.names_thinker() { String::new() } else { format!(" {node}") };
        let mut error = ApiError::new(code, format!("{part} node{at}: {failure}"));
        if let (Some(_), Some(wait_ms)) = (error.retry_after_s, failure.retry_after_ms) {
            error.retry_after_s = Some(wait_ms.div_ceil(1000).max(1));
        }
        if code == ErrorCode::ContextLengthExceeded {
            error = error.about("messages");
        }
        error
    }

    /// Returns the error as it appears in a response and in a stream.
    pub(crate) fn body(&self) -> ErrorBody {
        let code: &str = self.code.into();
        let error = ErrorDetail {
            message: self.message.clone(),
            kind: self.code.kind().to_owned(),
            param: self.param.clone(),
            code: Some(code.to_owned()),
        };
        ErrorBody { error }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json(&self.body());
        *response.status_mut() = self.code.status();
        // The metrics count it.
        response.extensions_mut().insert(self.code);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == ErrorCode::InvalidApiKey {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Returns a response with a JSON value.
pub(crate) fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut response = Response::new(Body::from(body));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        }
        Err(why) => {
            tracing::error!(%why, "cannot write an answer as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_a_node_is_the_error_that_clients_know() {
        for (code, retry_after_ms, status, name, again) in [
            (Code::ContextTooLong, None, 400, "context_length_exceeded", None),
            (Code::Template, None, 400, "template_failed", None),
            (Code::MessageTooLarge, None, 413, "message_too_large", None),
            (Code::Unauthenticated, None, 502, "node_refused", None),
            (Code::Internal, Some(900), 502, "node_failed", None),
            (Code::Overloaded, Some(2500), 503, "nodes_overloaded", Some("3")),
            (Code::Unavailable, None, 503, "nodes_unavailable", Some("1")),
            (Code::DeadlineExceeded, None, 504, "deadline_exceeded", None),
        ] {
            let failure = Failure { retry_after_ms, ..Failure::new(code, "it\nis so") };
            let error = ApiError::of_failure(Role::Small, "http://a:1", &failure);
            assert_eq!(error.to_string(), "small node http://a:1: it is so");
            assert_eq!(error.body().error.code.as_deref(), Some(name));
            let response = error.into_response();
            assert_eq!(response.status().as_u16(), status, "{name}");
            let header = response.headers().get(RETRY_AFTER).map(|it| it.to_str().unwrap());
            assert_eq!(header, again, "{name}");
        }
    }
}
