//! Weights from a GGUF file, on disk or in memory. They stay in the file's blocks, except for formats that have no
//! kernel of our own and only scalar CPU kernels in candle: those are repacked.

mod alignment;
mod config;
mod formats;
mod metadata;
mod split;

use std::{
    borrow::Cow,
    collections::HashMap,
    io::Cursor,
    path::{Path, PathBuf},
};

use candle_core::{
    DType, Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        ggml_file::qtensor_from_ggml,
        gguf_file::{Content, TensorInfo, Value},
    },
};

use self::{
    config::TensorFacts,
    formats::{ALL_FORMATS, file_type_name, missing_format, type_name},
};
use super::{
    FileBytes, LoadOptions, Opened, TensorSource, TokenizerSource, is_lfs_pointer, part_bytes,
    part_shape,
};
use crate::{
    device,
    error::LoadError,
    model::{
        architecture::{Architecture, BiasRule},
        config::{Biases, ModelConfig},
        quant,
        tensors::{Place, Role, Spelling, TensorId, expected},
        weight::Weight,
    },
};

pub use self::split::gguf_parts;
pub(crate) use self::split::{files, whole_stem};

const ROPE_FACTORS: &str = "rope_freqs.weight";
const LONG_ROPE_FACTORS: &str = "rope_factors_long.weight";
/// How many bytes of a file show what it is.
const BEGINNING: usize = 64;

/// The weights of an open GGUF file, or of the open parts of one.
pub(crate) struct GgufSource {
    file: GgufFile,
    config: ModelConfig,
    device: Device,
    /// The dtype of activations.
    activations: DType,
}

/// An open GGUF file, or the open parts of one.
struct GgufFile {
    /// The first part, which names the whole in messages.
    path: PathBuf,
    parts: Vec<Part>,
    /// Each tensor with the number of its part.
    tensors: HashMap<String, (usize, TensorInfo)>,
    /// Of the first part: the others have none of their own.
    metadata: HashMap<String, Value>,
}

/// A tensor's format, its shape and its bytes.
type TensorBytes<'a> = (GgmlDType, Vec<usize>, Cow<'a, [u8]>);

struct Part {
    file: FileBytes,
    /// Where the tensors' bytes begin.
    data_start: u64,
}

impl GgufSource {
    /// Reads the headers of the file or of all its parts, and checks that they are whole.
    pub(crate) fn open(
        files: Vec<(PathBuf, FileBytes)>,
        options: &LoadOptions,
    ) -> Result<Opened<Self>, LoadError> {
        let path = files.first().map(|(path, _)| path.clone()).unwrap_or_default();
        if options.dtype.is_some() {
            return Err(LoadError::Options(format!(
                "{} is a GGUF file, which has its own weight formats; leave the dtype out",
                path.display()
            )));
        }
        let (mut parts, mut tensors, mut metadata) = (Vec::new(), HashMap::new(), HashMap::new());
        for (part, (path, file)) in files.into_iter().enumerate() {
            let content = read_header(&path, &file)?;
            let infos = content.tensor_infos.into_iter();
            tensors.extend(infos.map(|(name, info)| (name, (part, info))));
            if part == 0 {
                metadata = content.metadata;
            }
            parts.push(Part { file, data_start: content.tensor_data_offset });
        }
        check_parts(&path, &metadata, parts.len())?;
        let architecture = config::architecture(&path, &metadata)?;
        let mut file = GgufFile { path: path.clone(), parts, tensors, metadata };
        let facts = file.facts(architecture)?;
        let config = config::read(&path, &file.metadata, architecture, facts)?;
        let quantisation = file.quantisation();
        let metadata = std::mem::take(&mut file.metadata);
        let tokenizer = TokenizerSource::Gguf(metadata::of_tokenizer(metadata));
        let device = options.device.clone();
        let dtype = if device.is_cpu() { DType::F32 } else { half_or_f32(&file, &config, &device) };
        // Half the memory of a long text. llama.cpp does the same.
        let cache_dtype = match dtype {
            DType::F32 if !device.is_cpu() => DType::F16,
            dtype => dtype,
        };
        let source = GgufSource { file, config: config.clone(), device, activations: dtype };
        Ok(Opened { config, source, tokenizer, quantisation, dtype, cache_dtype })
    }

    fn place(&self, id: TensorId) -> Place {
        id.place(&self.config, Spelling::Gguf)
    }

    /// Returns the bytes of a tensor or of a part of one, with their format and shape.
    fn bytes(&self, id: TensorId) -> Result<TensorBytes<'_>, LoadError> {
        let place = self.place(id);
        let (dtype, dims, bytes) = self.file.bytes(&place)?;
        Ok((dtype, dims, id.restored(&self.config, Spelling::Gguf, bytes)))
    }

    /// Makes the matrix as this device computes with it.
    fn weight(
        &self,
        id: TensorId,
        dtype: GgmlDType,
        shape: (usize, usize),
        bytes: &[u8],
    ) -> candle_core::Result<Weight> {
        let floats = |device| {
            qtensor_from_ggml(dtype, bytes, vec![shape.0, shape.1], device)?.dequantize(device)
        };
        let on_cpu = self.device.is_cpu();
        // Rows that are only looked up are never multiplied.
        let lookup_only = id.role == Role::Embedding && !self.config.tied;
        match dtype {
            GgmlDType::F32 => Ok(Weight::Plain(floats(&self.device)?.to_dtype(self.activations)?)),
            GgmlDType::F16 | GgmlDType::BF16 if !on_cpu => {
                let own = if dtype == GgmlDType::F16 { DType::F16 } else { DType::BF16 };
                let halves =
                    Tensor::from_raw_buffer(bytes, own, &[shape.0, shape.1], &Device::Cpu)?;
                Ok(Weight::Plain(halves.to_dtype(self.activations)?.to_device(&self.device)?))
            }
            // candle's kernels for these are scalar; Q8_0 holds their values to within its rounding.
            GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1
                if on_cpu && !lookup_only && !quant::serves(dtype, shape.1, &self.device) =>
            {
                let repacked = QTensor::quantize(&floats(&self.device)?, GgmlDType::Q8_0)?;
                Weight::from_ggml(GgmlDType::Q8_0, &repacked.data()?, shape, &self.device)
            }
            _ => Weight::from_ggml(dtype, bytes, shape, &self.device),
        }
    }
}

impl GgufFile {
    /// Returns what the tensors say about the configuration.
    fn facts(&self, architecture: &Architecture) -> Result<TensorFacts, LoadError> {
        let embedding = TensorId::new(Role::Embedding, 0).gguf_name();
        let vocab = match self.tensors.get(&embedding).map(|(_, info)| info.shape.dims()) {
            Some([vocab, _]) => *vocab,
            Some(_) => 0,
            None => {
                return Err(LoadError::MissingTensor { path: self.path.clone(), name: embedding });
            }
        };
        let has_bias = |role| {
            let id = TensorId { bias: true, ..TensorId::new(role, 0) };
            self.tensors.contains_key(&id.gguf_name())
        };
        let bias = Biases {
            qkv: architecture.biases.qkv == BiasRule::Always || has_bias(Role::Query),
            output: has_bias(Role::Output),
            mlp: has_bias(Role::Gate),
        };
        let has_head = self.tensors.contains_key(&TensorId::new(Role::Head, 0).gguf_name());
        let factors = |name: &str| match self.tensors.contains_key(name) {
            true => self.floats(name).map(Some),
            false => Ok(None),
        };
        let rope_factors = match factors(ROPE_FACTORS)? {
            Some(factors) => Some(factors),
            None => factors(LONG_ROPE_FACTORS)?,
        };
        Ok(TensorFacts { vocab, has_head, bias, rope_factors })
    }

    /// Returns the common name of the file's quantisation; that of its largest share if the file does not say.
    fn quantisation(&self) -> String {
        let file_type = self.metadata.get("general.file_type");
        let named = file_type.and_then(|value| value.to_u64().ok()).and_then(file_type_name);
        if let Some(name) = named {
            return name.to_owned();
        }
        let mut elements: Vec<(GgmlDType, usize)> = Vec::new();
        for (_, info) in self.tensors.values() {
            let count = info.shape.elem_count();
            match elements.iter_mut().find(|(dtype, _)| *dtype == info.ggml_dtype) {
                Some((_, sum)) => *sum += count,
                None => elements.push((info.ggml_dtype, count)),
            }
        }
        let most = elements.iter().max_by_key(|(_, count)| *count);
        most.map_or_else(String::new, |(dtype, _)| type_name(*dtype))
    }

    /// Returns the bytes of a tensor or of a part of one, which are known to be in the file.
    fn bytes(&self, place: &Place) -> Result<TensorBytes<'_>, LoadError> {
        let Some((part, info)) = self.tensors.get(&place.name) else {
            return Err(LoadError::MissingTensor {
                path: self.path.clone(),
                name: place.name.clone(),
            });
        };
        let (dtype, shape) = (info.ggml_dtype, part_shape(place, info.shape.dims()));
        let (skipped, count) = part_bytes(place, byte_len(info).unwrap_or(0));
        let Part { file, data_start, .. } = &self.parts[*part];
        let start = (*data_start + info.offset + skipped) as usize;
        let bytes = &file[start..][..count as usize];
        Ok((dtype, shape, aligned(bytes)))
    }

    /// Reads the numbers of a whole vector.
    fn floats(&self, name: &str) -> Result<Vec<f32>, LoadError> {
        let place = Place { name: name.to_owned(), first_row: 0, rows: 1, of_rows: 1 };
        let (dtype, _, bytes) = self.bytes(&place)?;
        let count = bytes.len() / dtype.type_size() * dtype.block_size();
        qtensor_from_ggml(dtype, &bytes, vec![count], &Device::Cpu)
            .and_then(|blocks| blocks.dequantize(&Device::Cpu)?.to_vec1())
            .map_err(|error| self.device(error))
    }

    fn device(&self, source: candle_core::Error) -> LoadError {
        LoadError::Device { path: self.path.clone(), source }
    }
}

impl TensorSource for GgufSource {
    fn shape(&self, id: TensorId) -> Option<Vec<usize>> {
        let place = self.place(id);
        let (_, info) = self.file.tensors.get(&place.name)?;
        Some(part_shape(&place, info.shape.dims()))
    }

    fn name(&self, id: TensorId) -> String {
        self.place(id).name
    }

    fn matrix(&mut self, id: TensorId) -> Result<Weight, LoadError> {
        let (dtype, dims, bytes) = self.bytes(id)?;
        self.weight(id, dtype, (dims[0], dims[1]), &bytes).map_err(|error| self.file.device(error))
    }

    fn vector(&mut self, id: TensorId) -> Result<Tensor, LoadError> {
        let (dtype, dims, bytes) = self.bytes(id)?;
        qtensor_from_ggml(dtype, &bytes, dims, &Device::Cpu)
            .and_then(|blocks| blocks.dequantize(&self.device)?.to_dtype(self.activations))
            .map_err(|error| self.file.device(error))
    }

    fn file_bytes(&self, id: TensorId) -> u64 {
        let place = self.place(id);
        let tensor = self.file.tensors.get(&place.name);
        let bytes = tensor.and_then(|(_, info)| byte_len(info)).unwrap_or(0);
        part_bytes(&place, bytes).1
    }

    fn held_bytes(&self, id: TensorId) -> u64 {
        let tensor = self.file.tensors.get(&self.place(id).name);
        let is_plain = tensor.is_some_and(|(_, info)| {
            matches!(info.ggml_dtype, GgmlDType::F16 | GgmlDType::BF16 | GgmlDType::F32)
        });
        if !is_plain || self.device.is_cpu() {
            return self.file_bytes(id);
        }
        let elements: usize = self.shape(id).map_or(0, |shape| shape.iter().product());
        (elements * self.activations.size_in_bytes()) as u64
    }
}

/// Returns the bytes where floats may begin, copied if they are elsewhere: candle reads numbers in place.
fn aligned(bytes: &[u8]) -> Cow<'_, [u8]> {
    match bytes.as_ptr().align_offset(align_of::<f32>()) {
        0 => Cow::Borrowed(bytes),
        _ => Cow::Owned(bytes.to_vec()),
    }
}

/// Returns the dtype that a GPU computes in: f16 or bf16 if all large matrices are in it and it serves, and otherwise
/// f32, which the kernels for quantised blocks take.
fn half_or_f32(file: &GgufFile, config: &ModelConfig, device: &Device) -> DType {
    let matrices = expected(config)
        .into_iter()
        // Routers are small, and in f32 in every file.
        .filter(|id| !id.bias && !id.role.is_norm() && id.role != Role::Router)
        .filter_map(|id| file.tensors.get(&id.place(config, Spelling::Gguf).name));
    let half = common_half(matrices.map(|(_, info)| info.ggml_dtype)).filter(|half| {
        // The activations of Gemma, which scales its embedding, exceed what f16 holds.
        let is_too_narrow = *half == DType::F16 && config.architecture.scales_embedding;
        !is_too_narrow && device::cannot_compute_in(*half, device).is_none()
    });
    half.unwrap_or(DType::F32)
}

/// Returns f16 or bf16, if all formats are that one.
fn common_half(formats: impl IntoIterator<Item = GgmlDType>) -> Option<DType> {
    let half = |format| match format {
        GgmlDType::F16 => Some(DType::F16),
        GgmlDType::BF16 => Some(DType::BF16),
        _ => None,
    };
    let mut formats = formats.into_iter();
    let first = half(formats.next()?)?;
    formats.all(|format| half(format) == Some(first)).then_some(first)
}

/// Reads the header and checks that every tensor is within the file.
fn read_header(path: &Path, file: &[u8]) -> Result<Content, LoadError> {
    let damaged = |why: String| LoadError::Damaged { path: path.to_owned(), why };
    let file_bytes = file.len() as u64;
    let start = &file[..file.len().min(BEGINNING)];
    if is_lfs_pointer(start) {
        return Err(LoadError::LfsPointer { path: path.to_owned() });
    }
    if !start.starts_with(b"GGUF") {
        return Err(LoadError::NotFound {
            path: path.to_owned(),
            why: "it is a file but not a GGUF file".to_owned(),
        });
    }
    if alignment::is_zero(&mut Cursor::new(file)) {
        return Err(damaged("its tensors have an alignment of 0".to_owned()));
    }
    let content = Content::read(&mut Cursor::new(file)).map_err(|error| {
        let why = error.to_string().lines().next().unwrap_or_default().to_owned();
        match why.strip_prefix("unknown dtype for tensor ") {
            Some(number) => {
                let (what, instead) = missing_format(number);
                LoadError::Quantisation { path: path.to_owned(), what, instead }
            }
            None => damaged(format!("its header cannot be read ({why})")),
        }
    })?;
    for (name, info) in &content.tensor_infos {
        if matches!(info.ggml_dtype, GgmlDType::Q8_1 | GgmlDType::Q8K) {
            let what = format!("tensor {name:?} in {:?}", info.ggml_dtype);
            let instead = ALL_FORMATS.to_owned();
            return Err(LoadError::Quantisation { path: path.to_owned(), what, instead });
        }
        let end = byte_len(info)
            .and_then(|len| len.checked_add(info.offset)?.checked_add(content.tensor_data_offset));
        match end {
            None => return Err(damaged(format!("tensor {name:?} has an impossible shape"))),
            Some(end) if end > file_bytes => {
                return Err(damaged(format!(
                    "tensor {name:?} ends at byte {end} but the file ends at {file_bytes}"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(content)
}

/// Checks that all parts are there that the first one announces. Parts find each other by their names.
fn check_parts(
    path: &Path,
    metadata: &HashMap<String, Value>,
    parts: usize,
) -> Result<(), LoadError> {
    let count = metadata.get("split.count").and_then(|value| value.to_u64().ok());
    let count = count.map_or(parts, |count| count.max(1) as usize);
    if count == parts {
        return Ok(());
    }
    let why = format!(
        "it is split into {count} parts and there are {parts}: all must be in one folder under the names \
         NAME-00001-of-{count:05}.gguf and so on"
    );
    Err(LoadError::Damaged { path: path.to_owned(), why })
}

/// Returns a tensor's size in bytes; `None` if its shape does not fit its blocks.
fn byte_len(info: &TensorInfo) -> Option<u64> {
    let dims = info.shape.dims();
    let block = info.ggml_dtype.block_size();
    if !dims.last()?.is_multiple_of(block) {
        return None;
    }
    let elements = dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim))?;
    (elements / block).checked_mul(info.ggml_dtype.type_size()).map(|len| len as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_computes_in_half_precision_if_all_matrices_are_in_it() {
        use GgmlDType::{BF16, F16, F32, Q4K};
        assert_eq!(common_half([F16, F16]), Some(DType::F16));
        assert_eq!(common_half([BF16; 3]), Some(DType::BF16));
        for mixed in [&[F16, BF16][..], &[F16, F32], &[Q4K, F16], &[]] {
            assert_eq!(common_half(mixed.iter().copied()), None, "{mixed:?}");
        }
    }

    #[test]
    fn bytes_are_copied_where_no_float_may_begin() {
        let bytes = [0u8; 64];
        let bytes = &bytes[bytes.as_ptr().align_offset(4)..];
        assert!(matches!(aligned(&bytes[4..12]), Cow::Borrowed(_)));
        for odd in [1, 2, 3] {
            assert!(matches!(aligned(&bytes[odd..odd + 8]), Cow::Owned(_)), "{odd}");
        }
    }
}
