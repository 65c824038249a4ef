//! Converts between gRPC statuses, connection errors, and the closed list of failures.
//!
//! An open session fails by an event in its stream; a status appears only before the stream exists or after it broke.
//! Our own nodes put the failure itself into the status's details (`details`). A status without them comes from a
//! foreign server, from a node of release 0.1.0, or from tonic in this process, and has only a code and a text.

use std::{error::Error, io};

use rustls::{AlertDescription, InvalidMessage};
use thinking::{
    shown::one_line,
    thinker::{Code, Failure, Noticed},
};
use tonic::{Code as Grpc, Status};

use crate::{address::Address, certificate, connect::Peer, details};

/// gRPC's own header for "retry after this many milliseconds" (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// How tonic's messages begin when an answer ended without a gRPC status: for HTTP status 200, and for any other.
const WITHOUT_STATUS: [&str; 2] =
    ["protocol error: missing grpc-status trailer", "grpc-status header missing"];

/// Converts a refusal before there is a stream to a status with the nearest standard gRPC code.
pub(crate) fn status_from_failure(failure: Failure) -> Status {
    let code = match failure.code {
        Code::InvalidArgument | Code::Template => Grpc::InvalidArgument,
        Code::UnsupportedVersion => Grpc::FailedPrecondition,
        Code::ContextTooLong | Code::MessageTooLarge => Grpc::OutOfRange,
        Code::Unauthenticated => Grpc::Unauthenticated,
        Code::Overloaded => Grpc::ResourceExhausted,
        Code::Unavailable => Grpc::Unavailable,
        Code::DeadlineExceeded => Grpc::DeadlineExceeded,
        Code::Internal => Grpc::Internal,
    };
    let retry_after_ms = failure.retry_after_ms;
    let mut status = details::status_with(code, failure);
    if let Some(wait_ms) = retry_after_ms {
        status.metadata_mut().insert(PUSHBACK, wait_ms.into());
    }
    status
}

/// Explains why a call to the node at `address` failed; `peer` is what has answered there so far.
pub(crate) fn failure_from_status(address: &Address, peer: Peer, status: &Status) -> Failure {
    if let Some(failure) = details::failure_in(status) {
        let message = format!("{address}: {}", failure.message);
        return Failure { message, noticed: Noticed::OnTheWay, ..failure };
    }
    if let Some(cause) = status.source() {
        return failure_from_error(address, peer, cause);
    }
    if let Some(sizes) = Sizes::in_message(status.message()) {
        return sizes.failure("this program's limit; raise it with --max-message-bytes here");
    }
    if WITHOUT_STATUS.iter().any(|words| status.message().starts_with(words)) {
        return if peer == Peer::Node {
            unavailable(format!("{address} closed the connection in mid-answer; is it stopping?"))
        } else {
            not_a_node(address, "it answers HTTP but not gRPC")
        };
    }
    let code = match status.code() {
        Grpc::Unimplemented => {
            return not_a_node(address, "it speaks gRPC but has no service specthink.v1.Thinker");
        }
        Grpc::InvalidArgument => Code::InvalidArgument,
        Grpc::FailedPrecondition => Code::UnsupportedVersion,
        Grpc::OutOfRange => Code::ContextTooLong,
        Grpc::Unauthenticated | Grpc::PermissionDenied => Code::Unauthenticated,
        Grpc::ResourceExhausted => Code::Overloaded,
        Grpc::DeadlineExceeded => Code::DeadlineExceeded,
        Grpc::Unavailable | Grpc::Cancelled | Grpc::Aborted => Code::Unavailable,
        _ => Code::Internal,
    };
    let message = match status.message() {
        "" => format!("{address} refused the call without a reason ({:?})", status.code()),
        message => format!("{address}: {}", one_line(message)),
    };
    let retry_after_ms =
        status.metadata().get(PUSHBACK).and_then(|value| value.to_str().ok()?.parse().ok());
    Failure { retry_after_ms, ..on_the_way(code, message) }
}

/// Explains why the connection to the node at `address` failed.
pub(crate) fn failure_from_error(
    address: &Address,
    peer: Peer,
    error: &(dyn Error + 'static),
) -> Failure {
    let deepest = why(error);
    let unauthenticated = |message| on_the_way(Code::Unauthenticated, message);
    match (tls_error(error), peer) {
        (Some(rustls::Error::InvalidCertificate(cause)), _) => {
            unauthenticated(one_line(&certificate::refused(address, cause)))
        }
        (Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)), _) => {
            unauthenticated(format!(
                "{address} asks for a client certificate: give --tls-cert and --tls-key"
            ))
        }
        (Some(rustls::Error::AlertReceived(_)), _) => unauthenticated(format!(
            "{address} refused the TLS handshake ({deepest}): check the client certificate"
        )),
        (Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)), _) => {
            unavailable(format!("{address} does not speak TLS: write http:// if it should not"))
        }
        (_, Peer::Http1) => not_a_node(address, "it answers HTTP/1 and not gRPC"),
        (_, Peer::Tls) => unavailable(format!(
            "{address} speaks TLS: write https://{}",
            address.to_string().trim_start_matches("http://")
        )),
        (_, Peer::Other) => not_a_node(address, "it answers something that is not gRPC"),
        // In TLS 1.3 a client learns that its certificate was rejected only when the connection is closed.
        (_, Peer::Http2) if address.tls() => unauthenticated(format!(
            "{address} hung up after the TLS handshake ({deepest}): check the client \
             certificate, --tls-cert and --tls-key"
        )),
        (_, Peer::Node) => unavailable(format!("lost the connection to {address}: {deepest}")),
        (_, Peer::Silent) if !address.tls() => unavailable(format!(
            "{address} hung up without answering ({deepest}): if it speaks TLS, write https://"
        )),
        (_, Peer::Unreached | Peer::Silent | Peer::Http2) => unreached(address, &deepest),
    }
}

/// Returns the TLS library's error at the root of this one. Returns `None` for an alert that came after the handshake:
/// HTTP/2 keeps only its text.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    // An I/O error does not return its inner error from `source`.
    let deepest = deepest(error);
    let inner = deepest.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    deepest.downcast_ref().or_else(|| inner?.downcast_ref())
}

/// Returns the failure for a message that is larger than this end accepts.
pub(crate) fn too_large_to_take(status: &Status) -> Option<Failure> {
    Sizes::in_message(status.message()).map(|sizes| {
        sizes.failure("this node's limit; raise it with --max-message-bytes on the node")
    })
}

/// A failure noticed on the way to a node. The message names the node.
pub(crate) fn on_the_way(code: Code, message: String) -> Failure {
    Failure { noticed: Noticed::OnTheWay, ..Failure::new(code, message) }
}

/// A failure of a node that has gone away or is silent. The message names the node.
pub(crate) fn unavailable(message: String) -> Failure {
    on_the_way(Code::Unavailable, message)
}

/// The failure when nothing answers at the node's address.
pub(crate) fn unreached(address: &Address, why: &str) -> Failure {
    let failure = unavailable(format!("cannot reach {address}: {why}"));
    Failure { noticed: Noticed::NobodyThere, ..failure }
}

fn not_a_node(address: &Address, why: &str) -> Failure {
    unavailable(format!("{address} is not a specthink node: {why}; check the address and the port"))
}

/// The two sizes in tonic's message about a message over the limit, its only source for them.
struct Sizes {
    found: u64,
    limit: u64,
}

impl Sizes {
    fn in_message(message: &str) -> Option<Sizes> {
        let (_, rest) = message.split_once("message length too large: found ")?;
        let (found, rest) = rest.split_once(" bytes, the limit is: ")?;
        let (limit, _) = rest.split_once(' ')?;
        Some(Sizes { found: found.parse().ok()?, limit: limit.parse().ok()? })
    }

    fn failure(&self, whose: &str) -> Failure {
        let Sizes { found, limit } = self;
        Failure::new(
            Code::MessageTooLarge,
            format!("a message of {found} bytes is over the {limit} bytes of {whose}"),
        )
    }
}

/// Returns the root cause of an error, in one line.
pub(crate) fn why(error: &(dyn Error + 'static)) -> String {
    one_line(&deepest(error).to_string())
}

/// Returns the error at the end of the source chain; the outer ones only say that there was an error.
fn deepest<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

#[cfg(test)]
mod tests;
