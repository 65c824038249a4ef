//! Writes checkpoints as GGUF files, as llama.cpp's converter does.

use std::{collections::HashMap, path::Path};

use candle_core::{
    Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        gguf_file::{self, Value},
    },
};
use engine::{ModelConfig, RopeScaling};

use crate::Fixture;

/// Writes a fixture's checkpoint as a GGUF file, with its matrices in `matrices`, as llama.cpp's converter does. Writes
/// as many parts as there are paths, as llama-gguf-split does.
pub(crate) fn to_gguf<P: AsRef<Path>>(
    fixture: &Fixture,
    config: &ModelConfig,
    matrices: GgmlDType,
    paths: &[P],
) {
    let weights =
        candle_core::safetensors::load(fixture.directory.join("model.safetensors"), &Device::Cpu)
            .unwrap();
    let family = gguf_family(config);
    let mut tensors: Vec<(String, QTensor)> = Vec::new();
    for (name, tensor) in with_stacked_experts(weights, config) {
        let alternates = matches!(family, "llama" | "smollm3");
        let tensor = match family {
            _ if alternates && name.contains("q_proj") => alternate(&tensor, config.heads),
            _ if alternates && name.contains("k_proj") => alternate(&tensor, config.kv_heads),
            "gemma3" if name.contains("norm") => (tensor + 1.0).unwrap(),
            _ => tensor,
        };
        let dtype = if tensor.rank() >= 2 { matrices } else { GgmlDType::F32 };
        tensors.push((gguf_name(family, &name), QTensor::quantize(&tensor, dtype).unwrap()));
    }
    let factors = match &config.rope.scaling {
        RopeScaling::Llama3 { .. } => Some(("rope_freqs.weight", llama3_factors(config))),
        RopeScaling::Factors { factors, .. } => Some(("rope_factors_long.weight", factors.clone())),
        _ => None,
    };
    if let Some((name, factors)) = factors {
        let factors = Tensor::new(factors, &Device::Cpu).unwrap();
        let factors = QTensor::quantize(&factors, GgmlDType::F32).unwrap();
        tensors.push((name.to_owned(), factors));
    }
    let mut metadata = gguf_metadata(config);
    let pieces = tensors.chunks(tensors.len().div_ceil(paths.len()));
    for (path, piece) in paths.iter().zip(pieces) {
        metadata.insert("split.count".to_owned(), Value::U16(paths.len() as u16));
        let of_part: Vec<(&str, &Value)> =
            metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<(&str, &QTensor)> =
            piece.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut file = std::fs::File::create(path).unwrap();
        gguf_file::write(&mut file, &of_part, &tensors).unwrap();
        metadata.clear();
    }
}

/// Puts the llama family's q and k rows into the converter's order: a head's two halves alternate.
fn alternate(tensor: &Tensor, heads: usize) -> Tensor {
    let rows = tensor.dim(0).unwrap();
    let rest: usize = tensor.dims()[1..].iter().product();
    tensor
        .reshape((heads, 2, rows / heads / 2, rest))
        .and_then(|t| t.transpose(1, 2)?.contiguous()?.reshape(tensor.shape()))
        .unwrap()
}

/// Joins the matrices of a layer's experts into one tensor each, [experts, outputs, inputs].
fn with_stacked_experts(
    mut weights: HashMap<String, Tensor>,
    config: &ModelConfig,
) -> HashMap<String, Tensor> {
    let count = config.experts.map_or(0, |experts| experts.count);
    for layer in 0..config.layers.len() {
        for (block, part, stacked) in [
            ("mlp", "gate_proj", "gate"),
            ("mlp", "up_proj", "up"),
            ("mlp", "down_proj", "down"),
            ("block_sparse_moe", "w1", "gate"),
            ("block_sparse_moe", "w3", "up"),
            ("block_sparse_moe", "w2", "down"),
        ] {
            let of =
                |expert| format!("model.layers.{layer}.{block}.experts.{expert}.{part}.weight");
            let all: Vec<Tensor> = (0..count).map_while(|it| weights.remove(&of(it))).collect();
            if !all.is_empty() {
                let name = format!("model.layers.{layer}.ffn_{stacked}_exps.weight");
                weights.insert(name, Tensor::stack(&all, 0).unwrap());
            }
        }
    }
    weights
}

/// Returns the converter's name for a family.
fn gguf_family(config: &ModelConfig) -> &'static str {
    match config.architecture.name {
        "mixtral" => "llama",
        name => name,
    }
}

fn gguf_name(family: &str, name: &str) -> String {
    let of_family: &[(&str, &str)] = match family {
        "gemma3" => &[
            ("post_attention_layernorm", "post_attention_norm"),
            ("pre_feedforward_layernorm", "ffn_norm"),
            ("post_feedforward_layernorm", "post_ffw_norm"),
        ],
        "olmo2" => &[
            ("post_attention_layernorm", "post_attention_norm"),
            ("post_feedforward_layernorm", "post_ffw_norm"),
        ],
        "glm4" => &[
            ("post_self_attn_layernorm", "post_attention_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("post_mlp_layernorm", "post_ffw_norm"),
        ],
        _ => &[("post_attention_layernorm", "ffn_norm")],
    };
    let renames = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.qkv_proj", "attn_qkv"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("mlp.gate_up_proj", "ffn_up"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("mlp.gate.", "ffn_gate_inp."),
        ("block_sparse_moe.gate.", "ffn_gate_inp."),
    ];
    let renames = of_family.iter().chain(&renames);
    renames.fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

fn gguf_metadata(config: &ModelConfig) -> HashMap<String, Value> {
    let arch = gguf_family(config);
    let number = |n: usize| Value::U32(n as u32);
    let mut metadata =
        HashMap::from([("general.architecture".to_owned(), Value::String(arch.to_owned()))]);
    let mut set = |key: &str, value| metadata.insert(format!("{arch}.{key}"), value);
    for (key, value) in [
        ("block_count", number(config.layers.len())),
        ("context_length", number(config.context)),
        ("embedding_length", number(config.hidden)),
        ("feed_forward_length", number(config.intermediate)),
        ("attention.head_count", number(config.heads)),
        ("attention.head_count_kv", number(config.kv_heads)),
        ("attention.key_length", number(config.head_dim)),
        ("attention.layer_norm_rms_epsilon", Value::F32(config.rms_eps)),
        ("rope.freq_base", Value::F32(config.rope.theta as f32)),
        ("rope.dimension_count", number(config.rotary_dim)),
    ] {
        set(key, value);
    }
    if let Some(window) = config.layers.iter().find_map(|layer| layer.window) {
        set("attention.sliding_window", number(window));
        let every = config.layers.iter().position(|layer| layer.window.is_none());
        set("attention.sliding_window_pattern", number(every.map_or(1, |layer| layer + 1)));
    }
    if let Some(experts) = config.experts {
        set("expert_count", number(experts.count));
        set("expert_used_count", number(experts.used));
        if arch != "llama" {
            set("expert_feed_forward_length", number(experts.intermediate));
        }
    }
    let text = |text: &str| Value::String(text.to_owned());
    match config.rope.scaling {
        RopeScaling::Linear { factor } => {
            set("rope.scaling.type", text("linear"));
            set("rope.scaling.factor", Value::F32(factor as f32));
        }
        RopeScaling::Yarn { factor, original_context, .. } => {
            set("rope.scaling.type", text("yarn"));
            set("rope.scaling.factor", Value::F32(factor as f32));
            set("rope.scaling.original_context_length", number(original_context as usize));
        }
        RopeScaling::Factors { attention_factor, .. } => {
            set("rope.scaling.attn_factor", Value::F32(attention_factor as f32));
        }
        _ => {}
    }
    metadata
}

/// Returns the converter's `rope_freqs`: how much each frequency of a Llama 3 is divided by.
fn llama3_factors(config: &ModelConfig) -> Vec<f32> {
    let RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } =
        config.rope.scaling
    else {
        return Vec::new();
    };
    (0..config.head_dim / 2)
        .map(|pair| {
            let frequency = config.rope.theta.powf(-2.0 * pair as f64 / config.head_dim as f64);
            let wavelength = std::f64::consts::TAU / frequency;
            if wavelength < original_context / high_freq_factor {
                1.0
            } else if wavelength > original_context / low_freq_factor {
                factor as f32
            } else {
                let smooth = (original_context / wavelength - low_freq_factor)
                    / (high_freq_factor - low_freq_factor);
                (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
            }
        })
        .collect()
}
