//! In builds without the feature `cuda` there are no fused kernels.

use candle_core::{DType, Device, Result, Tensor};

use super::FusedAttention;
use crate::model::{architecture::Activation, cache::Sequence, config::ModelConfig};

/// Has no values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fused {}

/// Has no values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Places {}

impl Fused {
    pub(crate) fn load(_: &ModelConfig, _: DType, _: DType, _: &Device) -> Result<Option<Fused>> {
        Ok(None)
    }

    pub(crate) fn places(&self, _: &[Sequence<'_>]) -> Result<Places> {
        match *self {}
    }

    pub(crate) fn add_and_norm(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: f32,
    ) -> Result<(Tensor, Tensor)> {
        match *self {}
    }

    pub(crate) fn gated(&self, _: Activation, _: &Tensor, _: &Tensor) -> Result<Tensor> {
        match *self {}
    }

    pub(crate) fn attention(
        &self,
        _: &FusedAttention<'_>,
        _: [Tensor; 3],
        _: &[Sequence<'_>],
        _: &Places,
    ) -> Result<Tensor> {
        match *self {}
    }
}
