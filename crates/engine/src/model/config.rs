//! What a model is made of, however its files spell it. Reading those spellings is the work of `source`;
//! here stand the common form and its checks.

use strum::{EnumString, IntoStaticStr};

/// A family of decoders, read from the name model files use. All are pre-norm transformers with rotary
/// positions and gated MLPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Family {
    /// Llama 2 and 3, SmolLM2, R1-Distill-Llama, ...
    Llama,
    /// Qwen2, Qwen2.5, QwQ, R1-Distill-Qwen: biases on q, k and v.
    Qwen2,
    /// Qwen3: RMS norms on the heads of q and k.
    Qwen3,
}

impl Family {
    /// The name model files use.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Sizes and settings of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub family: Family,
    /// Rows of the embedding, which may be more than the tokenizer has tokens.
    pub vocab: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width inside the MLP.
    pub intermediate: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Added under the root of every RMS norm.
    pub rms_eps: f32,
    /// Rotary positions.
    pub rope: RopeConfig,
    /// Whether the embedding is the output head too.
    pub tied: bool,
    /// Which linear layers have biases.
    pub bias: Biases,
}

/// Which linear layers have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Biases {
    /// Queries, keys and values.
    pub qkv: bool,
    /// The attention's output.
    pub output: bool,
    /// The three of the MLP.
    pub mlp: bool,
}

/// Sizes of an attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

/// Rotary positions.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Base of the geometric series of wavelengths.
    pub theta: f64,
    /// How the series is stretched for longer contexts.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are changed for contexts longer than the first training's.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Llama 3: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        /// Divides the low frequencies.
        factor: f64,
        /// Wavelengths above the original context divided by this are low.
        low_freq_factor: f64,
        /// Wavelengths below the original context divided by this are high.
        high_freq_factor: f64,
        /// Context of the first training in tokens.
        original_context: f64,
    },
    /// YaRN (arXiv 2309.00071).
    Yarn {
        /// Divides the low frequencies.
        factor: f64,
        /// Context of the first training in tokens.
        original_context: f64,
        /// Rotations over the original context above which a frequency is kept.
        beta_fast: f64,
        /// Rotations over the original context below which a frequency is divided.
        beta_slow: f64,
        /// Scales cos and sin.
        attention_factor: f64,
        /// Whether the ramp's ends are whole dimensions.
        truncate: bool,
    },
    /// Each frequency divided by its own factor, as GGUF files carry them; one per half head.
    Factors(Vec<f32>),
}

/// Sizes beyond these are damage, not models.
const MAX_SIZE: usize = 1 << 24;
const MAX_LAYERS: usize = 1 << 10;

impl ModelConfig {
    /// Whether the heads of q and k are normalised.
    pub(crate) fn qk_norm(&self) -> bool {
        self.family == Family::Qwen3
    }

    /// The sizes of its attention.
    pub(crate) fn heads(&self) -> Heads {
        let ModelConfig { heads, kv_heads, head_dim, .. } = *self;
        Heads { heads, kv_heads, head_dim }
    }

    /// Width of all query heads together.
    pub(crate) fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub(crate) fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Checks that the sizes go together. The error names the setting.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sizes = [
            ("vocabulary", self.vocab),
            ("hidden size", self.hidden),
            ("intermediate size", self.intermediate),
            ("number of heads", self.heads),
            ("number of key-value heads", self.kv_heads),
            ("head size", self.head_dim),
            ("context length", self.context),
        ];
        for (what, size) in sizes {
            if size == 0 || size > MAX_SIZE {
                return Err(format!("{what} is {size}, outside 1..={MAX_SIZE}"));
            }
        }
        if self.layers == 0 || self.layers > MAX_LAYERS {
            return Err(format!("number of layers is {}, outside 1..={MAX_LAYERS}", self.layers));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!(
                "{} heads cannot be shared by {} key-value heads",
                self.heads, self.kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) || self.q_width() > MAX_SIZE {
            return Err(format!("head size {} is odd or too large", self.head_dim));
        }
        if !(self.rms_eps > 0.0 && self.rms_eps < 1.0) {
            return Err(format!("RMS norm epsilon is {}", self.rms_eps));
        }
        self.rope.check(self.head_dim)
    }
}

impl RopeConfig {
    fn check(&self, head_dim: usize) -> Result<(), String> {
        if !(self.theta.is_finite() && self.theta > 1.0) {
            return Err(format!("RoPE base is {}", self.theta));
        }
        let positive = |what: &str, value: f64| {
            if value.is_finite() && value > 0.0 {
                Ok(())
            } else {
                Err(format!("RoPE scaling: {what} is {value}"))
            }
        };
        match &self.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => positive("factor", *factor),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                positive("factor", *factor)?;
                positive("low_freq_factor", *low_freq_factor)?;
                positive(
                    "high_freq_factor less low_freq_factor",
                    high_freq_factor - low_freq_factor,
                )?;
                positive("original context", *original_context)
            }
            RopeScaling::Yarn {
                factor,
                original_context,
                beta_fast,
                beta_slow,
                attention_factor,
                ..
            } => {
                positive("factor", *factor)?;
                positive("original context", *original_context)?;
                positive("beta_fast", *beta_fast)?;
                positive("beta_slow", *beta_slow)?;
                positive("attention factor", *attention_factor)
            }
            RopeScaling::Factors(factors) => {
                if factors.len() != head_dim / 2 {
                    return Err(format!("{} RoPE factors for heads of {head_dim}", factors.len()));
                }
                factors.iter().try_for_each(|factor| positive("factor", f64::from(*factor)))
            }
        }
    }
}
