//! The parts and sizes of a model, in one form for all kinds of files, and their checks. `source` reads how each kind
//! of file spells them.

use super::architecture::{Architecture, HeadNorms};

/// Sizes and settings of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub architecture: &'static Architecture,
    /// Rows of the embedding, which may be more than the tokenizer has tokens.
    pub vocab: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width inside the MLP, if it is not a mixture of experts.
    pub intermediate: usize,
    /// What each layer attends to, one entry per layer.
    pub layers: Vec<LayerSpan>,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// How many dimensions of a head are rotated by its position; the rest stay as they are.
    pub rotary_dim: usize,
    /// What the products of queries and keys are multiplied by.
    pub attention_scale: f32,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Added under the root of every RMS norm.
    pub rms_eps: f32,
    /// Rotary positions.
    pub rope: RopeConfig,
    /// Rotary positions of layers that attend to a window only, if theirs differ.
    pub window_rope: Option<RopeConfig>,
    /// The mixture of experts, if the family has one.
    pub experts: Option<ExpertsConfig>,
    /// Whether the embedding is also the output head.
    pub tied: bool,
    /// Which linear layers have biases.
    pub bias: Biases,
}

/// What a layer attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSpan {
    /// The last N positions, including its own; `None` for all.
    pub window: Option<usize>,
    /// Whether queries and keys are rotated by their positions.
    pub turns: bool,
    /// Whether its MLP is a mixture of experts.
    pub has_experts: bool,
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpertsConfig {
    /// How many experts there are.
    pub count: usize,
    /// How many experts compute a token.
    pub used: usize,
    /// Width inside one expert.
    pub intermediate: usize,
    /// Whether the weights of the chosen experts are scaled to add up to one.
    pub normalised: bool,
}

/// Which linear layers have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Biases {
    /// Queries, keys and values.
    pub qkv: bool,
    /// The attention's output.
    pub output: bool,
    /// The three layers of the MLP.
    pub mlp: bool,
}

/// Sizes of an attention layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// What the products of queries and keys are multiplied by.
    pub(crate) scale: f32,
}

/// Rotary positions.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Base of the geometric series of wavelengths.
    pub theta: f64,
    /// How the series is stretched for longer contexts.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are changed for contexts longer than that of the first training.
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
    /// Each frequency divided by its own factor; one per pair of dimensions.
    Factors {
        /// The factors.
        factors: Vec<f32>,
        /// Scales cos and sin.
        attention_factor: f64,
    },
}

/// A size beyond these means a damaged file.
const MAX_SIZE: usize = 1 << 24;
const MAX_LAYERS: usize = 1 << 10;
const MAX_EXPERTS: usize = 1 << 12;

/// Checks a number of layers, before anything is made for each of them.
pub(crate) fn check_layers(count: usize) -> Result<(), String> {
    match count {
        1..=MAX_LAYERS => Ok(()),
        _ => Err(format!("number of layers is {count}, outside 1..={MAX_LAYERS}")),
    }
}

impl ModelConfig {
    /// Returns the widths of the norms of queries and keys, if the family has them.
    pub(crate) fn head_norms(&self) -> Option<(usize, usize)> {
        match self.architecture.head_norms {
            HeadNorms::None => None,
            HeadNorms::Each => Some((self.head_dim, self.head_dim)),
            HeadNorms::Whole => Some((self.q_width(), self.kv_width())),
        }
    }

    /// Returns the sizes of its attention.
    pub(crate) fn heads(&self) -> Heads {
        let ModelConfig { heads, kv_heads, head_dim, attention_scale: scale, .. } = *self;
        Heads { heads, kv_heads, head_dim, scale }
    }

    /// Returns the width of all query heads together.
    pub(crate) fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Returns the width of all key (or value) heads together.
    pub(crate) fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Checks that the sizes fit together. The error names the setting.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut sizes = vec![
            ("vocabulary", self.vocab),
            ("hidden size", self.hidden),
            ("number of heads", self.heads),
            ("number of key-value heads", self.kv_heads),
            ("head size", self.head_dim),
            ("context length", self.context),
        ];
        match &self.experts {
            None => sizes.push(("intermediate size", self.intermediate)),
            Some(experts) => sizes.extend([
                ("number of experts", experts.count),
                ("number of experts for a token", experts.used),
                ("intermediate size of an expert", experts.intermediate),
            ]),
        }
        for (what, size) in sizes {
            if size == 0 || size > MAX_SIZE {
                return Err(format!("{what} is {size}, outside 1..={MAX_SIZE}"));
            }
        }
        check_layers(self.layers.len())?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!(
                "{} heads cannot be shared by {} key-value heads",
                self.heads, self.kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) || self.q_width() > MAX_SIZE {
            return Err(format!("head size {} is odd or too large", self.head_dim));
        }
        let turned = self.rotary_dim;
        if turned == 0 || !turned.is_multiple_of(2) || turned > self.head_dim {
            return Err(format!("{turned} of {} dimensions of a head are rotated", self.head_dim));
        }
        if let Some(experts) =
            self.experts.filter(|it| it.count > MAX_EXPERTS || it.used > it.count)
        {
            return Err(format!("{} of {} experts compute a token", experts.used, experts.count));
        }
        if self.layers.iter().any(|layer| layer.window == Some(0)) {
            return Err("a layer attends to a window of 0 positions".to_owned());
        }
        if !(self.rms_eps > 0.0 && self.rms_eps < 1.0) {
            return Err(format!("RMS norm epsilon is {}", self.rms_eps));
        }
        if !(self.attention_scale > 0.0 && self.attention_scale.is_finite()) {
            return Err(format!("the scale of attention is {}", self.attention_scale));
        }
        self.rope.check(turned)?;
        self.window_rope.as_ref().map_or(Ok(()), |rope| rope.check(turned))
    }
}

impl RopeConfig {
    fn check(&self, turned: usize) -> Result<(), String> {
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
                    "high_freq_factor minus low_freq_factor",
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
            RopeScaling::Factors { factors, attention_factor } => {
                if factors.len() != turned / 2 {
                    let count = factors.len();
                    return Err(format!("{count} RoPE factors for {turned} dimensions of a head"));
                }
                positive("attention factor", *attention_factor)?;
                factors.iter().try_for_each(|factor| positive("factor", f64::from(*factor)))
            }
        }
    }
}
