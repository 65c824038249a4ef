//! Weights from a Hugging Face directory: model.safetensors, or shards named by
//! model.safetensors.index.json.
//!
//! Files are read tensor by tensor, not mapped: mapping is `unsafe` (another process may change the
//! file) and saves nothing where every weight is copied to its place once.

pub(super) mod config;

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use serde::Deserialize;

use super::{
    LoadOptions, Opened, TensorSource, TokenizerSource, is_lfs_pointer, part_bytes, part_shape,
};
use crate::{
    error::LoadError,
    model::{
        config::ModelConfig,
        tensors::{Place, Role, Spelling, TensorId},
        weight::{Weight, activation_dtype},
    },
};

const SINGLE: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
const INDEX: &str = "model.safetensors.index.json";
/// Longer headers are damage: the format allows no more.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The open safetensors files of a directory.
pub(crate) struct HfSource {
    directory: PathBuf,
    config: ModelConfig,
    shards: Vec<Shard>,
    tensors: HashMap<String, Stored>,
    device: Device,
    /// What matrices are held in.
    weights: DType,
    /// What vectors are held in and activations computed in.
    activations: DType,
}

struct Shard {
    path: PathBuf,
    file: File,
    /// Where the tensors' bytes begin.
    data_start: u64,
}

/// A tensor in a shard.
struct Stored {
    shard: usize,
    info: TensorInfo,
    dtype: DType,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl HfSource {
    /// Reads the configuration and all headers, and checks that the files are whole.
    pub(crate) fn open(directory: &Path, options: &LoadOptions) -> Result<Opened<Self>, LoadError> {
        if !directory.join("config.json").is_file() {
            return Err(LoadError::NotFound {
                path: directory.to_owned(),
                why: "the directory has no config.json".to_owned(),
            });
        }
        for name in ["config.json", TOKENIZER, INDEX] {
            refuse_lfs_pointer(&directory.join(name))?;
        }
        let config = config::read(directory)?;
        let mut shards = Vec::new();
        let mut tensors = HashMap::new();
        for name in shard_names(directory)? {
            let (shard, metadata) = open_shard(&directory.join(name))?;
            for (name, info) in metadata.tensors() {
                // Tensors of other kinds (buffers of old checkpoints) are not weights.
                if let Some(dtype) = float_dtype(info.dtype) {
                    let stored = Stored { shard: shards.len(), info: info.clone(), dtype };
                    tensors.insert(name, stored);
                }
            }
            shards.push(shard);
        }
        let embedding = TensorId::new(Role::Embedding, 0).place(&config, Spelling::HuggingFace);
        let own = find(&tensors, &embedding.name).map_or(DType::F32, |stored| stored.dtype);
        let weights = match options.dtype {
            Some(dtype) => dtype,
            None if options.device.is_cpu() => DType::F32,
            None => own,
        };
        let activations = activation_dtype(weights, &options.device);
        let source = HfSource {
            directory: directory.to_owned(),
            config: config.clone(),
            shards,
            tensors,
            device: options.device.clone(),
            weights,
            activations,
        };
        Ok(Opened {
            config,
            source,
            tokenizer: tokenizer(directory),
            quantisation: weights.as_str().to_owned(),
            dtype: activations,
        })
    }

    /// A tensor on the CPU, as the file has it.
    fn read(&mut self, id: TensorId) -> Result<Tensor, LoadError> {
        let place = self.place(id);
        let Some(stored) = find(&self.tensors, &place.name) else {
            return Err(LoadError::MissingTensor {
                path: self.directory.clone(),
                name: place.name,
            });
        };
        let shard = &mut self.shards[stored.shard];
        let (start, end) = stored.info.data_offsets;
        let (skipped, count) = part_bytes(&place, (end - start) as u64);
        let mut bytes = vec![0; count as usize];
        shard
            .file
            .seek(SeekFrom::Start(shard.data_start + start as u64 + skipped))
            .and_then(|_| shard.file.read_exact(&mut bytes))
            .map_err(|source| LoadError::Read { path: shard.path.clone(), source })?;
        let bytes = id.restored(&self.config, Spelling::HuggingFace, bytes);
        let shape = part_shape(&place, &stored.info.shape);
        Tensor::from_raw_buffer(&bytes, stored.dtype, &shape, &Device::Cpu)
            .map_err(|source| LoadError::Device { path: self.directory.clone(), source })
    }

    fn place(&self, id: TensorId) -> Place {
        id.place(&self.config, Spelling::HuggingFace)
    }
}

impl TensorSource for HfSource {
    fn shape(&self, id: TensorId) -> Option<Vec<usize>> {
        let place = self.place(id);
        find(&self.tensors, &place.name).map(|stored| part_shape(&place, &stored.info.shape))
    }

    fn name(&self, id: TensorId) -> String {
        self.place(id).name
    }

    fn matrix(&mut self, id: TensorId) -> Result<Weight, LoadError> {
        let tensor = self.read(id)?;
        Weight::held_in(self.weights, tensor, &self.device)
            .map_err(|source| LoadError::Device { path: self.directory.clone(), source })
    }

    fn vector(&mut self, id: TensorId) -> Result<Tensor, LoadError> {
        let from_one = self.config.architecture.norms_from_one && id.role.is_norm();
        let vector = self.read(id)?.to_dtype(DType::F32);
        let vector = vector.and_then(|vector| if from_one { vector + 1.0 } else { Ok(vector) });
        vector
            .and_then(|vector| vector.to_dtype(self.activations)?.to_device(&self.device))
            .map_err(|source| LoadError::Device { path: self.directory.clone(), source })
    }

    fn file_bytes(&self, id: TensorId) -> u64 {
        let place = self.place(id);
        find(&self.tensors, &place.name).map_or(0, |stored| {
            let (start, end) = stored.info.data_offsets;
            part_bytes(&place, (end - start) as u64).1
        })
    }

    fn held_bytes(&self, id: TensorId) -> u64 {
        let elements = self.shape(id).map_or(0, |shape| shape.iter().product());
        (elements * self.weights.size_in_bytes()) as u64
    }
}

/// A tensor by its name in a checkpoint of a text model, or of one that also sees and has it as a part.
fn find<'a>(tensors: &'a HashMap<String, Stored>, name: &str) -> Option<&'a Stored> {
    let within = || name.strip_prefix("model.").map(|rest| format!("model.language_model.{rest}"));
    tensors
        .get(name)
        .or_else(|| tensors.get(&format!("language_model.{name}")))
        .or_else(|| tensors.get(&within()?))
}

/// The safetensors files of a directory, by name.
fn shard_names(directory: &Path) -> Result<BTreeSet<String>, LoadError> {
    let index = directory.join(INDEX);
    if directory.join(SINGLE).is_file() && !index.is_file() {
        return Ok(BTreeSet::from([SINGLE.to_owned()]));
    }
    if !index.is_file() {
        return Err(LoadError::NotFound {
            path: directory.to_owned(),
            why: format!("the directory has neither {SINGLE} nor {INDEX}"),
        });
    }
    let text = std::fs::read_to_string(&index)
        .map_err(|source| LoadError::Read { path: index.clone(), source })?;
    let parsed: Index = serde_json::from_str(&text)
        .map_err(|error| LoadError::Config { path: index.clone(), why: error.to_string() })?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    // A shard is a file beside its index, whatever the index says.
    if let Some(name) = names.iter().find(|name| name.contains(['/', '\\'])) {
        let why = format!("it names a file outside its directory: {name:?}");
        return Err(LoadError::Config { path: index, why });
    }
    Ok(names)
}

/// Opens a file, reads its header and checks that all its bytes are there.
fn open_shard(path: &Path) -> Result<(Shard, Metadata), LoadError> {
    let read_error = |source| LoadError::Read { path: path.to_owned(), source };
    let damaged = |why: String| LoadError::Damaged { path: path.to_owned(), why };
    refuse_lfs_pointer(path)?;
    let mut file = File::open(path).map_err(read_error)?;
    let file_bytes = file.metadata().map_err(read_error)?.len();
    if file_bytes < 8 {
        return Err(damaged(format!("it has {file_bytes} bytes")));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(read_error)?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MAX_HEADER_BYTES || header_bytes > file_bytes - 8 {
        return Err(damaged(format!("its header would have {header_bytes} bytes")));
    }
    let mut header = vec![0; header_bytes as usize];
    file.read_exact(&mut header).map_err(read_error)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| damaged(format!("its header cannot be read ({error})")))?;
    let data_start = 8 + header_bytes;
    let end = data_start + metadata.data_len() as u64;
    if end != file_bytes {
        return Err(damaged(format!("it has {file_bytes} bytes of {end}")));
    }
    Ok((Shard { path: path.to_owned(), file, data_start }, metadata))
}

/// Refuses what stands for a file that was not fetched. What cannot be read is somebody else's matter.
fn refuse_lfs_pointer(path: &Path) -> Result<(), LoadError> {
    let mut beginning = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut beginning));
    if read.is_ok() && is_lfs_pointer(&beginning) {
        return Err(LoadError::LfsPointer { path: path.to_owned() });
    }
    Ok(())
}

fn float_dtype(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::F16 => Some(DType::F16),
        _ => None,
    }
}

/// Where a directory's tokenizer is.
pub(super) fn tokenizer(directory: &Path) -> TokenizerSource {
    TokenizerSource::Json(directory.join(TOKENIZER))
}
