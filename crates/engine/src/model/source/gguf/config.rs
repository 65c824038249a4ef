//! A decoder's configuration from a GGUF file's metadata
//! (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).

use std::{collections::HashMap, path::Path};

use candle_core::quantized::gguf_file::Value;

use crate::{
    error::LoadError,
    model::config::{Biases, Family, ModelConfig, RopeConfig, RopeScaling},
};

/// What the file's tensors say beside its metadata.
pub(crate) struct TensorFacts {
    /// Rows of the embedding.
    pub(crate) vocab: usize,
    pub(crate) has_head: bool,
    pub(crate) bias: Biases,
    /// The tensor `rope_freqs.weight`.
    pub(crate) rope_factors: Option<Vec<f32>>,
}

/// Metadata under one architecture's prefix.
struct Keys<'a> {
    path: &'a Path,
    metadata: &'a HashMap<String, Value>,
    arch: &'a str,
}

/// The family the file names.
pub(crate) fn family(path: &Path, metadata: &HashMap<String, Value>) -> Result<Family, LoadError> {
    let found = match metadata.get("general.architecture") {
        Some(Value::String(name)) => name.as_str(),
        _ => "(none)",
    };
    found
        .parse()
        .map_err(|_| LoadError::Architecture { path: path.to_owned(), found: found.to_owned() })
}

/// Reads and checks the configuration.
pub(crate) fn read(
    path: &Path,
    metadata: &HashMap<String, Value>,
    family: Family,
    tensors: TensorFacts,
) -> Result<ModelConfig, LoadError> {
    let keys = Keys { path, metadata, arch: family.name() };
    keys.refuse_features()?;
    let hidden = keys.size("embedding_length")?;
    let heads = keys.size("attention.head_count")?;
    let head_dim = match keys.size_or_none("attention.key_length")? {
        Some(width) => width,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    for (key, what) in [
        ("attention.value_length", "a value head of another size than the key head"),
        ("rope.dimension_count", "rotating only a part of each head"),
    ] {
        if keys.size_or_none(key)?.is_some_and(|size| size != head_dim) {
            return Err(keys.unsupported(what));
        }
    }
    let context = keys.size("context_length")?;
    let config = ModelConfig {
        family,
        vocab: tensors.vocab,
        hidden,
        intermediate: keys.size("feed_forward_length")?,
        layers: keys.size("block_count")?,
        heads,
        kv_heads: keys.size_or_none("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        context,
        rms_eps: keys.float("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5) as f32,
        rope: RopeConfig {
            theta: keys.float("rope.freq_base")?.unwrap_or(10_000.0),
            scaling: keys.scaling(context, tensors.rope_factors)?,
        },
        tied: !tensors.has_head,
        bias: tensors.bias,
    };
    config.check().map_err(|why| keys.bad(why))?;
    Ok(config)
}

impl Keys<'_> {
    fn refuse_features(&self) -> Result<(), LoadError> {
        if self.size_or_none("expert_count")?.is_some_and(|count| count > 0) {
            return Err(self.unsupported("a mixture of experts"));
        }
        if self.size_or_none("attention.sliding_window")?.is_some_and(|window| window > 0) {
            return Err(self.unsupported("sliding-window attention"));
        }
        Ok(())
    }

    fn scaling(&self, context: usize, factors: Option<Vec<f32>>) -> Result<RopeScaling, LoadError> {
        let kind = match self.get("rope.scaling.type") {
            None => "none",
            Some(Value::String(kind)) => kind.as_str(),
            Some(_) => return Err(self.bad("rope.scaling.type is no text".to_owned())),
        };
        // An older key for linear scaling stands alone.
        let factor = match self.float("rope.scaling.factor")? {
            Some(factor) => factor,
            None => self.float("rope.scale_linear")?.unwrap_or(1.0),
        };
        match (kind, factors) {
            ("none", Some(factors)) => Ok(RopeScaling::Factors(factors)),
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
        self.size_or_none(key)?
            .ok_or_else(|| self.bad(format!("setting {}.{key} is missing", self.arch)))
    }

    fn size_or_none(&self, key: &str) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match whole_number(value) {
            Some(size) => Ok(Some(size as usize)),
            None => Err(self.bad(format!("setting {}.{key} is no number of things", self.arch))),
        }
    }

    fn float(&self, key: &str) -> Result<Option<f64>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::F32(value)) => Ok(Some(f64::from(*value))),
            Some(Value::F64(value)) => Ok(Some(*value)),
            Some(value) => match whole_number(value) {
                Some(value) => Ok(Some(value as f64)),
                None => Err(self.bad(format!("setting {}.{key} is no number", self.arch))),
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

/// A value of any whole-number type that is not negative.
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
