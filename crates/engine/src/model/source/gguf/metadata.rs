//! Converts what a GGUF file's metadata says about its tokenizer from candle's values to those of the crate `text`,
//! which does not know candle.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use text::{GgufMetadata, GgufValue};

/// Keeps the keys that a tokenizer and a chat template are made from, and the architecture, which decides how text is
/// cut if the tokenizer does not say.
pub(super) fn of_tokenizer(metadata: HashMap<String, Value>) -> GgufMetadata {
    let is_wanted = |key: &str| key.starts_with("tokenizer.") || key == "general.architecture";
    let of_tokenizer = metadata.into_iter().filter(|(key, _)| is_wanted(key));
    of_tokenizer.map(|(key, value)| (key, converted(value))).collect()
}

fn converted(value: Value) -> GgufValue {
    match value {
        Value::U8(number) => GgufValue::Integer(number.into()),
        Value::I8(number) => GgufValue::Integer(number.into()),
        Value::U16(number) => GgufValue::Integer(number.into()),
        Value::I16(number) => GgufValue::Integer(number.into()),
        Value::U32(number) => GgufValue::Integer(number.into()),
        Value::I32(number) => GgufValue::Integer(number.into()),
        // No number about a tokenizer needs more than 63 bits.
        Value::U64(number) => {
            i64::try_from(number).map_or(GgufValue::Float(number as f64), GgufValue::Integer)
        }
        Value::I64(number) => GgufValue::Integer(number),
        Value::F32(number) => GgufValue::Float(number.into()),
        Value::F64(number) => GgufValue::Float(number),
        Value::Bool(yes) => GgufValue::Bool(yes),
        Value::String(text) => GgufValue::String(text),
        Value::Array(values) => GgufValue::Array(values.into_iter().map(converted).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_meaning_whatever_their_width() {
        let cases = [
            (Value::U8(3), GgufValue::Integer(3)),
            (Value::I32(-3), GgufValue::Integer(-3)),
            (Value::U64(7), GgufValue::Integer(7)),
            (Value::U64(1 << 63), GgufValue::Float(9_223_372_036_854_775_808.0)),
            (Value::F32(0.5), GgufValue::Float(0.5)),
            (Value::Bool(true), GgufValue::Bool(true)),
            (
                Value::Array(vec![Value::String("a".into()), Value::String("b".into())]),
                GgufValue::Array(vec![
                    GgufValue::String("a".into()),
                    GgufValue::String("b".into()),
                ]),
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(converted(value), expected);
        }
    }

    #[test]
    fn only_what_is_about_the_tokenizer_is_kept() {
        let keys = [
            "tokenizer.ggml.model",
            "tokenizer.chat_template",
            "llama.block_count",
            "general.architecture",
        ];
        let metadata = keys.map(|key| (key.to_owned(), Value::U32(1)));
        let mut kept: Vec<String> = of_tokenizer(HashMap::from(metadata)).into_keys().collect();
        kept.sort_unstable();
        assert_eq!(
            kept,
            ["general.architecture", "tokenizer.chat_template", "tokenizer.ggml.model"]
        );
    }
}
