//! Weights from a Hugging Face directory. [`checkpoint`] reads its files, [`config`] its configuration.

mod checkpoint;
pub(super) mod config;

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

pub(crate) use self::{
    checkpoint::Checkpoint,
    config::{config_json, family_names, quantised},
};
use super::{LoadOptions, Opened, TensorSource, TokenizerSource, part_bytes, part_shape};
use crate::{
    error::LoadError,
    model::{
        config::ModelConfig,
        tensors::{Place, Role, Spelling, TensorId},
        weight::{Weight, activation_dtype},
    },
};

const TOKENIZER: &str = "tokenizer.json";

/// The weights of a directory by their role in our own decoder.
pub(crate) struct HfSource {
    config: ModelConfig,
    checkpoint: Checkpoint,
    device: Device,
    /// The dtype of matrices.
    weights: DType,
    /// The dtype of vectors and activations.
    activations: DType,
}

impl HfSource {
    /// Reads the configuration and all headers, and checks that the files are whole. `json` is the directory's
    /// config.json.
    pub(crate) fn open(
        directory: &Path,
        json: Value,
        options: &LoadOptions,
    ) -> Result<Opened<Self>, LoadError> {
        let config = config::read(directory, json)?;
        let checkpoint = Checkpoint::open(directory)?;
        let embedding = TensorId::new(Role::Embedding, 0).place(&config, Spelling::HuggingFace);
        let own = checkpoint.dtype(&embedding.name).unwrap_or(DType::F32);
        let weights = match options.dtype {
            Some(dtype) => dtype,
            None if options.device.is_cpu() => DType::F32,
            None => own,
        };
        let activations = activation_dtype(weights, &options.device);
        let source = HfSource {
            config: config.clone(),
            checkpoint,
            device: options.device.clone(),
            weights,
            activations,
        };
        Ok(Opened {
            config,
            source,
            tokenizer: tokenizer_of(directory),
            quantisation: weights.as_str().to_owned(),
            dtype: activations,
            cache_dtype: activations,
        })
    }

    /// Reads a tensor to the CPU, as the file has it.
    fn read(&mut self, id: TensorId) -> Result<Tensor, LoadError> {
        let place = self.place(id);
        let part = |tensor_bytes| part_bytes(&place, tensor_bytes);
        let bytes = self.checkpoint.read_part(&place.name, part)?;
        let bytes = id.restored(&self.config, Spelling::HuggingFace, bytes.into());
        let dims = self.checkpoint.shape(&place.name).unwrap_or_default();
        let dtype = self.checkpoint.dtype(&place.name).unwrap_or(DType::F32);
        Tensor::from_raw_buffer(&bytes, dtype, &part_shape(&place, dims), &Device::Cpu)
            .map_err(|source| self.refused(source))
    }

    fn place(&self, id: TensorId) -> Place {
        id.place(&self.config, Spelling::HuggingFace)
    }

    fn refused(&self, source: candle_core::Error) -> LoadError {
        LoadError::Device { path: self.checkpoint.directory().to_owned(), source }
    }
}

impl TensorSource for HfSource {
    fn shape(&self, id: TensorId) -> Option<Vec<usize>> {
        let place = self.place(id);
        self.checkpoint.shape(&place.name).map(|dims| part_shape(&place, dims))
    }

    fn name(&self, id: TensorId) -> String {
        self.place(id).name
    }

    fn matrix(&mut self, id: TensorId) -> Result<Weight, LoadError> {
        let tensor = self.read(id)?;
        Weight::held_in(self.weights, tensor, &self.device).map_err(|source| self.refused(source))
    }

    fn vector(&mut self, id: TensorId) -> Result<Tensor, LoadError> {
        let from_one = self.config.architecture.norms_from_one && id.role.is_norm();
        let vector = self.read(id)?.to_dtype(DType::F32);
        let vector = vector.and_then(|vector| if from_one { vector + 1.0 } else { Ok(vector) });
        vector
            .and_then(|vector| vector.to_dtype(self.activations)?.to_device(&self.device))
            .map_err(|source| self.refused(source))
    }

    fn file_bytes(&self, id: TensorId) -> u64 {
        let place = self.place(id);
        part_bytes(&place, self.checkpoint.bytes(&place.name)).1
    }

    fn held_bytes(&self, id: TensorId) -> u64 {
        let elements = self.shape(id).map_or(0, |shape| shape.iter().product());
        (elements * self.weights.size_in_bytes()) as u64
    }
}

/// Returns where a directory's tokenizer is.
pub(crate) fn tokenizer_of(directory: &Path) -> TokenizerSource {
    TokenizerSource::Json(directory.join(TOKENIZER))
}
