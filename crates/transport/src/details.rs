//! A failure in the details of a gRPC status, which carry what the status's code and text cannot.
//!
//! By the convention of gRPC's richer error model (<https://grpc.io/docs/guides/error/>), the trailer
//! `grpc-status-details-bin` holds a `google.rpc.Status`, which repeats the code and the text and lists typed details.
//! Ours is one `specthink.v1.Failed`. Clients in other languages read it with their gRPC library's support for that
//! model. How a status without details is read is in `status`.

use prost::Message;
use prost_types::Any;
use proto::v1 as wire;
use thinking::thinker::Failure;
use tonic::{Code as Grpc, Status};
use tonic_types::pb as rpc;

use crate::convert;

/// The full name of the message in the details.
const FAILED: &str = "specthink.v1.Failed";

/// Returns a status with a failure in its details.
pub(crate) fn status_with(code: Grpc, failure: Failure) -> Status {
    let message = failure.message.clone();
    let failed = Any {
        type_url: format!("type.googleapis.com/{FAILED}"),
        value: convert::failure_to_wire(failure).encode_to_vec(),
    };
    let details =
        rpc::Status { code: code.into(), message: message.clone(), details: vec![failed] };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// Returns the failure in a status's details.
///
/// Returns `None` when only the status itself can be used: it has no details, they are damaged or of another type, the
/// failure's code is of a later version, or a proxy replaced the status's code.
pub(crate) fn failure_in(status: &Status) -> Option<Failure> {
    let details = rpc::Status::decode(status.details()).ok()?;
    if details.code != i32::from(status.code()) {
        return None;
    }
    // By the definition of `Any`, only the last segment of the URL is the type's name.
    let failed =
        details.details.iter().find(|any| any.type_url.rsplit('/').next() == Some(FAILED))?;
    let failed = wire::Failed::decode(failed.value.as_slice()).ok()?;
    convert::code_from_wire(failed.code)?;
    Some(convert::failure_from_wire(failed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use thinking::thinker::Code;

    use super::*;
    use crate::convert::tests::failing;

    fn overloaded() -> Failure {
        let message = "all 16 places for sessions are taken".to_owned();
        Failure { retry_after_ms: Some(1000), ..Failure::new(Code::Overloaded, message) }
    }

    /// What is read from a status whose details were changed in transit.
    fn read(change: impl FnOnce(&mut rpc::Status)) -> Option<Failure> {
        let status = status_with(Grpc::ResourceExhausted, overloaded());
        let mut details = rpc::Status::decode(status.details()).unwrap();
        change(&mut details);
        let details = details.encode_to_vec().into();
        failure_in(&Status::with_details(status.code(), status.message(), details))
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_passed_over(bytes: Vec<u8>, code in 0i32..17) {
            let _ = failure_in(&Status::with_details(Grpc::from(code), "", bytes.into()));
        }

        #[test]
        fn every_failure_is_read_as_it_was(failure in failing(), code in 1i32..17) {
            prop_assert_eq!(failure_in(&status_with(Grpc::from(code), failure.clone())), Some(failure));
        }
    }

    #[test]
    fn details_are_what_other_libraries_look_for() {
        let status = status_with(Grpc::ResourceExhausted, overloaded());
        let details = rpc::Status::decode(status.details()).unwrap();
        assert_eq!((details.code, details.message.as_str()), (8, status.message()));
        assert_eq!(details.details[0].type_url, "type.googleapis.com/specthink.v1.Failed");
    }

    #[test]
    fn other_details_may_stand_beside_ours() {
        let other = Any { type_url: "type.googleapis.com/google.rpc.Help".into(), value: vec![1] };
        assert_eq!(read(|details| details.details.insert(0, other)), Some(overloaded()));
        let host = |details: &mut rpc::Status| {
            details.details[0].type_url = "types.example.org/specthink.v1.Failed".into();
        };
        assert_eq!(read(host), Some(overloaded()));
    }

    #[test]
    fn details_that_cannot_be_trusted_are_passed_over() {
        let failed = |code| wire::Failed { code, ..wire::Failed::default() }.encode_to_vec();
        let another_type = "type.googleapis.com/specthink.v2.Failed";
        assert_eq!(read(|details| details.code = 14), None);
        assert_eq!(read(|details| details.details.clear()), None);
        assert_eq!(read(|details| details.details[0].type_url = another_type.into()), None);
        assert_eq!(read(|details| details.details[0].value.truncate(5)), None);
        assert_eq!(read(|details| details.details[0].value = failed(0)), None);
        assert_eq!(read(|details| details.details[0].value = failed(99)), None);
    }
}
