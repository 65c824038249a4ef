//! Where weights come from: GGUF files, Hugging Face directories, a random generator.
//!
//! Each kind of source reads its own spelling of a configuration and gives tensors by their role in the decoder. `load`
//! builds a decoder from them.

mod file_bytes;
mod gguf;
mod hf;
mod random;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use text::{GgufMetadata, Tokenizer, TokenizerError};

use super::{
    config::ModelConfig,
    tensors::{Place, TensorId},
    weight::Weight,
};
use crate::{error::LoadError, memory};

pub use self::gguf::gguf_parts;
pub(super) use self::{
    file_bytes::FileBytes,
    gguf::{GgufSource, files, whole_stem},
    hf::{Checkpoint, HfSource, config_json, family_names, quantised, tokenizer_of},
    random::RandomSource,
};

/// Returns whether these are the first bytes of a Git LFS pointer, which stands in for a file that was not fetched
/// (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
fn is_lfs_pointer(beginning: &[u8]) -> bool {
    beginning.starts_with(b"version https://git-lfs.github.com/spec/")
}

/// How a model is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// What the weights of a safetensors checkpoint are held in: f32, bf16 or f16. By default f32 on the CPU and the
    /// checkpoint's own dtype elsewhere. GGUF files have formats of their own.
    pub dtype: Option<DType>,
    /// The device that the weights are put on.
    pub device: Device,
    /// Whether the fused kernels of a GPU are left out, to compare with them.
    pub plain: bool,
    /// A directory to use in place of `/` when usable memory is read; for tests.
    pub memory_root: Option<PathBuf>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions { dtype: None, device: Device::Cpu, plain: false, memory_root: None }
    }
}

impl LoadOptions {
    /// Refuses weights that do not fit, before minutes of reading end in swapping or worse.
    pub(super) fn check_memory(&self, path: &Path, needed: u64) -> Result<(), LoadError> {
        match memory::usable(&self.device, self.memory_root.as_deref()) {
            Some(usable) if needed > usable.bytes => Err(LoadError::TooLarge {
                path: path.to_owned(),
                needed: memory::in_words(needed),
                usable,
            }),
            _ => Ok(()),
        }
    }
}

/// How far loading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes of weights read.
    pub done_bytes: u64,
    /// Bytes of weights in total.
    pub total_bytes: u64,
}

/// Where a model's tokenizer is.
#[derive(Debug, Clone)]
pub enum TokenizerSource {
    /// A tokenizer.json, which may be missing.
    Json(PathBuf),
    /// The `tokenizer.*` keys of a GGUF file, and `general.architecture`.
    Gguf(GgufMetadata),
}

impl TokenizerSource {
    /// Builds the tokenizer.
    pub(crate) fn load(self) -> Result<Tokenizer, TokenizerError> {
        match self {
            TokenizerSource::Json(path) => Tokenizer::from_json(&path),
            TokenizerSource::Gguf(metadata) => Tokenizer::from_gguf(&metadata),
        }
    }
}

/// Returns the shape of a part of a tensor with these dimensions, or `dims` if they do not have the rows that `place`
/// expects.
fn part_shape(place: &Place, dims: &[usize]) -> Vec<usize> {
    let (rows, width) = match dims {
        [] => return Vec::new(),
        [rows] => (*rows, None),
        [leading @ .., width] => (leading.iter().product(), Some(*width)),
    };
    match rows == place.of_rows {
        true => [place.rows].into_iter().chain(width).collect(),
        false => dims.to_vec(),
    }
}

/// Returns where the bytes of a part are in its tensor, as first byte and count.
fn part_bytes(place: &Place, tensor_bytes: u64) -> (u64, u64) {
    let row_bytes = tensor_bytes / place.of_rows.max(1) as u64;
    (place.first_row as u64 * row_bytes, place.rows as u64 * row_bytes)
}

/// What a kind of file provides before its weights are read.
pub(crate) struct Opened<S> {
    pub(crate) config: ModelConfig,
    pub(crate) source: S,
    pub(crate) tokenizer: TokenizerSource,
    pub(crate) quantisation: String,
    /// What activations are computed in.
    pub(crate) dtype: DType,
    /// What keys and values are cached in.
    pub(crate) cache_dtype: DType,
}

/// Where weights come from.
pub(crate) trait TensorSource {
    /// Returns the shape of a tensor, if the source has it.
    fn shape(&self, id: TensorId) -> Option<Vec<usize>>;
    /// Returns the source's name for a tensor.
    fn name(&self, id: TensorId) -> String;
    /// Loads a matrix onto the device.
    fn matrix(&mut self, id: TensorId) -> Result<Weight, LoadError>;
    /// Loads a vector (a norm or a bias) onto the device, in the dtype of activations.
    fn vector(&mut self, id: TensorId) -> Result<Tensor, LoadError>;
    /// Returns the tensor's size in the files, in bytes.
    fn file_bytes(&self, id: TensorId) -> u64;
    /// Returns the memory that it takes once it is loaded, in bytes, if known before.
    fn held_bytes(&self, id: TensorId) -> u64 {
        self.file_bytes(id)
    }
}
