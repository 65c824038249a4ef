//! Rotary position embeddings, always computed in f32: which angle each position has. Turning the
//! heads by it is candle's `rope_thd`.

use candle_core::{DType, Device, Result, Tensor};

use super::config::{RopeConfig, RopeScaling};

/// Angles of rotary positions.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    /// Radians per position, one per pair of dimensions.
    frequencies: Vec<f32>,
    /// Scales cos and sin (YaRN).
    magnitude: f32,
}

/// Cosines and sines of some positions, each f32 of shape [positions, head_dim / 2].
pub(crate) struct Angles {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    pub(crate) fn new(config: &RopeConfig, head_dim: usize) -> Self {
        let frequencies = frequencies(config, head_dim);
        let magnitude = match &config.scaling {
            RopeScaling::Yarn { attention_factor, .. } => *attention_factor as f32,
            _ => 1.0,
        };
        Rope { frequencies, magnitude }
    }

    /// The angles of these positions. Nothing is kept: a few hundred sines a forward pass cost less
    /// than tables over the whole context hold.
    pub(crate) fn angles(&self, positions: &[usize], device: &Device) -> Result<Angles> {
        let half = self.frequencies.len();
        let mut cos = Vec::with_capacity(positions.len() * half);
        let mut sin = Vec::with_capacity(positions.len() * half);
        for position in positions {
            for frequency in &self.frequencies {
                // In f32, as the models were trained: the product's rounding is part of the model.
                let (s, c) = (frequency * *position as f32).sin_cos();
                cos.push(c * self.magnitude);
                sin.push(s * self.magnitude);
            }
        }
        let shape = (positions.len(), half);
        Ok(Angles {
            cos: Tensor::from_vec(cos, shape, device)?,
            sin: Tensor::from_vec(sin, shape, device)?,
        })
    }
}

impl Angles {
    /// Turns heads [tokens, heads, head_dim] by their positions' angles; same shape and dtype.
    pub(crate) fn apply(&self, heads: &Tensor) -> Result<Tensor> {
        let dtype = heads.dtype();
        let turned = candle_nn::rotary_emb::rope_thd(
            &heads.to_dtype(DType::F32)?.unsqueeze(0)?,
            &self.cos,
            &self.sin,
        )?;
        turned.squeeze(0)?.to_dtype(dtype)
    }
}

/// Radians per position for each pair of dimensions.
fn frequencies(config: &RopeConfig, head_dim: usize) -> Vec<f32> {
    let plain: Vec<f64> = (0..head_dim / 2)
        .map(|pair| config.theta.powf(-((2 * pair) as f64) / head_dim as f64))
        .collect();
    let scaled: Vec<f64> = match &config.scaling {
        RopeScaling::None => plain,
        RopeScaling::Linear { factor } => plain.iter().map(|f| f / factor).collect(),
        RopeScaling::Factors(factors) => {
            plain.iter().zip(factors).map(|(f, factor)| f / f64::from(*factor)).collect()
        }
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            plain
                .iter()
                .map(|f| {
                    let turns = original_context * f / std::f64::consts::TAU;
                    let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    blend(*f, *factor, kept)
                })
                .collect()
        }
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, truncate, .. } => {
            let dimension = |turns: f64| {
                head_dim as f64 * (original_context / (turns * std::f64::consts::TAU)).ln()
                    / (2.0 * config.theta.ln())
            };
            let (mut low, mut high) = (dimension(*beta_fast), dimension(*beta_slow));
            if *truncate {
                (low, high) = (low.floor(), high.ceil());
            }
            let (low, mut high) = (low.max(0.0), high.min(head_dim as f64 - 1.0));
            if low == high {
                high += 0.001;
            }
            plain
                .iter()
                .enumerate()
                .map(|(pair, f)| blend(*f, *factor, 1.0 - (pair as f64 - low) / (high - low)))
                .collect()
        }
    };
    scaled.into_iter().map(|f| f as f32).collect()
}

/// Between a frequency and the frequency divided: `kept` 1 (or more) keeps it, 0 (or less) divides.
fn blend(frequency: f64, factor: f64, kept: f64) -> f64 {
    let kept = kept.clamp(0.0, 1.0);
    frequency * kept + frequency / factor * (1.0 - kept)
}
