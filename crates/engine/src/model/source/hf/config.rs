//! A decoder's configuration from a Hugging Face directory's config.json. Settings that are left out have the values
//! that the `transformers` library gives them. [`rope`] reads the settings of RoPE.

mod rope;

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{TOKENIZER, checkpoint::refuse_lfs_pointer};
use crate::{
    error::LoadError,
    model::{
        architecture::{Activation, Architecture, BiasRule, WindowRule},
        config::{Biases, ExpertsConfig, LayerSpan, ModelConfig, check_layers},
        families,
    },
};

const CONFIG: &str = "config.json";

/// The settings of config.json that matter here.
#[derive(Debug, Deserialize)]
struct Raw {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    original_max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    #[serde(alias = "hidden_activation")]
    hidden_act: Option<String>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    rope_theta: Option<f64>,
    rope_local_base_freq: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    /// transformers 5: theta and scaling in one map, or one such map for each kind of layer.
    rope_parameters: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    query_pre_attn_scalar: Option<f64>,
    use_sliding_window: Option<bool>,
    /// `null` differs from a missing setting.
    #[serde(default, deserialize_with = "present")]
    sliding_window: Option<Option<usize>>,
    sliding_window_pattern: Option<usize>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    no_rope_layers: Option<Vec<usize>>,
    no_rope_layer_interval: Option<usize>,
    num_experts: Option<usize>,
    num_local_experts: Option<usize>,
    num_experts_per_tok: Option<usize>,
    moe_intermediate_size: Option<usize>,
    norm_topk_prob: Option<bool>,
    decoder_sparse_step: Option<usize>,
    #[serde(default)]
    mlp_only_layers: Vec<usize>,
    attn_logit_softcapping: Option<f64>,
    final_logit_softcapping: Option<f64>,
    quantization_config: Option<Map<String, Value>>,
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads the config.json of a directory.
pub(crate) fn config_json(directory: &Path) -> Result<Value, LoadError> {
    let path = directory.join(CONFIG);
    if !path.is_file() {
        return Err(LoadError::NotFound {
            path: directory.to_owned(),
            why: "the directory has no config.json".to_owned(),
        });
    }
    for name in [CONFIG, TOKENIZER] {
        refuse_lfs_pointer(&directory.join(name))?;
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|source| LoadError::Read { path: path.clone(), source })?;
    serde_json::from_str(&text)
        .map_err(|error| LoadError::Config { path, why: format!("it is not JSON: {error}") })
}

/// Returns the class and the `model_type` that a config.json names.
pub(crate) fn family_names(json: &Value) -> (Option<&str>, Option<&str>) {
    (json["architectures"][0].as_str(), json["model_type"].as_str())
}

/// Reads and checks a directory's configuration for our own decoder.
pub(crate) fn read(directory: &Path, mut json: Value) -> Result<ModelConfig, LoadError> {
    let path = directory.join(CONFIG);
    let bad = |why: String| LoadError::Config { path: path.clone(), why };
    let architecture = architecture(&path, &mut json)?;
    let raw: Raw = serde_json::from_value(json).map_err(|error| bad(error.to_string()))?;
    let reader = Reader { path: &path, architecture, raw: &raw };
    reader.refuse_features()?;
    let config = reader.config()?;
    config.check().map_err(bad)?;
    Ok(config)
}

/// Returns the family. It is read before anything else, since other architectures have other settings. Of a vision
/// model, only the part that writes text is left in `json`.
fn architecture(path: &Path, json: &mut Value) -> Result<&'static Architecture, LoadError> {
    let (class, model_type) = family_names(json);
    let found = class.or(model_type).unwrap_or("(none)").to_owned();
    let sees = matches!(class, Some("Gemma3ForConditionalGeneration"));
    let part = sees.then(|| json["text_config"].take()).filter(Value::is_object);
    let architecture = match &part {
        Some(part) => Architecture::of_config(None, part["model_type"].as_str()),
        None => {
            let (class, model_type) = family_names(json);
            Architecture::of_config(class, model_type)
        }
    };
    if let Some(part) = part {
        *json = part;
    }
    architecture.ok_or_else(|| families::unknown(path, &found, &families::names()))
}

/// Returns the error for weights with such a setting, with what to use instead.
pub(crate) fn quantised(path: &Path, setting: &Map<String, Value>, instead: &str) -> LoadError {
    let method = setting.get("quant_method").and_then(Value::as_str);
    LoadError::Quantisation {
        path: path.to_owned(),
        what: format!("safetensors quantised by {:?}", method.unwrap_or("an unnamed method")),
        instead: instead.to_owned(),
    }
}

/// What is known while a configuration is read.
struct Reader<'a> {
    path: &'a Path,
    architecture: &'static Architecture,
    raw: &'a Raw,
}

impl Reader<'_> {
    fn refuse_features(&self) -> Result<(), LoadError> {
        let raw = self.raw;
        let experts = raw.num_experts.or(raw.num_local_experts);
        if self.architecture.experts.is_none() && experts.is_some_and(|count| count > 0) {
            return Err(self.unsupported("a mixture of experts"));
        }
        let (expected, name) = match self.architecture.activation {
            Activation::Silu => (["silu", "swish"], "SiLU"),
            Activation::Gelu => (["gelu_pytorch_tanh", "gelu_new"], "GELU by its tanh form"),
        };
        if raw.hidden_act.as_deref().is_some_and(|act| !expected.contains(&act)) {
            return Err(self.unsupported(&format!("an activation other than {name}")));
        }
        if raw.attn_logit_softcapping.or(raw.final_logit_softcapping).is_some() {
            return Err(self.unsupported("capping of logits"));
        }
        match &raw.quantization_config {
            Some(quantisation) => {
                let instead = "a GGUF file of the model, or its checkpoint in bf16, f16 or f32";
                Err(quantised(self.path, quantisation, instead))
            }
            None => Ok(()),
        }
    }

    fn config(&self) -> Result<ModelConfig, LoadError> {
        let Reader { architecture, raw, .. } = *self;
        let defaults = &architecture.defaults;
        let heads = raw.num_attention_heads;
        let width = || raw.hidden_size.checked_div(heads).unwrap_or(0);
        let head_dim = raw.head_dim.or(defaults.head_dim).unwrap_or_else(width);
        let context = raw.max_position_embeddings.unwrap_or(defaults.context);
        let part = self.rotary_part();
        let biases = architecture.biases;
        let has = |rule: BiasRule, setting: Option<bool>| match rule {
            BiasRule::Never => false,
            BiasRule::Always => true,
            BiasRule::Setting(default) => setting.unwrap_or(default),
        };
        let squared = raw.query_pre_attn_scalar.unwrap_or(head_dim as f64);
        Ok(ModelConfig {
            architecture,
            vocab: raw.vocab_size,
            hidden: raw.hidden_size,
            intermediate: raw.intermediate_size,
            layers: self.layers()?,
            heads,
            kv_heads: raw.num_key_value_heads.or(defaults.kv_heads).unwrap_or(heads),
            head_dim,
            rotary_dim: (head_dim as f64 * part) as usize,
            attention_scale: (squared as f32).sqrt().recip(),
            context,
            rms_eps: raw.rms_norm_eps.unwrap_or(defaults.rms_eps) as f32,
            rope: self.rope(context)?,
            window_rope: self.window_rope(context)?,
            experts: self.experts()?,
            tied: raw.tie_word_embeddings.unwrap_or(defaults.tied),
            bias: Biases {
                qkv: has(biases.qkv, raw.attention_bias),
                output: has(biases.output, raw.attention_bias),
                mlp: has(biases.mlp, raw.mlp_bias),
            },
        })
    }

    /// Returns what each layer attends to.
    fn layers(&self) -> Result<Vec<LayerSpan>, LoadError> {
        let raw = self.raw;
        let turns = |layer: usize| match (&raw.no_rope_layers, self.architecture.plain_every) {
            (_, None) => true,
            (Some(turns), Some(_)) => turns.get(layer) != Some(&0),
            (None, Some(every)) => {
                let every = raw.no_rope_layer_interval.unwrap_or(every);
                !(layer + 1).is_multiple_of(every)
            }
        };
        let sparse = raw.decoder_sparse_step.unwrap_or(1);
        let has_experts = |layer: usize| {
            self.architecture.experts.is_some()
                && (layer + 1).is_multiple_of(sparse)
                && !raw.mlp_only_layers.contains(&layer)
        };
        check_layers(raw.num_hidden_layers).map_err(|why| self.bad(&why))?;
        let span = |layer| {
            let (turns, has_experts) = (turns(layer), has_experts(layer));
            Ok(LayerSpan { window: self.window(layer)?, turns, has_experts })
        };
        (0..raw.num_hidden_layers).map(span).collect()
    }

    /// Returns the window that a layer attends to.
    fn window(&self, layer: usize) -> Result<Option<usize>, LoadError> {
        let raw = self.raw;
        let given = |default: Option<usize>| raw.sliding_window.unwrap_or(default);
        let default = match self.architecture.windows {
            WindowRule::All(default) => default,
            _ => None,
        };
        if let Some(types) = &raw.layer_types {
            return match types.get(layer).map(String::as_str) {
                Some("full_attention") => Ok(None),
                Some("sliding_attention") => match given(default.or(Some(4096))) {
                    Some(window) => Ok(Some(window)),
                    None => Err(self.bad("a windowed layer has no \"sliding_window\"")),
                },
                Some(other) => Err(self.unsupported(&format!("a layer of type {other:?}"))),
                None => Err(self.bad("\"layer_types\" has fewer entries than there are layers")),
            };
        }
        Ok(match self.architecture.windows {
            WindowRule::None => None,
            WindowRule::All(default) => given(default),
            WindowRule::FromLayer => {
                let from = raw.max_window_layers.unwrap_or(28);
                given(Some(4096)).filter(|_| raw.use_sliding_window == Some(true) && layer >= from)
            }
            WindowRule::AllButEvery(every) => {
                let every = raw.sliding_window_pattern.unwrap_or(every);
                given(Some(4096)).filter(|_| !(layer + 1).is_multiple_of(every))
            }
        })
    }

    fn experts(&self) -> Result<Option<ExpertsConfig>, LoadError> {
        let Some(rules) = self.architecture.experts else { return Ok(None) };
        let raw = self.raw;
        // Where experts have no width of their own, they are as wide as another model's only MLP.
        let intermediate = raw.moe_intermediate_size;
        let intermediate = intermediate.or(raw.num_local_experts.and(Some(raw.intermediate_size)));
        let need = |what: &str, size: Option<usize>| {
            size.ok_or_else(|| self.bad(&format!("setting {what:?} is missing")))
        };
        Ok(Some(ExpertsConfig {
            count: need("num_experts", raw.num_experts.or(raw.num_local_experts))?,
            used: need("num_experts_per_tok", raw.num_experts_per_tok)?,
            intermediate: need("moe_intermediate_size", intermediate)?,
            normalised: rules.always_normalises || raw.norm_topk_prob.unwrap_or(false),
        }))
    }

    fn bad(&self, why: &str) -> LoadError {
        LoadError::Config { path: self.path.to_owned(), why: why.to_owned() }
    }

    fn unsupported(&self, what: &str) -> LoadError {
        LoadError::Unsupported { path: self.path.to_owned(), what: what.to_owned() }
    }
}
