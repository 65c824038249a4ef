//! Are the logits right? Those that Hugging Face transformers gave for a text, computed here in each type and with the
//! text cut into passes in several ways.

use std::{
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, safetensors};
use engine::{BatchRow, Decode, ModelLocation, WantedLogits};
use serde_json::json;

use crate::common::{Outcome, apart, half, line, load, pass, relative, say, verdict};

/// A model's folder, a text, and the logits recorded for it.
struct Recorded {
    folder: PathBuf,
    tokens: Vec<u32>,
    logits: Vec<Vec<f32>>,
}

/// Logits that were computed in one way, and what they should be.
struct Computed {
    how: String,
    logits: Vec<Vec<f32>>,
    expected: Vec<Vec<f32>>,
}

/// Checks every fixture below `root`.
pub(crate) fn check(root: &Path, device: &Device) -> Outcome {
    let mut folders: Vec<PathBuf> = fs::read_dir(root)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("logits.safetensors").is_file())
        .collect();
    folders.sort();
    if folders.is_empty() {
        return Err(format!("{} has no fixtures", root.display()).into());
    }
    let mut dtypes = vec![DType::F32, DType::F16];
    if half(device) == DType::BF16 {
        dtypes.push(DType::BF16);
    }
    let mut failed = 0;
    for folder in folders {
        let recorded = Recorded::read(folder)?;
        for dtype in &dtypes {
            failed += recorded.check(*dtype, device);
        }
    }
    verdict(failed)
}

impl Recorded {
    fn read(folder: PathBuf) -> Outcome<Self> {
        let tensors = safetensors::load(folder.join("logits.safetensors"), &Device::Cpu)?;
        let ids: Vec<i64> = tensors["input_ids"].to_vec1()?;
        let tokens = ids.iter().map(|id| *id as u32).collect();
        Ok(Recorded { folder, tokens, logits: tensors["logits"].to_vec2()? })
    }

    /// Returns how many of the ways give wrong logits.
    fn check(&self, dtype: DType, device: &Device) -> usize {
        let model = self.folder.file_name().unwrap_or_default().to_string_lossy();
        let (ways, tolerance) = match self.compute(dtype, device) {
            Ok(computed) => computed,
            Err(why) => {
                say(
                    "parity",
                    json!({
                        "model": model, "dtype": dtype.as_str(), "right": false,
                        "how": line(&why), "apart": null, "relative": null,
                    }),
                );
                return 1;
            }
        };
        let mut failed = 0;
        for Computed { how, logits, expected } in ways {
            let (apart, relative) = (apart(&logits, &expected), relative(&logits, &expected));
            let right = match dtype {
                DType::F32 => apart < 1e-3,
                _ => apart.is_finite() && relative < tolerance,
            };
            failed += usize::from(!right);
            say(
                "parity",
                json!({
                    "model": model, "dtype": dtype.as_str(), "how": how, "right": right,
                    "apart": apart, "relative": relative,
                }),
            );
        }
        failed
    }

    /// Returns the logits, computed in several ways, and how far they may be off in a type of 16 bits.
    fn compute(&self, dtype: DType, device: &Device) -> Outcome<(Vec<Computed>, f64)> {
        let location = ModelLocation::Path(self.folder.clone());
        let model = load(&location, Some(dtype), device)?;
        let decoder = &*model.decoder;
        let mut ways = Vec::new();
        for length in [self.tokens.len(), 33, 7, 1] {
            let (mut cache, mut logits) = (decoder.new_cache(), Vec::new());
            for part in self.tokens.chunks(length) {
                logits.extend(pass(decoder, &mut *cache, part, WantedLogits::All)?);
            }
            let how = format!("pieces of {length}");
            ways.push(Computed { how, logits, expected: self.logits.clone() });
        }
        ways.push(self.two_rows(decoder)?);
        let has_experts =
            model.own_decoder().is_some_and(|decoder| decoder.config().experts.is_some());
        let tolerance = match dtype {
            // Rounding may send a token to other experts.
            _ if has_experts => 0.5,
            DType::BF16 => 0.05,
            _ => 0.02,
        };
        Ok((ways, tolerance))
    }

    /// Computes two sequences of unequal lengths in one pass, after passes without logits.
    fn two_rows(&self, decoder: &dyn Decode) -> Outcome<Computed> {
        let Recorded { tokens, logits: recorded, .. } = self;
        let (half, last) = (tokens.len() / 2, tokens.len() - 1);
        let (mut first, mut second) = (decoder.new_cache(), decoder.new_cache());
        pass(decoder, &mut *first, &tokens[..half], WantedLogits::None)?;
        pass(decoder, &mut *second, &tokens[..last], WantedLogits::None)?;
        let mut rows = [
            BatchRow { tokens: &tokens[half..], cache: &mut *first, logits: WantedLogits::All },
            BatchRow { tokens: &tokens[last..], cache: &mut *second, logits: WantedLogits::Last },
        ];
        let logits = decoder.forward(&mut rows)?.to_vec2()?;
        let mut expected = recorded[half..].to_vec();
        expected.push(recorded[last].clone());
        Ok(Computed { how: "two rows".to_owned(), logits, expected })
    }
}
