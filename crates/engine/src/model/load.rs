//! Loads a model from its location: what computes it, our own [`Decoder`] or a model of candle-transformers, and what
//! the tokenizer needs. `source` reads the kinds of files.

use std::{
    any::Any,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use candle_core::{DType, Device, Tensor};

use crate::{device, error::LoadError};

use super::{
    cache::Allocator,
    config::ModelConfig,
    decoder::{Decoder, Layer},
    families::SingleFamily,
    feed_forward::{FeedForward, Mixture, Mlp},
    rope::Rope,
    seam::Decode,
    single,
    source::{
        FileBytes, GgufSource, HfSource, LoadOptions, LoadProgress, Opened, RandomSource,
        TensorSource, TokenizerSource, config_json, family_names, files, tokenizer_of, whole_stem,
    },
    tensors::{Role, TensorId, expected},
    weight::{Joined, Linear, Weight},
};

/// Where a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelLocation {
    /// A .gguf file, any part of a split one, or a Hugging Face directory.
    Path(PathBuf),
    /// Embedded in the program.
    Embedded(EmbeddedModel),
}

/// A GGUF file that is embedded in the program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedModel {
    /// Its name, also in messages.
    pub name: &'static str,
    /// The file.
    pub bytes: &'static [u8],
}

impl fmt::Debug for EmbeddedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedModel").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ModelLocation {
    /// Returns a short name for people: the file's or directory's, or the embedded model's own.
    pub fn name(&self) -> String {
        match self {
            ModelLocation::Embedded(model) => model.name.to_owned(),
            ModelLocation::Path(path) => {
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                if path.is_dir() { name.into_owned() } else { whole_stem(&name).to_owned() }
            }
        }
    }
}

impl From<&Path> for ModelLocation {
    fn from(path: &Path) -> Self {
        ModelLocation::Path(path.to_owned())
    }
}

/// A model that is ready to run, and what its files contain besides weights.
#[derive(Debug)]
pub struct LoadedModel {
    /// What computes it.
    pub decoder: Box<dyn Decode>,
    /// What the tokenizer and the chat template are made from.
    pub tokenizer: TokenizerSource,
    /// Number of weights.
    pub parameters: u64,
    /// "f32", "bf16", "Q4_K_M", ...: the format of the weights in the files, or the one they are held in if that was
    /// asked for.
    pub quantisation: String,
    /// Memory the weights take, in bytes.
    pub weight_bytes: u64,
    /// A line on what is less than the files say, if anything is.
    pub note: Option<String>,
}

impl LoadedModel {
    /// Returns our own decoder, if that computes the model.
    pub fn own_decoder(&self) -> Option<&Decoder> {
        let decoder: &dyn Any = &*self.decoder;
        decoder.downcast_ref()
    }
}

/// Loads a model from a .gguf file, on disk (split into parts or not) or in memory, or a Hugging Face directory.
///
/// Everything that can be wrong with the files is found before weights are read.
pub fn load_model(
    location: &ModelLocation,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<LoadedModel, LoadError> {
    if !matches!(options.dtype, None | Some(DType::F32 | DType::BF16 | DType::F16)) {
        return Err(LoadError::Options("weights can be held in f32, bf16 or f16 only".to_owned()));
    }
    match location {
        ModelLocation::Path(path) => load_path(path, options, progress),
        ModelLocation::Embedded(EmbeddedModel { name, bytes }) => {
            let file = (PathBuf::from(name), FileBytes::Embedded(bytes));
            finish(Path::new(name), GgufSource::open(vec![file], options)?, options, progress)
        }
    }
}

/// Makes a model from a directory's config.json with random weights, which are made on the device, in bf16 unless
/// `options.dtype` says otherwise. For benches.
///
/// # Errors
/// If the configuration is not supported, or the weights do not fit.
pub fn load_random(directory: &Path, options: &LoadOptions) -> Result<LoadedModel, LoadError> {
    finish(directory, RandomSource::open(directory, options)?, options, &mut |_| {})
}

fn load_path(
    path: &Path,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<LoadedModel, LoadError> {
    let not_found = |why: &str| LoadError::NotFound { path: path.to_owned(), why: why.to_owned() };
    if path.is_dir() {
        load_directory(path, options, progress)
    } else if path.is_file() {
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors")) {
            return Err(not_found(
                "it is one safetensors file, which does not say what model it is",
            ));
        }
        let open = |path: PathBuf| match FileBytes::map(&path) {
            Ok(file) => Ok((path, file)),
            Err(source) => Err(LoadError::Read { path, source }),
        };
        let files = files(path)?.into_iter().map(open).collect::<Result<_, _>>()?;
        finish(path, GgufSource::open(files, options)?, options, progress)
    } else {
        Err(not_found("there is no such file or directory"))
    }
}

fn load_directory(
    path: &Path,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<LoadedModel, LoadError> {
    let json = config_json(path)?;
    let (class, model_type) = family_names(&json);
    let Some(family) = SingleFamily::of_config(class, model_type) else {
        return finish(path, HfSource::open(path, json, options)?, options, progress);
    };
    let single::Loaded { decoder, parameters, weight_bytes, note } =
        single::load(path, family, json, options, progress)?;
    Ok(LoadedModel {
        decoder: Box::new(decoder),
        tokenizer: tokenizer_of(path),
        parameters,
        quantisation: DType::F32.as_str().to_owned(),
        weight_bytes,
        note,
    })
}

fn finish<S: TensorSource>(
    path: &Path,
    opened: Opened<S>,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<LoadedModel, LoadError> {
    let Opened { config, mut source, tokenizer, quantisation, dtype, cache_dtype } = opened;
    let (mut parameters, mut total_bytes, mut held_bytes) = (0u64, 0u64, 0u64);
    for id in expected(&config) {
        let shape = id.shape(&config);
        let Some(found) = source.shape(id) else {
            return Err(LoadError::MissingTensor { path: path.to_owned(), name: source.name(id) });
        };
        if found != shape {
            let name = source.name(id);
            return Err(LoadError::WrongShape {
                path: path.to_owned(),
                name,
                found,
                expected: shape,
            });
        }
        parameters += shape.iter().product::<usize>() as u64;
        total_bytes += source.file_bytes(id);
        held_bytes += source.held_bytes(id);
    }
    options.check_memory(path, held_bytes)?;
    if let Some(why) = device::cannot_compute_in(dtype, &options.device) {
        return Err(LoadError::Options(format!("{}: {why}", path.display())));
    }
    let mut reader = Reader { path, source: &mut source, progress, done_bytes: 0, total_bytes };
    let mut decoder = build(config, &mut reader, options.device.clone(), dtype, cache_dtype)?;
    // Weights may still be on their way to a GPU.
    let done = options.device.synchronize();
    done.map_err(|source| LoadError::Device { path: path.to_owned(), source })?;
    let note = if options.plain { None } else { decoder.fuse() };
    let weight_bytes = decoder.weight_bytes();
    let decoder = Box::new(decoder);
    Ok(LoadedModel { decoder, tokenizer, parameters, quantisation, weight_bytes, note })
}

/// Reads tensors and reports progress.
struct Reader<'a, S> {
    path: &'a Path,
    source: &'a mut S,
    progress: &'a mut dyn FnMut(LoadProgress),
    done_bytes: u64,
    total_bytes: u64,
}

impl<S: TensorSource> Reader<'_, S> {
    fn matrix(&mut self, id: TensorId) -> Result<Weight, LoadError> {
        let weight = self.source.matrix(id)?;
        self.count(id);
        Ok(weight)
    }

    fn vector(&mut self, id: TensorId) -> Result<Tensor, LoadError> {
        let vector = self.source.vector(id)?;
        self.count(id);
        Ok(vector)
    }

    /// Reads a norm, if the family has it.
    fn norm(
        &mut self,
        role: Role,
        layer: usize,
        is_there: bool,
    ) -> Result<Option<Tensor>, LoadError> {
        match is_there {
            true => self.vector(TensorId::new(role, layer)).map(Some),
            false => Ok(None),
        }
    }

    fn linear(&mut self, id: TensorId, biased: bool) -> Result<Linear, LoadError> {
        let weight = self.matrix(id)?;
        let bias = match biased {
            true => Some(self.vector(TensorId { bias: true, ..id })?),
            false => None,
        };
        Ok(Linear { weight, bias })
    }

    fn joined<const N: usize>(&self, layers: [Linear; N]) -> Result<Joined<N>, LoadError> {
        let path = self.path;
        Joined::new(layers).map_err(|source| LoadError::Device { path: path.to_owned(), source })
    }

    fn mlp(&mut self, layer: usize, expert: Option<usize>, biased: bool) -> Result<Mlp, LoadError> {
        let mut linear =
            |role| self.linear(TensorId { expert, ..TensorId::new(role, layer) }, biased);
        let (gate, up) = (linear(Role::Gate)?, linear(Role::Up)?);
        let down = linear(Role::Down)?;
        Ok(Mlp { gate_up: self.joined([gate, up])?, down })
    }

    fn count(&mut self, id: TensorId) {
        self.done_bytes += self.source.file_bytes(id);
        let (done_bytes, total_bytes) = (self.done_bytes, self.total_bytes);
        (self.progress)(LoadProgress { done_bytes, total_bytes });
    }
}

fn build<S: TensorSource>(
    config: ModelConfig,
    reader: &mut Reader<'_, S>,
    device: Device,
    dtype: DType,
    cache_dtype: DType,
) -> Result<Decoder, LoadError> {
    let embedding = reader.matrix(TensorId::new(Role::Embedding, 0))?;
    let layers = (0..config.layers.len())
        .map(|layer| build_layer(&config, reader, layer))
        .collect::<Result<Vec<_>, LoadError>>()?;
    let norm = reader.vector(TensorId::new(Role::OutputNorm, 0))?;
    let head = match config.tied {
        true => embedding.clone(),
        false => reader.matrix(TensorId::new(Role::Head, 0))?,
    };
    let rope = Rope::new(&config.rope, config.rotary_dim);
    let window_rope = config.window_rope.as_ref().map(|rope| Rope::new(rope, config.rotary_dim));
    let kv = Arc::new(Allocator::new(layers.len(), config.heads(), cache_dtype, device.clone()));
    let pulse = Arc::default();
    Ok(Decoder {
        config,
        device,
        dtype,
        rope,
        window_rope,
        embedding,
        layers,
        norm,
        head,
        fused: None,
        kv,
        pulse,
    })
}

fn build_layer<S: TensorSource>(
    config: &ModelConfig,
    reader: &mut Reader<'_, S>,
    layer: usize,
) -> Result<Layer, LoadError> {
    let (bias, norms, span) = (config.bias, config.architecture.norms, config.layers[layer]);
    let has_head_norms = config.head_norms().is_some();
    let mut linear = |role, biased| reader.linear(TensorId::new(role, layer), biased);
    let (q, k) = (linear(Role::Query, bias.qkv)?, linear(Role::Key, bias.qkv)?);
    let (v, output) = (linear(Role::Value, bias.qkv)?, linear(Role::Output, bias.output)?);
    let qkv = reader.joined([q, k, v])?;
    let mut norm = |role, is_there| reader.norm(role, layer, is_there);
    Ok(Layer {
        span,
        attention_norm: norm(Role::AttentionNorm, norms.attention.is_some())?,
        after_attention_norm: norm(Role::AfterAttentionNorm, norms.after_attention.is_some())?,
        mlp_norm: norm(Role::MlpNorm, norms.mlp.is_some())?,
        after_mlp_norm: norm(Role::AfterMlpNorm, norms.after_mlp.is_some())?,
        q_norm: norm(Role::QueryNorm, has_head_norms)?,
        k_norm: norm(Role::KeyNorm, has_head_norms)?,
        qkv,
        output,
        feed_forward: match config.experts.filter(|_| span.has_experts) {
            None => FeedForward::Dense(reader.mlp(layer, None, bias.mlp)?),
            Some(experts) => FeedForward::Mixture(Mixture {
                router: reader.matrix(TensorId::new(Role::Router, layer))?,
                experts: (0..experts.count)
                    .map(|expert| reader.mlp(layer, Some(expert), bias.mlp))
                    .collect::<Result<_, _>>()?,
                config: experts,
            }),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchRow, WantedLogits};

    #[test]
    fn a_model_of_random_weights_computes() {
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tiny-qwen2");
        for dtype in [DType::F32, DType::BF16] {
            let options = LoadOptions { dtype: Some(dtype), ..LoadOptions::default() };
            let model = load_random(&directory, &options).unwrap();
            let mut cache = model.decoder.new_cache();
            let row =
                BatchRow { tokens: &[1, 2, 3], cache: &mut *cache, logits: WantedLogits::Last };
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
