//! Random weights for a config.json, to measure the speed of models whose weights are not at hand. What such a model
//! says means nothing, so only [`load_random`](crate::load_random) makes one, and no path that a user can name does.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use super::{LoadOptions, Opened, TensorSource, hf};
use crate::{
    error::LoadError,
    model::{
        config::ModelConfig,
        families::SingleFamily,
        tensors::{Spelling, TensorId},
        weight::{Weight, activation_dtype},
    },
};

/// The usual size of weights: activations stay finite through any number of layers.
const DEVIATION: f32 = 0.02;

/// Draws the weights of a configuration.
pub(crate) struct RandomSource {
    directory: PathBuf,
    config: ModelConfig,
    device: Device,
    weights: DType,
    activations: DType,
}

impl RandomSource {
    /// Reads the configuration; weights are drawn when they are asked for.
    pub(crate) fn open(directory: &Path, options: &LoadOptions) -> Result<Opened<Self>, LoadError> {
        let json = hf::config_json(directory)?;
        let (class, model_type) = hf::family_names(&json);
        if let Some(family) = SingleFamily::of_config(class, model_type) {
            return Err(LoadError::Unsupported {
                path: directory.to_owned(),
                what: format!("the family {} with random weights", family.name()),
            });
        }
        let config = hf::config::read(directory, json)?;
        let weights = options.dtype.unwrap_or(DType::BF16);
        let activations = activation_dtype(weights, &options.device);
        let source = RandomSource {
            directory: directory.to_owned(),
            config: config.clone(),
            device: options.device.clone(),
            weights,
            activations,
        };
        Ok(Opened {
            config,
            source,
            tokenizer: hf::tokenizer_of(directory),
            quantisation: weights.as_str().to_owned(),
            dtype: activations,
            cache_dtype: activations,
        })
    }

    fn elements(&self, id: TensorId) -> u64 {
        id.shape(&self.config).iter().product::<usize>() as u64
    }

    fn random(&self, id: TensorId) -> candle_core::Result<Tensor> {
        Tensor::randn(0f32, DEVIATION, id.shape(&self.config), &self.device)
    }
}

impl TensorSource for RandomSource {
    fn shape(&self, id: TensorId) -> Option<Vec<usize>> {
        Some(id.shape(&self.config))
    }

    fn name(&self, id: TensorId) -> String {
        id.place(&self.config, Spelling::HuggingFace).name
    }

    fn matrix(&mut self, id: TensorId) -> Result<Weight, LoadError> {
        self.random(id)
            .and_then(|tensor| Weight::held_in(self.weights, tensor, &self.device))
            .map_err(|source| LoadError::Device { path: self.directory.clone(), source })
    }

    fn vector(&mut self, id: TensorId) -> Result<Tensor, LoadError> {
        // A vector that is not a bias is a norm.
        let vector = match id.bias {
            true => self.random(id),
            false => Tensor::ones(id.shape(&self.config), DType::F32, &self.device),
        };
        vector
            .and_then(|vector| vector.to_dtype(self.activations))
            .map_err(|source| LoadError::Device { path: self.directory.clone(), source })
    }

    fn file_bytes(&self, id: TensorId) -> u64 {
        self.elements(id) * self.weights.size_in_bytes() as u64
    }
}
