//! The names of weight formats in GGUF files, and what to use instead of those that cannot be computed with.

use candle_core::quantized::GgmlDType;

/// The formats that can be computed with.
pub(super) const ALL_FORMATS: &str = "Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, f32, f16 or bf16";

/// Describes a tensor whose format candle does not read, by its number in ggml's `ggml_type`, and names what to use
/// instead: the format of about the same size.
pub(super) fn missing_format(number: &str) -> (String, String) {
    let (name, instead) = match number {
        "16" => ("IQ2_XXS", "Q2_K"),
        "17" => ("IQ2_XS", "Q2_K"),
        "22" => ("IQ2_S", "Q2_K"),
        "19" => ("IQ1_S", "Q2_K"),
        "29" => ("IQ1_M", "Q2_K"),
        "18" => ("IQ3_XXS", "Q3_K_S"),
        "21" => ("IQ3_S", "Q3_K_M"),
        "20" => ("IQ4_NL", "Q4_K_S"),
        "23" => ("IQ4_XS", "Q4_K_S"),
        "34" => ("TQ1_0", "Q2_K"),
        "35" => ("TQ2_0", "Q2_K"),
        "39" => ("MXFP4", "Q4_K_M"),
        "40" => ("NVFP4", "Q4_K_M"),
        _ => return (format!("a tensor of GGML type {number}"), ALL_FORMATS.to_owned()),
    };
    let what = format!("a tensor in {name}, which candle has no kernels for");
    (what, format!("a file of the model in {instead}"))
}

/// Returns the common name of a format.
pub(super) fn type_name(dtype: GgmlDType) -> String {
    match dtype {
        GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16 => {
            format!("{dtype:?}").to_ascii_lowercase()
        }
        GgmlDType::Q2K => "Q2_K".to_owned(),
        GgmlDType::Q3K => "Q3_K".to_owned(),
        GgmlDType::Q4K => "Q4_K".to_owned(),
        GgmlDType::Q5K => "Q5_K".to_owned(),
        GgmlDType::Q6K => "Q6_K".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Returns the name of one of llama.cpp's `llama_ftype`.
pub(super) fn file_type_name(number: u64) -> Option<&'static str> {
    Some(match number {
        0 => "f32",
        1 => "f16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        21 => "Q2_K_S",
        32 => "bf16",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A format that candle learns to read must no longer be refused here.
    #[test]
    fn formats_that_are_missing_are_named_and_those_that_are_not_are_not() {
        for (number, name) in [("23", "IQ4_XS"), ("39", "MXFP4"), ("16", "IQ2_XXS")] {
            let (what, instead) = missing_format(number);
            assert!(what.contains(name) && instead.contains("_K"), "{what} {instead}");
        }
        assert_eq!(missing_format("77").0, "a tensor of GGML type 77");
    }
}
