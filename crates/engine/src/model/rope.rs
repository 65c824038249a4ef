//! Rotary position embeddings, always computed in f32: the angles of each position. candle's `rope_thd` rotates the
//! heads by them.

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

/// Cosines and sines of some positions, each f32 of shape [positions, pairs of dimensions].
pub(crate) struct Angles {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// Makes one for heads with `turned` rotated dimensions.
    pub(crate) fn new(config: &RopeConfig, turned: usize) -> Self {
        let frequencies = frequencies(config, turned);
        let magnitude = match &config.scaling {
            RopeScaling::Yarn { attention_factor, .. }
            | RopeScaling::Factors { attention_factor, .. } => *attention_factor as f32,
            _ => 1.0,
        };
        Rope { frequencies, magnitude }
    }

    /// Returns the angles of these positions. They are not kept: a few hundred sines in a forward pass cost less than
    /// tables over the whole context take.
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
    /// Returns the cosines and the sines.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only fused kernels read them"))]
    pub(crate) fn tensors(&self) -> (&Tensor, &Tensor) {
        (&self.cos, &self.sin)
    }

    /// Rotates heads [tokens, heads, head_dim] by their positions' angles, in the first dimensions if not in all. Keeps
    /// shape and dtype.
    pub(crate) fn apply(&self, heads: &Tensor) -> Result<Tensor> {
        let (turned, width) = (2 * self.cos.dim(1)?, heads.dim(2)?);
        if turned == width {
            return self.turn(heads);
        }
        let first = self.turn(&heads.narrow(2, 0, turned)?.contiguous()?)?;
        Tensor::cat(&[&first, &heads.narrow(2, turned, width - turned)?], 2)
    }

    fn turn(&self, heads: &Tensor) -> Result<Tensor> {
        let dtype = heads.dtype();
        let turned = candle_nn::rotary_emb::rope_thd(
            &heads.to_dtype(DType::F32)?.unsqueeze(0)?,
            &self.cos,
            &self.sin,
        )?;
        turned.squeeze(0)?.to_dtype(dtype)
    }
}

/// Returns the radians per position for each pair of dimensions, in the arithmetic of the reference: f32 throughout. A
/// frequency that is off by its last bit rotates a head by 0.002 radians at position 32,767.
fn frequencies(config: &RopeConfig, turned: usize) -> Vec<f32> {
    let theta = config.theta as f32;
    let powers = (0..turned / 2).map(|pair| theta.powf((2 * pair) as f32 / turned as f32));
    let plain = powers.clone().map(f32::recip);
    match &config.scaling {
        RopeScaling::None => plain.collect(),
        RopeScaling::Linear { factor } => plain.map(|f| f / *factor as f32).collect(),
        RopeScaling::Factors { factors, .. } => plain.zip(factors).map(|(f, by)| f / by).collect(),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let [factor, low, high, original] =
                [factor, low_freq_factor, high_freq_factor, original_context].map(|x| *x as f32);
            let scaled = |f: f32| {
                let wavelength = std::f32::consts::TAU / f;
                if wavelength < original / high {
                    return f;
                }
                if wavelength > original / low {
                    return f / factor;
                }
                let kept = (original / wavelength - low) / (high - low);
                (1.0 - kept) * (f / factor) + kept * f
            };
            plain.map(scaled).collect()
        }
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, truncate, .. } => {
            // In the reference the ramp's ends are 64-bit numbers, and what is computed from them is f32.
            let dimension = |turns: f64| {
                turned as f64 * (original_context / (turns * std::f64::consts::TAU)).ln()
                    / (2.0 * config.theta.ln())
            };
            let (mut low, mut high) = (dimension(*beta_fast), dimension(*beta_slow));
            if *truncate {
                (low, high) = (low.floor(), high.ceil());
            }
            let (low, mut high) = (low.max(0.0), high.min(turned as f64 - 1.0));
            if low == high {
                high += 0.001;
            }
            let (low, width) = (low as f32, (high - low) as f32);
            let scaled = |(pair, power): (usize, f32)| {
                let ramp = ((pair as f32 - low) / width).clamp(0.0, 1.0);
                let kept = 1.0 - ramp;
                (*factor as f32 * power).recip() * (1.0 - kept) + power.recip() * kept
            };
            powers.enumerate().map(scaled).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde::Deserialize;

    use super::*;

    /// tests/fixtures/rope.json: what transformers computes.
    #[derive(Deserialize)]
    struct Fixture {
        head_dim: usize,
        positions: Vec<usize>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        theta: f64,
        /// [positions, head_dim / 2].
        cos: Vec<Vec<f32>>,
        sin: Vec<Vec<f32>>,
    }

    fn scaling(name: &str) -> RopeScaling {
        match name {
            "linear" => RopeScaling::Linear { factor: 4.0 },
            "llama3" => RopeScaling::Llama3 {
                factor: 8.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_context: 8192.0,
            },
            "yarn" => RopeScaling::Yarn {
                factor: 4.0,
                original_context: 32768.0,
                beta_fast: 32.0,
                beta_slow: 1.0,
                attention_factor: 0.1 * 4f64.ln() + 1.0,
                truncate: true,
            },
            _ => RopeScaling::None,
        }
    }

    #[test]
    fn far_positions_turn_as_in_transformers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/rope.json");
        let text = std::fs::read_to_string(Path::new(path)).unwrap();
        let Fixture { head_dim, positions, cases } = serde_json::from_str(&text).unwrap();
        for Case { name, theta, cos, sin } in cases {
            let rope = Rope::new(&RopeConfig { theta, scaling: scaling(&name) }, head_dim);
            let angles = rope.angles(&positions, &Device::Cpu).unwrap();
            let ours = [angles.cos, angles.sin].map(|all| all.to_vec2::<f32>().unwrap());
            for (ours, theirs) in ours.iter().zip([cos, sin]) {
                for ((position, ours), theirs) in positions.iter().zip(ours).zip(theirs) {
                    let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
                    let most = apart.fold(0f32, f32::max);
                    // One frequency in 64 may still be off by its last bit: platforms round powers differently.
                    assert!(most < 1e-5, "{name} at {position}: {most}");
                }
            }
        }
    }
}
