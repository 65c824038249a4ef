//! The safetensors files of a Hugging Face directory: model.safetensors, or shards named by
//! model.safetensors.index.json.
//!
//! Files are read tensor by tensor, not mapped: mapping is `unsafe` (another process may change the file) and saves
//! nothing, since every weight is copied to its place once.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use candle_core::DType;
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use serde::Deserialize;

use crate::{error::LoadError, model::source::is_lfs_pointer};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// A longer header means a damaged file: the format allows no more.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The open safetensors files of a directory.
pub(crate) struct Checkpoint {
    directory: PathBuf,
    shards: Vec<Shard>,
    tensors: HashMap<String, Stored>,
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

impl Checkpoint {
    /// Reads all headers, and checks that the files are whole.
    pub(crate) fn open(directory: &Path) -> Result<Self, LoadError> {
        refuse_lfs_pointer(&directory.join(INDEX))?;
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
        Ok(Checkpoint { directory: directory.to_owned(), shards, tensors })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the dtype that a tensor is stored in.
    pub(crate) fn dtype(&self, name: &str) -> Option<DType> {
        self.find(name).map(|stored| stored.dtype)
    }

    /// Returns a tensor's shape.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.find(name).map(|stored| stored.info.shape.as_slice())
    }

    /// Returns a tensor's size in its file, in bytes.
    pub(crate) fn bytes(&self, name: &str) -> u64 {
        self.find(name).map_or(0, Stored::bytes)
    }

    /// Reads a part of a tensor. `part` takes the tensor's size and returns the part's first byte and length.
    pub(crate) fn read_part(
        &mut self,
        name: &str,
        part: impl FnOnce(u64) -> (u64, u64),
    ) -> Result<Vec<u8>, LoadError> {
        let Some(stored) = self.find(name) else {
            let (path, name) = (self.directory.clone(), name.to_owned());
            return Err(LoadError::MissingTensor { path, name });
        };
        let (skipped, count) = part(stored.bytes());
        let (shard, start) = (stored.shard, stored.info.data_offsets.0 as u64 + skipped);
        let shard = &mut self.shards[shard];
        let mut bytes = vec![0; count as usize];
        shard
            .file
            .seek(SeekFrom::Start(shard.data_start + start))
            .and_then(|_| shard.file.read_exact(&mut bytes))
            .map_err(|source| LoadError::Read { path: shard.path.clone(), source })?;
        Ok(bytes)
    }

    /// Finds a tensor by its name in a checkpoint of a text model, or of a vision model that has one as a part.
    fn find(&self, name: &str) -> Option<&Stored> {
        let tensors = &self.tensors;
        let within =
            || name.strip_prefix("model.").map(|rest| format!("model.language_model.{rest}"));
        tensors
            .get(name)
            .or_else(|| tensors.get(&format!("language_model.{name}")))
            .or_else(|| tensors.get(&within()?))
    }
}

impl Stored {
    fn bytes(&self) -> u64 {
        let (start, end) = self.info.data_offsets;
        (end - start) as u64
    }
}

/// Returns the names of a directory's safetensors files.
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
    // A shard must be a file beside its index, whatever the index says.
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
        return Err(damaged(format!("it has {file_bytes} of {end} bytes")));
    }
    Ok((Shard { path: path.to_owned(), file, data_start }, metadata))
}

/// Refuses a Git LFS pointer, which stands in for a file that was not fetched. Files that cannot be read are left to
/// others.
pub(super) fn refuse_lfs_pointer(path: &Path) -> Result<(), LoadError> {
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
