//! Are products of quantised weights right? A small random model in every format, compared with the same on the CPU.

use candle_core::{Device, quantized::GgmlDType};
use engine::{ModelLocation, WantedLogits};
use serde_json::json;

use crate::{
    common::{Outcome, load, pass, relative, say, verdict},
    shape::Shape,
};

const FORMATS: [GgmlDType; 11] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
    GgmlDType::F16,
];

/// Tokens of the passes, one after the other: candle has one kernel for up to 8 rows and another for more.
const ROWS: [usize; 6] = [64, 33, 9, 8, 5, 1];

pub(crate) fn check(device: &Device) -> Outcome {
    let shape = Shape {
        model_type: "qwen2".to_owned(),
        hidden_size: 512,
        intermediate_size: 1024,
        num_hidden_layers: 2,
        num_attention_heads: 8,
        num_key_value_heads: 2,
        head_dim: None,
        vocab_size: 512,
        max_position_embeddings: 512,
        rope_theta: 10_000.0,
        tie_word_embeddings: true,
    };
    let mut failed = 0;
    for format in FORMATS {
        failed += check_format(&shape, format, device)?;
    }
    verdict(failed)
}

/// Returns how many of the passes give wrong logits.
fn check_format(shape: &Shape, format: GgmlDType, device: &Device) -> Outcome<usize> {
    let file = shape.random_gguf(&|_, _| format)?;
    let location = ModelLocation::Path(file.path().to_owned());
    let ours = load(&location, None, device)?.decoder;
    let reference = load(&location, None, &Device::Cpu)?.decoder;
    let (mut our_cache, mut reference_cache) = (ours.new_cache(), reference.new_cache());
    let (mut at, mut failed) = (0, 0);
    for rows in ROWS {
        let part: Vec<u32> = (at..at + rows).map(|number| (number * 37 % 512) as u32).collect();
        at += rows;
        let got = pass(&*ours, &mut *our_cache, &part, WantedLogits::All)?;
        let expected = pass(&*reference, &mut *reference_cache, &part, WantedLogits::All)?;
        let apart = relative(&got, &expected);
        // Both quantise activations to eight bits, the CPU those for K formats by 256 and the GPU all by 32.
        let right = apart < 0.05;
        failed += usize::from(!right);
        let name = format!("{format:?}");
        say("quants", json!({ "format": name, "rows": rows, "relative": apart, "right": right }));
    }
    Ok(failed)
}
