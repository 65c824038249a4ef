//! The specthink wire protocol, version 1: generated code only.
//!
//! The protocol is documented in `specthink/v1/thinker.proto`; what each message means for a
//! session is documented on the `Thinker` port in the `thinking` crate. Only `transport` uses this.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated code"
)]

/// Package `specthink.v1`.
pub mod v1 {
    tonic::include_proto!("specthink.v1");

    /// The encoded `FileDescriptorSet` of this package, for the reflection service.
    pub const DESCRIPTORS: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/specthink.v1.descriptors"));
}
