//! The models of candle-transformers that pass our parity tests, as one type.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{gemma2, starcoder2};

use super::settings::CrateConfig;

/// A model of the crate, with what it keeps of a sequence. A copy shares the weights and the sequence so far.
#[derive(Debug, Clone)]
pub(super) enum CrateModel {
    Gemma2(gemma2::Model),
    StarCoder2(starcoder2::Model),
}

impl CrateModel {
    /// Builds a model over weights.
    pub(super) fn new(config: &CrateConfig, weights: VarBuilder<'_>) -> Result<Self> {
        match config {
            CrateConfig::Gemma2(config) => {
                gemma2::Model::new(false, config, weights).map(CrateModel::Gemma2)
            }
            CrateConfig::StarCoder2(config) => {
                starcoder2::Model::new(config, weights).map(CrateModel::StarCoder2)
            }
        }
    }

    /// Computes tokens `ids` [1, tokens] after the first `len`, which it already holds. Returns the logits for the last
    /// one, f32.
    pub(super) fn forward(&mut self, ids: &Tensor, len: usize) -> Result<Tensor> {
        let logits = match self {
            CrateModel::Gemma2(model) => model.forward(ids, len),
            CrateModel::StarCoder2(model) => model.forward(ids, len),
        };
        logits?.to_dtype(DType::F32)
    }
}
