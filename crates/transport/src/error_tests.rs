//! The line of every error, as snapshots. Failures of calls are in `status`.

use std::io::ErrorKind;

use error_lines::{error_lines, lines};

use crate::{Address, RemoteError, ServeError, TlsError, TokenError};

fn no_certificate() -> TlsError {
    TlsError::NotPem { what: "certificate", path: "node.key".into() }
}

#[test]
fn remote_errors() {
    insta::assert_snapshot!(error_lines!(RemoteError {
        Plaintext { address: "http://10.0.0.7:7101".parse().unwrap() },
        Tls(no_certificate()),
    }));
}

#[test]
fn serve_errors() {
    insta::assert_snapshot!(error_lines!(ServeError {
        Bind { address: "127.0.0.1:7101".into(), why: ErrorKind::AddrInUse.into() },
        Plaintext { address: "0.0.0.0:7101".parse().unwrap() },
        Tls(no_certificate()),
        Broken { why: "too many open files".into() },
    }));
}

#[test]
fn tls_errors() {
    insta::assert_snapshot!(error_lines!(TlsError {
        File {
            what: "certificate",
            path: "node.pem".into(),
            why: ErrorKind::PermissionDenied.into(),
        },
        NotPem { what: "certificate", path: "node.key".into() },
        Passphrase { path: "node.key".into() },
        Mismatch { cert: "node.pem".into(), key: "node.key".into() },
        OutOfDate { path: "node.pem".into(), why: "expired at 2026-01-31T12:00:00Z".into() },
        Setup { why: "invalid private key".into() },
    }));
}

#[test]
fn token_errors() {
    insta::assert_snapshot!(error_lines!(TokenError {
        File { path: "node.token".into(), why: ErrorKind::PermissionDenied.into() },
        Empty,
        NotAscii,
    }));
}

#[test]
fn addresses_that_are_not_valid() {
    let wrong = [
        "gpu-host",
        "ftp://gpu-host:21",
        "http://",
        "http://ann@gpu-host:1",
        "http://gpu-host:1/x",
    ];
    insta::assert_snapshot!(lines(wrong.map(|text| text.parse::<Address>().unwrap_err())));
}
