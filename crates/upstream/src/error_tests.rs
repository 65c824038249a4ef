//! The line of every error, as snapshots.

use error_lines::{error_lines, lines};
use reqwest::header::HeaderMap;
use text::TokenizerError;

use crate::{UpstreamAddress, UpstreamError, failure::from_status};

fn address() -> UpstreamAddress {
    "http://gpu-host:8000".parse().unwrap()
}

#[test]
fn upstream_errors() {
    insta::assert_snapshot!(error_lines!(UpstreamError {
        Plaintext { address: address() },
        Tls { address: address(), why: "invalid certificate".into() },
        Tokenizer {
            address: address(),
            why: TokenizerError::Damaged {
                path: "tokenizer.json".into(),
                why: "EOF while parsing an object at line 7 column 12".into(),
            },
        },
    }));
}

#[test]
fn addresses_that_are_not_valid() {
    let wrong =
        ["gpu-host:8000", "ftp://gpu-host", "http://", "http://a:b@c/v1", "http://a/v1?k=b"];
    insta::assert_snapshot!(lines(wrong.map(|text| text.parse::<UpstreamAddress>().unwrap_err())));
}

#[test]
fn answers_with_an_error_status() {
    let too_long = r#"{"error": {"message": "the context size is 4096 tokens"}}"#;
    let no_model = r#"{"error": {"message": "the model `x` does not exist"}}"#;
    let loading = r#"{"error": {"message": "Loading model"}}"#;
    let answers = [
        (302, ""),
        (400, too_long),
        (400, r#"{"detail": "seed must be a number"}"#),
        (401, r#"{"error": "Unauthorized"}"#),
        (404, no_model),
        (404, ""),
        (413, ""),
        (418, ""),
        (429, r#"{"message": "too many requests"}"#),
        (500, "out of memory"),
        (502, ""),
        (503, loading),
        (503, ""),
    ];
    insta::assert_snapshot!(lines(answers.map(|(status, body)| {
        from_status(&address(), "/v1/completions", status, &HeaderMap::new(), body)
    })));
}
