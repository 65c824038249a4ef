//! Kernels that do in one step what lies between the matrix products of a layer, on NVIDIA GPUs. Without them every
//! step of every layer copies each session's blocks of keys and values, and starts dozens of small kernels.
//!
//! `step.cu` has the kernels, `cuda` launches them, `tables` tells them where tokens are in the caches. Builds without
//! the feature `cuda` have `absent` in its place. A decoder compares the kernels with the plain path once, when it is
//! loaded ([`Decoder::fuse`](super::decoder::Decoder::fuse)).

#[cfg(not(feature = "cuda"))]
mod absent;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "only GPUs need the tables"))]
mod tables;

#[cfg(not(feature = "cuda"))]
pub(crate) use self::absent::{Fused, Places};
#[cfg(feature = "cuda")]
pub(crate) use self::cuda::{Fused, Places};

use candle_core::Tensor;

use super::{rope::Angles, weight::Joined};

/// What the kernels need to know about a layer's attention.
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only GPUs read it"))]
pub(crate) struct FusedAttention<'a> {
    /// The layer's number.
    pub(crate) index: usize,
    /// How many positions it attends to; `None` for all.
    pub(crate) window: Option<usize>,
    /// The layers of queries, keys and values.
    pub(crate) qkv: &'a Joined<3>,
    /// The norms of query heads and of key heads.
    pub(crate) head_norms: [Option<&'a Tensor>; 2],
    /// `None` if the layer does not rotate queries and keys.
    pub(crate) angles: Option<&'a Angles>,
    /// Added under the root of norms.
    pub(crate) eps: f32,
}
