//! A decoder's configuration from a Hugging Face directory's config.json. Settings that are left out
//! have the values the `transformers` library gives them.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    error::LoadError,
    model::config::{Biases, Family, ModelConfig, RopeConfig, RopeScaling},
};

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
    rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    /// transformers 5: theta and scaling in one.
    rope_parameters: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    use_sliding_window: Option<bool>,
    sliding_window: Option<usize>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    num_experts: Option<usize>,
    num_local_experts: Option<usize>,
    quantization_config: Option<Map<String, Value>>,
}

/// Reads and checks a directory's configuration.
pub(crate) fn read(directory: &Path) -> Result<ModelConfig, LoadError> {
    let path = directory.join("config.json");
    let text = std::fs::read_to_string(&path)
        .map_err(|source| LoadError::Read { path: path.clone(), source })?;
    let bad = |why: String| LoadError::Config { path: path.clone(), why };
    let json: Value =
        serde_json::from_str(&text).map_err(|error| bad(format!("it is no JSON: {error}")))?;
    let family = family(&path, &json)?;
    let raw: Raw = serde_json::from_value(json).map_err(|error| bad(error.to_string()))?;
    refuse_features(&path, &raw)?;
    let config = config(&path, family, &raw)?;
    config.check().map_err(bad)?;
    Ok(config)
}

/// The family, read before anything else: other architectures have other settings.
fn family(path: &Path, json: &Value) -> Result<Family, LoadError> {
    let architecture = json["architectures"][0].as_str();
    let model_type = json["model_type"].as_str();
    let by_architecture = match architecture {
        None => model_type.and_then(|name| name.parse().ok()),
        Some("LlamaForCausalLM") => Some(Family::Llama),
        Some("Qwen2ForCausalLM") => Some(Family::Qwen2),
        Some("Qwen3ForCausalLM") => Some(Family::Qwen3),
        Some(_) => None,
    };
    by_architecture.ok_or_else(|| LoadError::Architecture {
        path: path.to_owned(),
        found: architecture.or(model_type).unwrap_or("(none)").to_owned(),
    })
}

fn refuse_features(path: &Path, raw: &Raw) -> Result<(), LoadError> {
    let unsupported =
        |what: &str| Err(LoadError::Unsupported { path: path.to_owned(), what: what.to_owned() });
    if raw.num_experts.or(raw.num_local_experts).is_some_and(|count| count > 0) {
        return unsupported("a mixture of experts");
    }
    if slides(raw) {
        return unsupported("sliding-window attention");
    }
    if raw.hidden_act.as_deref().is_some_and(|act| !matches!(act, "silu" | "swish")) {
        return unsupported("an activation other than SiLU");
    }
    let rotary = raw.rope_parameters.as_ref().and_then(|rope| rope.get("partial_rotary_factor"));
    let rotary = rotary.and_then(Value::as_f64).or(raw.partial_rotary_factor);
    if rotary.is_some_and(|part| part != 1.0) {
        return unsupported("rotating only a part of each head");
    }
    if let Some(quantisation) = &raw.quantization_config {
        let method = quantisation.get("quant_method").and_then(Value::as_str);
        return Err(LoadError::Quantisation {
            path: path.to_owned(),
            what: format!("safetensors quantised by {:?}", method.unwrap_or("an unnamed method")),
        });
    }
    Ok(())
}

/// Whether any layer looks at a window only.
fn slides(raw: &Raw) -> bool {
    if let Some(types) = &raw.layer_types {
        return types.iter().any(|kind| kind != "full_attention");
    }
    let from_layer = raw.max_window_layers.unwrap_or(28);
    raw.use_sliding_window == Some(true)
        && raw.sliding_window.is_some()
        && from_layer < raw.num_hidden_layers
}

fn config(path: &Path, family: Family, raw: &Raw) -> Result<ModelConfig, LoadError> {
    let heads = raw.num_attention_heads;
    let qwen_kv_heads = match family {
        Family::Llama => heads,
        Family::Qwen2 | Family::Qwen3 => 32,
    };
    let head_dim = match (raw.head_dim, family) {
        (Some(width), _) => width,
        (None, Family::Qwen3) => 128,
        (None, _) => raw.hidden_size.checked_div(heads).unwrap_or(0),
    };
    let context = raw.max_position_embeddings.unwrap_or(match family {
        Family::Llama => 2048,
        Family::Qwen2 | Family::Qwen3 => 32_768,
    });
    let attention_bias = raw.attention_bias == Some(true) && family != Family::Qwen2;
    Ok(ModelConfig {
        family,
        vocab: raw.vocab_size,
        hidden: raw.hidden_size,
        intermediate: raw.intermediate_size,
        layers: raw.num_hidden_layers,
        heads,
        kv_heads: raw.num_key_value_heads.unwrap_or(qwen_kv_heads),
        head_dim,
        context,
        rms_eps: raw.rms_norm_eps.unwrap_or(1e-6) as f32,
        rope: rope(path, raw, context)?,
        tied: raw.tie_word_embeddings.unwrap_or(false),
        bias: Biases {
            qkv: family == Family::Qwen2 || attention_bias,
            output: attention_bias,
            mlp: family == Family::Llama && raw.mlp_bias == Some(true),
        },
    })
}

/// RoPE's settings in the words of transformers 5 (`rope_parameters`) or before it (`rope_theta` and
/// `rope_scaling`).
fn rope(path: &Path, raw: &Raw, context: usize) -> Result<RopeConfig, LoadError> {
    let empty = Map::new();
    let settings = raw.rope_parameters.as_ref().or(raw.rope_scaling.as_ref()).unwrap_or(&empty);
    let number = |key: &str| settings.get(key).and_then(Value::as_f64);
    let theta = number("rope_theta").or(raw.rope_theta).unwrap_or(10_000.0);
    let kind = settings.get("rope_type").or_else(|| settings.get("type")).and_then(Value::as_str);
    let need = |key: &str| {
        number(key).ok_or_else(|| LoadError::Config {
            path: path.to_owned(),
            why: format!("RoPE scaling lacks {key:?}"),
        })
    };
    let original = number("original_max_position_embeddings").unwrap_or(context as f64);
    let scaling = match kind.unwrap_or("default") {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: need("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: need("factor")?,
            low_freq_factor: need("low_freq_factor")?,
            high_freq_factor: need("high_freq_factor")?,
            original_context: original,
        },
        "yarn" => {
            let factor = number("factor").unwrap_or(context as f64 / original);
            RopeScaling::Yarn {
                factor,
                original_context: original,
                beta_fast: number("beta_fast").unwrap_or(32.0),
                beta_slow: number("beta_slow").unwrap_or(1.0),
                attention_factor: yarn_magnitude(
                    factor,
                    number("attention_factor"),
                    number("mscale").zip(number("mscale_all_dim")),
                ),
                truncate: settings.get("truncate").and_then(Value::as_bool).unwrap_or(true),
            }
        }
        other => {
            return Err(LoadError::Unsupported {
                path: path.to_owned(),
                what: format!("RoPE scaling {other:?}"),
            });
        }
    };
    Ok(RopeConfig { theta, scaling })
}

/// What YaRN scales cos and sin by.
fn yarn_magnitude(factor: f64, given: Option<f64>, mscales: Option<(f64, f64)>) -> f64 {
    let magnitude = |scale: f64| 0.1 * scale * factor.max(1.0).ln() + 1.0;
    match (given, mscales) {
        (Some(given), _) => given,
        (None, Some((scale, all))) if scale != 0.0 && all != 0.0 => {
            magnitude(scale) / magnitude(all)
        }
        (None, _) => magnitude(1.0),
    }
}
