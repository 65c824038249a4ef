//! A decoder's configuration from a GGUF file's metadata
//! (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).

use std::{collections::HashMap, path::Path};

use candle_core::quantized::gguf_file::Value;

use crate::{
    error::LoadError,
    model::{
        architecture::{Architecture, WindowRule},
        config::{
            Biases, ExpertsConfig, LayerSpan, ModelConfig, RopeConfig, RopeScaling, check_layers,
        },
        families,
    },
};

/// What the file's tensors say, in addition to its metadata.
pub(crate) struct TensorFacts {
    /// Rows of the embedding.
    pub(crate) vocab: usize,
    pub(crate) has_head: bool,
    pub(crate) bias: Biases,
    /// The tensor `rope_freqs.weight` or `rope_factors_long.weight`.
    pub(crate) rope_factors: Option<Vec<f32>>,
}

/// Metadata under one architecture's prefix.
struct Keys<'a> {
    path: &'a Path,
    metadata: &'a HashMap<String, Value>,
    arch: &'a str,
}

/// Returns the family that the file names.
pub(crate) fn architecture(
    path: &Path,
    metadata: &HashMap<String, Value>,
) -> Result<&'static Architecture, LoadError> {
    let found = arch(metadata);
    let experts = metadata.get("llama.expert_count").and_then(whole_number);
    let name = match found {
        "llama" if experts.is_some_and(|count| count > 0) => "mixtral",
        found => found,
    };
    Architecture::of_gguf(name)
        .ok_or_else(|| families::unknown(path, found, &Architecture::names()))
}

/// Returns the file's own name for its family.
fn arch(metadata: &HashMap<String, Value>) -> &str {
    match metadata.get("general.architecture") {
        Some(Value::String(name)) => name,
        _ => "(none)",
    }
}

/// Reads and checks the configuration.
pub(crate) fn read(
    path: &Path,
    metadata: &HashMap<String, Value>,
    architecture: &'static Architecture,
    tensors: TensorFacts,
) -> Result<ModelConfig, LoadError> {
    let keys = Keys { path, metadata, arch: arch(metadata) };
    let hidden = keys.size("embedding_length")?;
    let heads = keys.size("attention.head_count")?;
    let head_dim = match keys.size_or_none("attention.key_length")? {
        Some(width) => width,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    if keys.size_or_none("attention.value_length")?.is_some_and(|size| size != head_dim) {
        return Err(keys.unsupported("a value head of another size than the key head"));
    }
    let rotary_dim = match keys.size_or_none("rope.dimension_count")? {
        Some(size) => size,
        None => (head_dim as f64 * architecture.defaults.rotary_part) as usize,
    };
    let context = keys.size("context_length")?;
    let experts = keys.experts(architecture)?;
    let layers = keys.layers(architecture, experts.is_some())?;
    let scaling = keys.scaling(context, tensors.rope_factors)?;
    let theta = keys.float("rope.freq_base")?.unwrap_or(architecture.defaults.theta);
    let config = ModelConfig {
        architecture,
        vocab: tensors.vocab,
        hidden,
        intermediate: keys.size_or_none("feed_forward_length")?.unwrap_or(0),
        attention_scale: attention_scale(architecture, layers.len(), hidden, heads, head_dim),
        layers,
        heads,
        kv_heads: keys.size_or_none("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        rotary_dim,
        context,
        rms_eps: keys.float("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5) as f32,
        rope: RopeConfig { theta, scaling },
        window_rope: keys.window_rope(architecture)?,
        experts,
        tied: !tensors.has_head,
        bias: tensors.bias,
    };
    config.check().map_err(|why| keys.bad(why))?;
    Ok(config)
}

/// Returns the factor for attention scores, which files do not state. In the one family where it may differ from the
/// inverse root of a head's width, only the largest model differs, and is recognised by its number of layers (as in
/// llama.cpp).
fn attention_scale(
    architecture: &Architecture,
    layers: usize,
    hidden: usize,
    heads: usize,
    head_dim: usize,
) -> f32 {
    const GEMMA3_27B_LAYERS: usize = 62;
    let is_other = architecture.scales_embedding && layers == GEMMA3_27B_LAYERS;
    let width = if is_other { hidden.checked_div(heads).unwrap_or(0) } else { head_dim };
    (width as f32).sqrt().recip()
}

impl Keys<'_> {
    /// Returns what each layer attends to.
    fn layers(
        &self,
        architecture: &Architecture,
        has_experts: bool,
    ) -> Result<Vec<LayerSpan>, LoadError> {
        let window = self.size_or_none("attention.sliding_window")?.filter(|window| *window > 0);
        let is_windowed: Box<dyn Fn(usize) -> bool> = match (architecture.windows, window) {
            (_, None) => Box::new(|_| false),
            (WindowRule::All(_), _) => Box::new(|_| true),
            (WindowRule::AllButEvery(every), _) => {
                let every = self.size_or_none("attention.sliding_window_pattern")?.unwrap_or(every);
                Box::new(move |layer| !(layer + 1).is_multiple_of(every))
            }
            (WindowRule::None | WindowRule::FromLayer, Some(_)) => {
                return Err(self.unsupported("sliding-window attention"));
            }
        };
        let turns = |layer: usize| {
            architecture.plain_every.is_none_or(|every| !(layer + 1).is_multiple_of(every))
        };
        let layers = self.size("block_count")?;
        check_layers(layers).map_err(|why| self.bad(why))?;
        let span = |layer| LayerSpan {
            window: window.filter(|_| is_windowed(layer)),
            turns: turns(layer),
            has_experts,
        };
        Ok((0..layers).map(span).collect())
    }

    /// Returns the mixture of experts, if the family has one.
    fn experts(&self, architecture: &Architecture) -> Result<Option<ExpertsConfig>, LoadError> {
        let count = self.size_or_none("expert_count")?.filter(|count| *count > 0);
        if architecture.experts.is_none() {
            return match count {
                None => Ok(None),
                Some(_) => Err(self.unsupported("a mixture of experts")),
            };
        }
        Ok(Some(ExpertsConfig {
            count: count.ok_or_else(|| self.missing("expert_count"))?,
            used: self.size("expert_used_count")?,
            intermediate: match self.size_or_none("expert_feed_forward_length")? {
                Some(size) => size,
                None => self.size("feed_forward_length")?,
            },
            normalised: true,
        }))
    }

    /// Returns the rotary positions of layers that attend to a window, if theirs differ.
    fn window_rope(&self, architecture: &Architecture) -> Result<Option<RopeConfig>, LoadError> {
        let WindowRule::AllButEvery(_) = architecture.windows else { return Ok(None) };
        let theta = self.float("rope.local_freq_base")?.or(self.float("rope.freq_base_swa")?);
        Ok(Some(RopeConfig { theta: theta.unwrap_or(10_000.0), scaling: RopeScaling::None }))
    }

    fn scaling(&self, context: usize, factors: Option<Vec<f32>>) -> Result<RopeScaling, LoadError> {
        let kind = match self.get("rope.scaling.type") {
            None => "none",
            Some(Value::String(kind)) => kind.as_str(),
            Some(_) => return Err(self.bad("rope.scaling.type is not a string".to_owned())),
        };
        // An older key for linear scaling is used by itself.
        let factor = match self.float("rope.scaling.factor")? {
            Some(factor) => factor,
            None => self.float("rope.scale_linear")?.unwrap_or(1.0),
        };
        match (kind, factors) {
            ("none" | "longrope", Some(factors)) => {
                let attention_factor = self.float("rope.scaling.attn_factor")?.unwrap_or(1.0);
                Ok(RopeScaling::Factors { factors, attention_factor })
            }
            ("none", None) if factor == 1.0 => Ok(RopeScaling::None),
            ("none" | "linear", None) => Ok(RopeScaling::Linear { factor }),
            ("yarn", None) => {
                let original = self.float("rope.scaling.original_context_length")?;
                let attention = self.float("rope.scaling.attn_factor")?.unwrap_or(1.0);
                Ok(RopeScaling::Yarn {
                    factor,
                    original_context: original.unwrap_or(context as f64),
                    beta_fast: self.float("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                    beta_slow: self.float("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                    attention_factor: attention * (1.0 + 0.1 * factor.max(1.0).ln()),
                    truncate: true,
                })
            }
            (kind, _) => Err(self.unsupported(&format!("RoPE scaling {kind:?}"))),
        }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(&format!("{}.{key}", self.arch))
    }

    fn size(&self, key: &str) -> Result<usize, LoadError> {
        self.size_or_none(key)?.ok_or_else(|| self.missing(key))
    }

    fn missing(&self, key: &str) -> LoadError {
        self.bad(format!("setting {}.{key} is missing", self.arch))
    }

    fn size_or_none(&self, key: &str) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match whole_number(value) {
            Some(size) => Ok(Some(size as usize)),
            None => Err(self.bad(format!("setting {}.{key} is not a whole number", self.arch))),
        }
    }

    fn float(&self, key: &str) -> Result<Option<f64>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::F32(value)) => Ok(Some(f64::from(*value))),
            Some(Value::F64(value)) => Ok(Some(*value)),
            Some(value) => match whole_number(value) {
                Some(value) => Ok(Some(value as f64)),
                None => Err(self.bad(format!("setting {}.{key} is not a number", self.arch))),
            },
        }
    }

    fn bad(&self, why: String) -> LoadError {
        LoadError::Config { path: self.path.to_owned(), why }
    }

    fn unsupported(&self, what: &str) -> LoadError {
        LoadError::Unsupported { path: self.path.to_owned(), what: what.to_owned() }
    }
}

/// Returns a value of any whole-number type, if it is not negative.
fn whole_number(value: &Value) -> Option<u64> {
    match value {
        Value::U8(n) => Some(u64::from(*n)),
        Value::U16(n) => Some(u64::from(*n)),
        Value::U32(n) => Some(u64::from(*n)),
        Value::U64(n) => Some(*n),
        Value::I8(n) => u64::try_from(*n).ok(),
        Value::I16(n) => u64::try_from(*n).ok(),
        Value::I32(n) => u64::try_from(*n).ok(),
        Value::I64(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}
