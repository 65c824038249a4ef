//! What a model of candle-transformers is built from: config.json in the crate's own terms, with the defaults of
//! Hugging Face transformers. What the crate's model does not compute is refused.

use std::path::Path;

use candle_transformers::models::{gemma2, starcoder2};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    error::LoadError,
    model::{config::check_layers, families::SingleFamily, source::quantised},
};

/// A size beyond this means a damaged file.
const MAX_SIZE: usize = 1 << 24;
/// The most numbers in a table of rotary positions, which the crate's models hold: as many for each position as a head
/// has.
const MAX_TURNS: usize = 1 << 26;

/// The crate's configuration of a model.
pub(super) enum CrateConfig {
    Gemma2(gemma2::Config),
    StarCoder2(starcoder2::Config),
}

/// What must be known about a model before it is built.
pub(super) struct Settings {
    pub(super) config: CrateConfig,
    pub(super) vocab: usize,
    /// The longest sequence that the crate's model computes correctly.
    pub(super) context: usize,
    /// The longest one that the model was made for.
    pub(super) full_context: usize,
    /// Numbers that are kept for a token: its keys and values in all layers.
    pub(super) kv_numbers: usize,
}

/// The settings that both families share.
#[derive(Deserialize)]
struct Shared {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    sliding_window: Option<usize>,
    query_pre_attn_scalar: Option<usize>,
}

impl Settings {
    /// Reads and checks a directory's configuration.
    pub(super) fn read(
        directory: &Path,
        family: SingleFamily,
        json: Value,
    ) -> Result<Self, LoadError> {
        let path = directory.join("config.json");
        let bad = |why: String| LoadError::Config { path: path.clone(), why };
        let Value::Object(given) = json else { return Err(bad("it is not an object".to_owned())) };
        let mut all = with_defaults(family, given);
        refuse_features(&path, family, &all)?;
        if let Some(theta) = all.get("rope_parameters").and_then(|rope| rope.get("rope_theta")) {
            let theta = theta.clone();
            all.insert("rope_theta".to_owned(), theta);
        }
        let shared: Shared = parse(&all).map_err(bad)?;
        let head_dim = shared.check().map_err(bad)?;
        if !shared.is_computed(family, head_dim) {
            let what = format!("{} with heads of {head_dim} numbers", family.name());
            return Err(LoadError::Unsupported { path, what });
        }
        // The crate's models attend to everything, which is right up to the length of the window.
        let full_context = shared.max_position_embeddings;
        let context = shared.sliding_window.map_or(full_context, |window| window.min(full_context));
        if context.saturating_mul(head_dim) > MAX_TURNS {
            return Err(bad(format!("{context} positions of {head_dim} numbers are too many")));
        }
        all.insert("max_position_embeddings".to_owned(), context.into());
        all.insert("sliding_window".to_owned(), Value::Null);
        let config = match family {
            SingleFamily::Gemma2 => parse(&all).map(CrateConfig::Gemma2),
            SingleFamily::StarCoder2 => parse(&all).map(CrateConfig::StarCoder2),
        };
        Ok(Settings {
            config: config.map_err(bad)?,
            vocab: shared.vocab_size,
            context,
            full_context,
            kv_numbers: 2 * shared.num_hidden_layers * shared.num_key_value_heads * head_dim,
        })
    }

    /// Returns a line on what is less than the model was made for, if anything is.
    pub(super) fn note(&self, family: SingleFamily) -> Option<String> {
        let Settings { context, full_context, .. } = self;
        (context < full_context).then(|| {
            format!(
                "the context is {context} tokens of {full_context}: models of the family {} are computed up to the \
                 length of their window",
                family.name()
            )
        })
    }
}

impl Shared {
    /// Checks that the sizes fit together; the error names the setting. Returns the width of a head.
    fn check(&self) -> Result<usize, String> {
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        for (what, size) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", heads),
            ("num_key_value_heads", kv_heads),
            ("max_position_embeddings", self.max_position_embeddings),
            ("sliding_window", self.sliding_window.unwrap_or(1)),
            ("head_dim", self.head_dim.unwrap_or(2)),
        ] {
            if !(1..=MAX_SIZE).contains(&size) {
                return Err(format!("{what} is {size}, outside 1..={MAX_SIZE}"));
            }
        }
        check_layers(self.num_hidden_layers)?;
        if !heads.is_multiple_of(kv_heads) {
            return Err(format!("{heads} heads cannot be shared by {kv_heads} key-value heads"));
        }
        let head_dim = self.head_dim.unwrap_or(self.hidden_size / heads);
        match head_dim > 0 && head_dim.is_multiple_of(2) {
            true => Ok(head_dim),
            false => Err(format!("head size {head_dim} is odd or zero")),
        }
    }

    /// Returns whether the crate's model computes heads of this width with these settings.
    fn is_computed(&self, family: SingleFamily, head_dim: usize) -> bool {
        match family {
            // It has no attention scale other than the root of a head's width.
            SingleFamily::Gemma2 => self.query_pre_attn_scalar == Some(head_dim),
            SingleFamily::StarCoder2 => head_dim * self.num_attention_heads == self.hidden_size,
        }
    }
}

/// Returns a file's settings, with defaults for those that it leaves out or sets to null.
fn with_defaults(family: SingleFamily, given: Map<String, Value>) -> Map<String, Value> {
    let defaults = match family {
        SingleFamily::Gemma2 => json!({
            "num_key_value_heads": 4,
            "head_dim": 256,
            "hidden_activation": "gelu_pytorch_tanh",
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10_000.0,
            "attention_bias": false,
            "query_pre_attn_scalar": 256,
            "sliding_window": 4096,
            "final_logit_softcapping": 30.0,
            "attn_logit_softcapping": 50.0,
        }),
        SingleFamily::StarCoder2 => json!({
            "num_key_value_heads": 2,
            "hidden_act": "gelu_pytorch_tanh",
            "max_position_embeddings": 4096,
            "norm_epsilon": 1e-5,
            "rope_theta": 10_000.0,
            "use_bias": true,
        }),
    };
    let mut all = match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    };
    // For these, null means that there is none, not that the default applies.
    let is_optional = |key: &str| key.ends_with("_softcapping") || matches!(key, "sliding_window");
    let given = given.into_iter().filter(|(key, value)| !value.is_null() || is_optional(key));
    all.extend(given);
    all
}

/// Refuses what the crate's model does not compute.
fn refuse_features(
    path: &Path,
    family: SingleFamily,
    all: &Map<String, Value>,
) -> Result<(), LoadError> {
    let unsupported = |what: String| Err(LoadError::Unsupported { path: path.to_owned(), what });
    if let Some(Value::Object(quantisation)) = all.get("quantization_config") {
        return Err(quantised(path, quantisation, "its checkpoint in bf16, f16 or f32"));
    }
    if all.get("tie_word_embeddings") == Some(&Value::Bool(false)) {
        return unsupported(format!("{} with an output head of its own", family.name()));
    }
    for key in ["rope_parameters", "rope_scaling"] {
        let rope = all.get(key).and_then(Value::as_object);
        let kind = rope.and_then(|rope| rope.get("rope_type").or_else(|| rope.get("type")));
        if let Some(kind) = kind.filter(|kind| *kind != "default") {
            return unsupported(format!("{} with RoPE scaling {kind}", family.name()));
        }
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(all: &Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(all.clone())).map_err(|error| error.to_string())
}
