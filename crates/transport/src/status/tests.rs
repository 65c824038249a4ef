//! The messages of failed calls. How real connections fail is tested over loopback.

use error_lines::lines;
use proptest::prelude::*;
use thinking::thinker::Noticed;
use tonic::codegen::http::HeaderMap;

use super::*;
use crate::convert::tests::{CODES, failing};

fn node() -> Address {
    "http://gpu:7102".parse().unwrap()
}

fn explain(status: &Status) -> Failure {
    failure_from_status(&node(), Peer::Http2, status)
}

#[test]
fn a_refusal_survives_as_a_status() {
    for code in [
        Code::InvalidArgument,
        Code::UnsupportedVersion,
        Code::ContextTooLong,
        Code::Unauthenticated,
        Code::Overloaded,
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Internal,
    ] {
        let failure = Failure { retry_after_ms: Some(1500), ..Failure::new(code, "it is so") };
        let read = explain(&status_from_failure(failure));
        assert_eq!(read.code, code);
        assert_eq!(read.message, "http://gpu:7102: it is so");
        assert_eq!(read.retry_after_ms, Some(1500));
    }
}

/// What remains of a status at the other end.
fn sent(status: &Status) -> Status {
    let mut headers = HeaderMap::new();
    status.add_header(&mut headers).unwrap();
    Status::from_header_map(&headers).unwrap()
}

proptest! {
    #[test]
    fn every_refusal_arrives_as_it_was(failure in failing()) {
        let message = format!("http://gpu:7102: {}", failure.message);
        let read = explain(&sent(&status_from_failure(failure.clone())));
        prop_assert_eq!(read, Failure { message, noticed: Noticed::OnTheWay, ..failure });
    }
}

#[test]
fn without_whole_details_a_refusal_is_what_its_code_says() {
    for code in CODES {
        let failure = Failure { retry_after_ms: Some(1500), ..Failure::new(code, "it is so") };
        let status = status_from_failure(failure);
        for kept in 0..status.details().len() {
            let details = status.details()[..kept].to_vec().into();
            let metadata = status.metadata().clone();
            let damaged = Status::with_details_and_metadata(
                status.code(),
                status.message(),
                details,
                metadata,
            );
            let read = explain(&sent(&damaged));
            let read_code = match code {
                Code::MessageTooLarge => Code::ContextTooLong,
                Code::Template => Code::InvalidArgument,
                code => code,
            };
            assert_eq!(read.code, read_code, "{kept} bytes");
            assert_eq!(read.message, "http://gpu:7102: it is so");
            assert_eq!(read.retry_after_ms, Some(1500));
        }
    }
}

#[test]
fn other_servers_statuses_find_their_place() {
    for (status, code, words) in [
        (Status::unimplemented(""), Code::Unavailable, "is not a specthink node"),
        (Status::permission_denied("no"), Code::Unauthenticated, "no"),
        (Status::cancelled(""), Code::Unavailable, "without a reason (Cancelled)"),
        (Status::data_loss("a\nb\x1b[2J"), Code::Internal, "a b\u{fffd}[2J"),
        (
            Status::unknown("grpc-status header missing, mapped from HTTP status code 200"),
            Code::Unavailable,
            "answers HTTP but not gRPC",
        ),
        (
            Status::unknown("protocol error: missing grpc-status trailer, stream was terminated"),
            Code::Unavailable,
            "answers HTTP but not gRPC",
        ),
        (
            Status::out_of_range(
                "Error, decoded message length too large: found 70 bytes, the limit is: 60 bytes",
            ),
            Code::MessageTooLarge,
            "a message of 70 bytes is over the 60 bytes of this program's limit; raise it with \
             --max-message-bytes",
        ),
    ] {
        let failure = explain(&status);
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
        assert!(!failure.message.contains('\n'), "{failure}");
    }
}

#[test]
fn a_stream_cut_off_is_no_stranger() {
    let cut = Status::unknown("grpc-status header missing, mapped from HTTP status code 200");
    let failure = failure_from_status(&node(), Peer::Node, &cut);
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.message.contains("closed the connection in mid-answer"), "{failure}");
}

#[test]
fn only_the_limits_own_line_names_sizes() {
    for text in ["", "too large", "message length too large: found x bytes, the limit is: 3 bytes"]
    {
        assert!(Sizes::in_message(text).is_none(), "{text}");
    }
}

#[test]
fn a_broken_connection_is_one_line_whoever_answered_before() {
    let broken = io::Error::from(io::ErrorKind::ConnectionReset);
    let failures = |address: &str| {
        let address: Address = address.parse().unwrap();
        // Who was asked in TLS does not answer in TLS although asked in plain text.
        let peers = (0..).map_while(Peer::from_repr);
        let peers = peers.filter(|peer| !address.tls() || *peer != Peer::Tls);
        lines(peers.map(|peer| failure_from_error(&address, peer, &broken)))
    };
    insta::assert_snapshot!(failures("http://gpu:7102") + &failures("https://gpu:7102"));
}
