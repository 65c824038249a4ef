//! Random weights for a config.json: the speed of models whose weights are not at hand. What such a model says
//! means nothing, so only [`load_random`] makes one, and no path that a user can name.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use crate::error::LoadError;

use super::{
    hf_config,
    hf_source::tokenizer,
    load::{LoadOptions, LoadedModel, Opened, finish},
    tensors::{TensorId, TensorSource, expected},
    weight::{Weight, activation_dtype},
};

/// As large as weights usually are: activations stay finite through any number of layers.
const DEVIATION: f32 = 0.02;

/// A model of a directory's config.json with random weights, made on the device; `options.dtype` is bf16 unless
/// it says otherwise. For benches.
///
/// # Errors
/// When the configuration cannot be served, or the weights do not fit.
pub fn load_random(directory: &Path, options: &LoadOptions) -> Result<LoadedModel, LoadError> {
    let config = hf_config::read(directory)?;
    let weights = options.dtype.unwrap_or(DType::BF16);
    let activations = activation_dtype(weights, &options.device);
    let source = RandomSource {
        directory: directory.to_owned(),
        shapes: expected(&config),
        device: options.device.clone(),
        weights,
        activations,
    };
    let quantisation = weights.as_str().to_owned();
    let opened = Opened {
        config,
        source,
        tokenizer: tokenizer(directory),
        quantisation,
        dtype: activations,
    };
    finish(directory, opened, options, &mut |_| {})
}

struct RandomSource {
    directory: PathBuf,
    shapes: Vec<(TensorId, Vec<usize>)>,
    device: Device,
    weights: DType,
    activations: DType,
}

impl RandomSource {
    fn elements(&self, id: TensorId) -> u64 {
        self.shape(id).map_or(0, |shape| shape.iter().product::<usize>() as u64)
    }

    fn random(&self, id: TensorId) -> candle_core::Result<Tensor> {
        Tensor::randn(0f32, DEVIATION, self.shape(id).unwrap_or_default(), &self.device)
    }
}

impl TensorSource for RandomSource {
    fn shape(&self, id: TensorId) -> Option<Vec<usize>> {
        self.shapes.iter().find(|(known, _)| *known == id).map(|(_, shape)| shape.clone())
    }

    fn name(&self, id: TensorId) -> String {
        id.hf_name()
    }

    fn matrix(&mut self, id: TensorId) -> Result<Weight, LoadError> {
        self.random(id)
            .and_then(|tensor| Weight::held_in(self.weights, tensor, &self.device))
            .map_err(|source| LoadError::Device { path: self.directory.clone(), source })
    }

    fn vector(&mut self, id: TensorId) -> Result<Tensor, LoadError> {
        // What is no bias is a norm.
        let vector = match id.bias {
            true => self.random(id),
            false => Tensor::ones(self.shape(id).unwrap_or_default(), DType::F32, &self.device),
        };
        vector
            .and_then(|vector| vector.to_dtype(self.activations))
            .map_err(|source| LoadError::Device { path: self.directory.clone(), source })
    }

    fn file_bytes(&self, id: TensorId) -> u64 {
        self.elements(id) * self.weights.size_in_bytes() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, Want};

    #[test]
    fn a_model_of_random_weights_computes() {
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tiny-qwen2");
        for dtype in [DType::F32, DType::BF16] {
            let options = LoadOptions { dtype: Some(dtype), ..LoadOptions::default() };
            let model = load_random(&directory, &options).unwrap();
            let mut cache = model.decoder.new_cache();
            let row = Row { tokens: &[1, 2, 3], cache: &mut cache, logits: Want::Last };
            let logits = model.decoder.forward(&mut [row]).unwrap();
            assert!(
                logits
                    .flatten_all()
                    .unwrap()
                    .to_vec1::<f32>()
                    .unwrap()
                    .iter()
                    .all(|l| l.is_finite())
            );
        }
    }
}
