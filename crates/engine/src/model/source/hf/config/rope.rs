//! RoPE's settings, as transformers 5 spells them (`rope_parameters`) or earlier versions do (`rope_theta`,
//! `rope_scaling` and the like).

use serde_json::{Map, Value};

use super::Reader;
use crate::{
    error::LoadError,
    model::{
        architecture::WindowRule,
        config::{RopeConfig, RopeScaling},
    },
};

/// The settings of one RoPE.
struct Settings<'a> {
    all: &'a Map<String, Value>,
    theta: f64,
    context: usize,
    /// The context of the first training, if it is set elsewhere.
    original_context: Option<usize>,
}

impl Settings<'_> {
    fn number(&self, key: &str) -> Option<f64> {
        self.all.get(key).and_then(Value::as_f64)
    }

    fn original(&self) -> f64 {
        let given = self.number("original_max_position_embeddings");
        given.unwrap_or(self.original_context.unwrap_or(self.context) as f64)
    }

    fn numbers(&self, key: &str) -> Option<Vec<f32>> {
        let all = self.all.get(key)?.as_array()?;
        all.iter().map(|number| number.as_f64().map(|number| number as f32)).collect()
    }
}

impl Reader<'_> {
    /// Returns which part of a head is rotated.
    pub(super) fn rotary_part(&self) -> f64 {
        let of_rope =
            |rope: &Map<String, Value>| rope.get("partial_rotary_factor").and_then(Value::as_f64);
        let given = self.raw.rope_parameters.as_ref().and_then(of_rope);
        let given = given.or(self.raw.partial_rotary_factor);
        given.unwrap_or(self.architecture.defaults.rotary_part)
    }

    /// Returns the rotary positions of layers that attend to everything.
    pub(super) fn rope(&self, context: usize) -> Result<RopeConfig, LoadError> {
        let (raw, empty) = (self.raw, Map::new());
        let theta = raw.rope_theta.unwrap_or(self.architecture.defaults.theta);
        let all = self.of_kind("full_attention").or(raw.rope_scaling.as_ref()).unwrap_or(&empty);
        self.read_rope(Settings {
            all,
            theta,
            context,
            original_context: raw.original_max_position_embeddings,
        })
    }

    /// Returns those of layers that attend to a window, if they differ.
    pub(super) fn window_rope(&self, context: usize) -> Result<Option<RopeConfig>, LoadError> {
        let WindowRule::AllButEvery(_) = self.architecture.windows else { return Ok(None) };
        let theta = self.raw.rope_local_base_freq.unwrap_or(10_000.0);
        let empty = Map::new();
        let all = self.of_kind("sliding_attention").unwrap_or(&empty);
        let settings = Settings { all, theta, context, original_context: None };
        self.read_rope(settings).map(Some)
    }

    /// Returns transformers 5's settings for a kind of layers, or for all.
    fn of_kind(&self, kind: &str) -> Option<&Map<String, Value>> {
        let all = self.raw.rope_parameters.as_ref()?;
        Some(all.get(kind).and_then(Value::as_object).unwrap_or(all))
    }

    fn read_rope(&self, settings: Settings<'_>) -> Result<RopeConfig, LoadError> {
        let number = |key: &str| settings.number(key);
        let theta = number("rope_theta").unwrap_or(settings.theta);
        let all = settings.all;
        let kind = all.get("rope_type").or_else(|| all.get("type")).and_then(Value::as_str);
        let missing = |key: &str| self.bad(&format!("RoPE scaling lacks {key:?}"));
        let need = |key: &str| number(key).ok_or_else(|| missing(key));
        let (original, context) = (settings.original(), settings.context as f64);
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
                let factor = number("factor").unwrap_or(context / original);
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
                    truncate: all.get("truncate").and_then(Value::as_bool).unwrap_or(true),
                }
            }
            // There are factors for short texts and for long ones: a session that may become long uses the latter.
            "longrope" | "su" => {
                let key = if context > original { "long_factor" } else { "short_factor" };
                let factor = context / original;
                RopeScaling::Factors {
                    factors: settings.numbers(key).ok_or_else(|| missing(key))?,
                    attention_factor: number("attention_factor")
                        .unwrap_or_else(|| long_magnitude(factor, original)),
                }
            }
            other => return Err(self.unsupported(&format!("RoPE scaling {other:?}"))),
        };
        Ok(RopeConfig { theta, scaling })
    }
}

/// Returns what YaRN scales cos and sin by.
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

/// Returns what LongRoPE (arXiv 2402.13753) scales cos and sin by.
fn long_magnitude(factor: f64, original: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() }
}
