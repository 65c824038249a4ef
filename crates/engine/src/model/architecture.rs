//! What distinguishes one family of decoders from another: one value for each family, and nothing about any family
//! elsewhere. All are transformers with rotary positions, RMS norms and gated feed-forward layers.
//!
//! `source` reads how a file spells sizes and settings; `decoder` uses these facts.

/// A family of decoders.
#[derive(Debug, PartialEq)]
pub struct Architecture {
    /// The name in GGUF files and in cards.
    pub name: &'static str,
    /// The class that a config.json names, and its `model_type`.
    pub(crate) class: &'static str,
    pub(crate) model_type: &'static str,
    pub(crate) norms: Norms,
    /// Whether norms in a Hugging Face checkpoint are stored as their difference from one.
    pub(crate) norms_from_one: bool,
    pub(crate) head_norms: HeadNorms,
    /// What a feed-forward layer does to its gate.
    pub(crate) activation: Activation,
    /// Whether embeddings are multiplied by the square root of their width.
    pub(crate) scales_embedding: bool,
    /// Whether files store queries, keys and values as one matrix, and gate and up as one.
    pub(crate) joins_qkv: bool,
    pub(crate) joins_gate_up: bool,
    /// Which dimensions of a head rotate as a pair, as checkpoints and GGUF files order them.
    pub(crate) hf_pairs: Pairs,
    pub(crate) gguf_pairs: Pairs,
    pub(crate) biases: BiasRules,
    pub(crate) windows: WindowRule,
    /// If set, one layer in this many has no rotary positions.
    pub(crate) plain_every: Option<usize>,
    /// How mixtures of experts are built, if the family has them.
    pub(crate) experts: Option<ExpertRules>,
    pub(crate) defaults: Defaults,
}

/// The names of a layer's norms in a Hugging Face checkpoint; `None` for those that the family does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Norms {
    pub(crate) attention: Option<&'static str>,
    pub(crate) after_attention: Option<&'static str>,
    pub(crate) mlp: Option<&'static str>,
    pub(crate) after_mlp: Option<&'static str>,
}

/// How queries and keys are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadNorms {
    None,
    /// Each head.
    Each,
    /// All heads together.
    Whole,
}

/// What a feed-forward layer does to its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Silu,
    /// GELU in its tanh approximation.
    Gelu,
}

/// Which dimensions of a head rotate as a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// One of the first half with one of the second, as all code here computes.
    Halves,
    /// Neighbours.
    Neighbours,
}

/// Which linear layers of a checkpoint have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BiasRules {
    pub(crate) qkv: BiasRule,
    pub(crate) output: BiasRule,
    pub(crate) mlp: BiasRule,
}

/// When a linear layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BiasRule {
    Never,
    Always,
    /// What the configuration says; this if it says nothing.
    Setting(bool),
}

/// Which layers attend to a window only, if the configuration does not list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowRule {
    None,
    /// All, if there is a window; this one by default.
    All(Option<usize>),
    /// From `max_window_layers` on, if `use_sliding_window` is set.
    FromLayer,
    /// All but one in this many. Layers with a window have a RoPE base of their own.
    AllButEvery(usize),
}

/// How a family's mixtures of experts are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExpertRules {
    /// The names in a Hugging Face checkpoint of a layer's mixture, and of an expert's matrices in it.
    pub(crate) block: &'static str,
    pub(crate) gate: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
    /// Whether the weights of the chosen experts always add up to one; otherwise the configuration says.
    pub(crate) always_normalises: bool,
}

/// What transformers assumes if a config.json leaves something out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Defaults {
    /// `None` for as many as query heads.
    pub(crate) kv_heads: Option<usize>,
    /// `None` for the width divided by the number of heads.
    pub(crate) head_dim: Option<usize>,
    pub(crate) context: usize,
    pub(crate) rms_eps: f64,
    pub(crate) theta: f64,
    /// Which part of a head is rotated.
    pub(crate) rotary_part: f64,
    pub(crate) tied: bool,
}

const BEFORE: Norms = Norms {
    attention: Some("input_layernorm"),
    after_attention: None,
    mlp: Some("post_attention_layernorm"),
    after_mlp: None,
};
const NO_BIASES: BiasRules =
    BiasRules { qkv: BiasRule::Never, output: BiasRule::Never, mlp: BiasRule::Never };
const ATTENTION_BIASES: BiasRules = BiasRules {
    qkv: BiasRule::Setting(false),
    output: BiasRule::Setting(false),
    mlp: BiasRule::Never,
};
const ALL_BIASES: BiasRules = BiasRules { mlp: BiasRule::Setting(false), ..ATTENTION_BIASES };

/// Llama 2 and 3, SmolLM2, R1-Distill-Llama, ... In GGUF files Mistral's models too.
const LLAMA: Architecture = Architecture {
    name: "llama",
    class: "LlamaForCausalLM",
    model_type: "llama",
    norms: BEFORE,
    norms_from_one: false,
    head_norms: HeadNorms::None,
    activation: Activation::Silu,
    scales_embedding: false,
    joins_qkv: false,
    joins_gate_up: false,
    hf_pairs: Pairs::Halves,
    gguf_pairs: Pairs::Neighbours,
    biases: ALL_BIASES,
    windows: WindowRule::None,
    plain_every: None,
    experts: None,
    defaults: Defaults {
        kv_heads: None,
        head_dim: None,
        context: 2048,
        rms_eps: 1e-6,
        theta: 10_000.0,
        rotary_part: 1.0,
        tied: false,
    },
};

/// Qwen2, Qwen2.5, QwQ, R1-Distill-Qwen: biases on q, k and v.
const QWEN2: Architecture = Architecture {
    name: "qwen2",
    class: "Qwen2ForCausalLM",
    model_type: "qwen2",
    gguf_pairs: Pairs::Halves,
    biases: BiasRules { qkv: BiasRule::Always, ..NO_BIASES },
    windows: WindowRule::FromLayer,
    defaults: Defaults { kv_heads: Some(32), context: 32_768, ..LLAMA.defaults },
    ..LLAMA
};

/// Qwen3: RMS norms on the heads of q and k.
const QWEN3: Architecture = Architecture {
    name: "qwen3",
    class: "Qwen3ForCausalLM",
    model_type: "qwen3",
    head_norms: HeadNorms::Each,
    biases: ATTENTION_BIASES,
    defaults: Defaults { head_dim: Some(128), ..QWEN2.defaults },
    ..QWEN2
};

/// Mistral 7B, Nemo, Small and the like. Most attend to everything, the first ones to a window.
const MISTRAL: Architecture = Architecture {
    name: "mistral",
    class: "MistralForCausalLM",
    model_type: "mistral",
    biases: NO_BIASES,
    windows: WindowRule::All(Some(4096)),
    defaults: Defaults { kv_heads: Some(8), context: 131_072, ..LLAMA.defaults },
    ..LLAMA
};

/// SmolLM3: every fourth layer has no rotary positions.
const SMOLLM3: Architecture = Architecture {
    name: "smollm3",
    class: "SmolLM3ForCausalLM",
    model_type: "smollm3",
    plain_every: Some(4),
    defaults: Defaults {
        kv_heads: Some(4),
        context: 32_768,
        theta: 2_000_000.0,
        tied: true,
        ..LLAMA.defaults
    },
    ..LLAMA
};

/// OLMo 2: norms after attention and MLP instead of before; q and k are each normalised over all heads together.
const OLMO2: Architecture = Architecture {
    name: "olmo2",
    class: "Olmo2ForCausalLM",
    model_type: "olmo2",
    norms: Norms {
        attention: None,
        after_attention: Some("post_attention_layernorm"),
        mlp: None,
        after_mlp: Some("post_feedforward_layernorm"),
    },
    head_norms: HeadNorms::Whole,
    gguf_pairs: Pairs::Halves,
    biases: ATTENTION_BIASES,
    defaults: Defaults { rms_eps: 1e-5, ..LLAMA.defaults },
    ..LLAMA
};

/// Phi-3, Phi-3.5, Phi-4 and Phi-4-mini: joined matrices, LongRoPE.
const PHI3: Architecture = Architecture {
    name: "phi3",
    class: "Phi3ForCausalLM",
    model_type: "phi3",
    joins_qkv: true,
    joins_gate_up: true,
    gguf_pairs: Pairs::Halves,
    biases: NO_BIASES,
    windows: WindowRule::All(None),
    defaults: Defaults { context: 4096, rms_eps: 1e-5, ..LLAMA.defaults },
    ..LLAMA
};

/// Gemma 3: norms before and after attention and MLP, GELU, and a window in five layers of six.
const GEMMA3: Architecture = Architecture {
    name: "gemma3",
    class: "Gemma3ForCausalLM",
    model_type: "gemma3_text",
    norms: Norms {
        attention: Some("input_layernorm"),
        after_attention: Some("post_attention_layernorm"),
        mlp: Some("pre_feedforward_layernorm"),
        after_mlp: Some("post_feedforward_layernorm"),
    },
    norms_from_one: true,
    head_norms: HeadNorms::Each,
    activation: Activation::Gelu,
    scales_embedding: true,
    gguf_pairs: Pairs::Halves,
    biases: ATTENTION_BIASES,
    windows: WindowRule::AllButEvery(6),
    defaults: Defaults {
        kv_heads: Some(4),
        head_dim: Some(256),
        context: 131_072,
        theta: 1_000_000.0,
        tied: true,
        ..LLAMA.defaults
    },
    ..LLAMA
};

/// GLM-4 of 2025 (GLM-4-0414, GLM-Z1): norms before and after attention and MLP; half of a head is rotated, with
/// neighbouring dimensions as pairs.
const GLM4: Architecture = Architecture {
    name: "glm4",
    class: "Glm4ForCausalLM",
    model_type: "glm4",
    norms: Norms {
        attention: Some("input_layernorm"),
        after_attention: Some("post_self_attn_layernorm"),
        mlp: Some("post_attention_layernorm"),
        after_mlp: Some("post_mlp_layernorm"),
    },
    joins_gate_up: true,
    hf_pairs: Pairs::Neighbours,
    biases: BiasRules { qkv: BiasRule::Setting(true), ..NO_BIASES },
    defaults: Defaults {
        kv_heads: Some(2),
        head_dim: Some(128),
        context: 131_072,
        rms_eps: 1.5625e-7,
        rotary_part: 0.5,
        ..LLAMA.defaults
    },
    ..LLAMA
};

/// Qwen3 as a mixture of experts: 30B-A3B, 235B-A22B.
const QWEN3_MOE: Architecture = Architecture {
    name: "qwen3moe",
    class: "Qwen3MoeForCausalLM",
    model_type: "qwen3_moe",
    experts: Some(ExpertRules {
        block: "mlp",
        gate: "gate_proj",
        up: "up_proj",
        down: "down_proj",
        always_normalises: false,
    }),
    defaults: Defaults { kv_heads: Some(4), head_dim: None, ..QWEN3.defaults },
    ..QWEN3
};

/// Mixtral: Mistral as a mixture of experts. GGUF files call it llama.
const MIXTRAL: Architecture = Architecture {
    name: "mixtral",
    class: "MixtralForCausalLM",
    model_type: "mixtral",
    windows: WindowRule::All(None),
    experts: Some(ExpertRules {
        block: "block_sparse_moe",
        gate: "w1",
        up: "w3",
        down: "w2",
        always_normalises: true,
    }),
    defaults: Defaults { rms_eps: 1e-5, theta: 1_000_000.0, ..MISTRAL.defaults },
    ..MISTRAL
};

/// Helium: Llama with neighbouring dimensions as pairs.
const HELIUM: Architecture = Architecture {
    name: "helium",
    class: "HeliumForCausalLM",
    model_type: "helium",
    hf_pairs: Pairs::Neighbours,
    biases: BiasRules {
        qkv: BiasRule::Setting(false),
        output: BiasRule::Never,
        mlp: BiasRule::Setting(false),
    },
    defaults: Defaults {
        kv_heads: Some(20),
        head_dim: Some(128),
        context: 4096,
        rms_eps: 1e-8,
        theta: 100_000.0,
        ..LLAMA.defaults
    },
    ..LLAMA
};

/// Every family.
pub(crate) const ALL: &[&Architecture] = &[
    &LLAMA, &QWEN2, &QWEN3, &QWEN3_MOE, &MISTRAL, &MIXTRAL, &SMOLLM3, &OLMO2, &PHI3, &GEMMA3,
    &GLM4, &HELIUM,
];

impl Architecture {
    /// Returns the family with this name in GGUF files.
    pub(crate) fn of_gguf(name: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|it| it.name == name)
    }

    /// Returns the family of a class that a config.json names, or else of its `model_type`.
    pub(crate) fn of_config(
        class: Option<&str>,
        model_type: Option<&str>,
    ) -> Option<&'static Self> {
        ALL.iter().copied().find(|it| match class {
            Some(class) => it.class == class,
            None => Some(it.model_type) == model_type,
        })
    }

    /// Returns the names of all families, as messages list them.
    pub(crate) fn names() -> String {
        ALL.iter().map(|it| it.name).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_found_by_each_of_its_names_and_by_no_other() {
        for it in ALL {
            assert_eq!(Architecture::of_gguf(it.name), Some(*it));
            assert_eq!(Architecture::of_config(Some(it.class), None), Some(*it));
            assert_eq!(Architecture::of_config(None, Some(it.model_type)), Some(*it));
        }
        assert_eq!(Architecture::of_config(Some("Other"), Some("llama")), None);
        assert_eq!(Architecture::of_config(None, None), None);
    }
}
