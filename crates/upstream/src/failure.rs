//! What went wrong with a server, as one of the closed list of failures: one line that names the server.

use std::{error::Error, time::Duration};

use reqwest::header::HeaderMap;
use serde_json::Value;
use thinking::{
    shown::one_line,
    thinker::{Code, Failure, Noticed},
};

use crate::address::UpstreamAddress;

/// The longest quotation of a server's own message, in characters.
const MOST_WORDS: usize = 300;
/// When to retry a server that is full or loading its model, unless it says.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A failure noticed at a server. The message names the server.
pub(crate) fn noticed(
    address: &UpstreamAddress,
    code: Code,
    what: impl std::fmt::Display,
) -> Failure {
    let message = one_line(&format!("{address} {what}"));
    Failure { noticed: Noticed::OnTheWay, ..Failure::new(code, message) }
}

/// The server is not there, or not what it should be.
pub(crate) fn unavailable(address: &UpstreamAddress, what: impl std::fmt::Display) -> Failure {
    noticed(address, Code::Unavailable, what)
}

/// A request that failed to get through, or an answer that was cut off.
pub(crate) fn from_error(address: &UpstreamAddress, error: &reqwest::Error) -> Failure {
    let mut reason: &dyn Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    let what = if error.is_timeout() {
        "does not accept the connection in time; check the address and the network".to_owned()
    } else if error.is_connect() {
        format!("cannot be reached: {reason}; start the server there, or fix the address")
    } else if error.is_builder() {
        format!("cannot be asked: {reason}; the key may hold characters that a header must not")
    } else {
        format!("broke off the connection: {reason}; see its log")
    };
    unavailable(address, what)
}

/// An answer with an error status.
pub(crate) fn from_status(
    address: &UpstreamAddress,
    path: &str,
    status: u16,
    headers: &HeaderMap,
    body: &str,
) -> Failure {
    let said = said(body);
    let because = said.as_ref().map(|said| format!(": {said}")).unwrap_or_default();
    let failure = |code, what: String| noticed(address, code, what);
    let again = |code, what: String| {
        let wait = retry_after(headers).unwrap_or(RETRY_AFTER);
        let retry_after_ms = u64::try_from(wait.as_millis()).ok();
        Failure { retry_after_ms, ..failure(code, what) }
    };
    match status {
        401 | 403 => failure(
            Code::Unauthenticated,
            format!(
                "refuses the key, or requires one ({status}{because}); give it in a token file"
            ),
        ),
        400 | 422 if is_about_context(body) => {
            failure(Code::ContextTooLong, format!("cannot hold the text{because}; shorten it"))
        }
        400 | 422 => {
            failure(Code::InvalidArgument, format!("refuses the request{because}; see its log"))
        }
        404 | 405 if said.as_ref().is_some_and(|said| said.contains("model")) => failure(
            Code::InvalidArgument,
            format!("does not serve the model{because}; name one that it serves"),
        ),
        404 | 405 => failure(
            Code::Unavailable,
            format!("has no {path} ({status}{because}); check the address, and {}", kinds(path)),
        ),
        413 => failure(
            Code::MessageTooLarge,
            format!(
                "does not accept a request of this size{because}; shorten the text, or raise the server's limit"
            ),
        ),
        429 => again(Code::Overloaded, format!("has no room now{because}")),
        503 if body.to_ascii_lowercase().contains("loading") => {
            again(Code::Unavailable, format!("is still loading its model{because}"))
        }
        503 => again(Code::Overloaded, format!("has no room now{because}")),
        300..400 => failure(
            Code::Unavailable,
            format!(
                "redirects elsewhere ({status}{}); give that address",
                headers.get("location").and_then(|to| to.to_str().ok()).unwrap_or_default()
            ),
        ),
        502 | 504 => failure(
            Code::Unavailable,
            format!("is a proxy with no server behind it ({status}{because}); start the server"),
        ),
        500.. => failure(Code::Internal, format!("failed ({status}{because}); see its log")),
        _ => failure(
            Code::Internal,
            format!("answered with status {status}{because}; check the address"),
        ),
    }
}

/// An error that a server reports within an answer that began well.
pub(crate) fn from_error_event(address: &UpstreamAddress, error: &Value) -> Failure {
    let code = &error["code"];
    let status = code.as_u64().or_else(|| code.as_str()?.parse().ok());
    let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
    let body = serde_json::json!({ "error": error }).to_string();
    from_status(address, "such route", status, &HeaderMap::new(), &body)
}

/// Advice for a missing route: what kind the server may be.
fn kinds(path: &str) -> &'static str {
    match path {
        "/v1/completions" => {
            "give the kind of a server that has chats only (chat-continue, chat-prefix or chat-assistant)"
        }
        _ => "the kind of server",
    }
}

/// Returns whether a request was refused because it did not fit. Servers say so only in their message.
fn is_about_context(body: &str) -> bool {
    let body = body.to_ascii_lowercase();
    [
        "exceed_context_size",
        "context_length_exceeded",
        "context length",
        "context size",
        "context window",
    ]
    .iter()
    .any(|words| body.contains(words))
}

/// Returns the server's own message, if there is one. HTML is left out.
fn said(body: &str) -> Option<String> {
    let text = match serde_json::from_str::<Value>(body) {
        Ok(value) => {
            let places =
                [&value["error"]["message"], &value["error"], &value["message"], &value["detail"]];
            places.into_iter().find_map(Value::as_str)?.to_owned()
        }
        Err(_) if body.trim_start().starts_with('<') => return None,
        Err(_) => body.to_owned(),
    };
    let line = one_line(&text);
    let line: String = line.chars().take(MOST_WORDS).collect();
    (!line.is_empty()).then_some(line)
}

/// Reads the header in seconds; its other form, a date, is not supported.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
        let address = "http://127.0.0.1:8000".parse().unwrap();
        let headers = headers.iter().map(|(name, value)| {
            (reqwest::header::HeaderName::from_static(name), value.parse().unwrap())
        });
        from_status(&address, "/v1/completions", status, &headers.collect(), body)
    }

    #[test]
    fn every_refusal_is_one_line_with_its_code() {
        let llama = r#"{"error":{"code":400,"message":"request (600 tokens) exceeds the available context size (256 tokens)","type":"exceed_context_size_error"}}"#;
        let vllm = r#"{"error":{"message":"This model's maximum context length is 1024 tokens.","code":400}}"#;
        let no_model = r#"{"error":{"message":"The model `x` does not exist.","code":404}}"#;
        for (status, body, code, words) in [
            (
                401,
                r#"{"error":"Unauthorized"}"#,
                Code::Unauthenticated,
                "requires one (401: Unauthorized)",
            ),
            (403, "", Code::Unauthenticated, "token file"),
            (400, llama, Code::ContextTooLong, "(600 tokens)"),
            (400, vllm, Code::ContextTooLong, "1024 tokens"),
            (
                400,
                r#"{"detail":"bad seed"}"#,
                Code::InvalidArgument,
                "refuses the request: bad seed",
            ),
            (404, no_model, Code::InvalidArgument, "does not serve the model: The model `x`"),
            (404, "<html>\n<h1>404</h1>", Code::Unavailable, "no /v1/completions (404)"),
            (
                405,
                "",
                Code::Unavailable,
                "chats only (chat-continue, chat-prefix or chat-assistant)",
            ),
            (413, "", Code::MessageTooLarge, "size"),
            (429, r#"{"message":"slow\ndown"}"#, Code::Overloaded, "no room now: slow down"),
            (503, r#"{"error":{"message":"Loading model"}}"#, Code::Unavailable, "still loading"),
            (503, "", Code::Overloaded, "no room"),
            (502, "<html>", Code::Unavailable, "proxy"),
            (500, "boom", Code::Internal, "failed (500: boom)"),
        ] {
            let failure = failure(status, &[], body);
            assert_eq!(failure.code, code, "{failure}");
            let line = &failure.message;
            assert!(line.starts_with("openai+http://127.0.0.1:8000/v1 "), "{line}");
            assert!(line.contains(words) && !line.contains('\n'), "{line}");
            assert!(failure.names_thinker());
        }
        let shown = "a\u{fffd}]0;title\u{fffd} b\u{fffd}";
        let hostile = "a\u{1b}]0;title\u{7}\nb\u{202e}";
        assert_eq!(said(hostile).as_deref(), Some(shown));
        let address = "http://127.0.0.1:8000".parse().unwrap();
        assert!(noticed(&address, Code::Internal, hostile).message.ends_with(shown));
        let moved = failure(302, &[("location", "https://b/v1")], "");
        assert!(moved.message.contains("https://b/v1"), "{moved}");
    }

    #[test]
    fn when_to_try_again_is_what_the_server_says_or_soon() {
        let after = |headers: &[(&'static str, &str)]| failure(429, headers, "").retry_after_ms;
        assert_eq!(after(&[("retry-after", "2.5")]), Some(2500));
        assert_eq!(after(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")]), Some(1000));
        assert_eq!(after(&[]), Some(1000));
        assert_eq!(failure(500, &[], "").retry_after_ms, None);
    }
}
