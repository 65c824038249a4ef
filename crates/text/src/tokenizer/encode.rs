//! Encoding with the `tokenizers` crate, and the tokenizer for committed text, which is derived from the one for
//! prompts.

use tokenizers::{Model as _, OffsetType, PreTokenizer as _};

use crate::{
    error::{TokenizerError, first_line},
    letters::BREAK,
};

/// Encodes a rendered chat template. Names of control tokens with a [`BREAK`] in them are letters.
pub(super) fn encode_rendered(
    tokenizer: &tokenizers::Tokenizer,
    text: &str,
) -> Result<Vec<u32>, TokenizerError> {
    let encoded = || -> tokenizers::Result<Vec<u32>> {
        let added = tokenizer.get_added_vocabulary();
        let mut pieces = added.extract_and_normalize(tokenizer.get_normalizer(), text);
        pieces.split(|_, mut piece| {
            piece.replace(BREAK, "")?;
            Ok([piece])
        })?;
        if let Some(rules) = tokenizer.get_pre_tokenizer() {
            rules.pre_tokenize(&mut pieces)?;
        }
        pieces.tokenize(|piece| tokenizer.get_model().tokenize(piece.get()))?;
        Ok(pieces.into_encoding(None, 0, OffsetType::None)?.get_ids().to_vec())
    };
    encoded().map_err(|error| TokenizerError::Encode(first_line(&error.to_string())))
}

/// Encodes a text; `add_special` adds the tokens that the model expects before every text.
pub(super) fn encode(
    tokenizer: &tokenizers::Tokenizer,
    text: &str,
    add_special: bool,
) -> Result<tokenizers::Encoding, TokenizerError> {
    tokenizer
        .encode(text, add_special)
        .map_err(|error| TokenizerError::Encode(first_line(&error.to_string())))
}

/// Returns the same tokenizer for text that continues other text: control tokens in it are only text, and nothing is
/// added before it. The error says what is not supported.
pub(super) fn for_committed_text(
    prompt: &tokenizers::Tokenizer,
) -> Result<tokenizers::Tokenizer, String> {
    let mut committed = prompt.clone();
    committed.set_encode_special_tokens(true);
    if let Some(normalizer) = prompt.get_normalizer() {
        let changed = without_prefix(json(normalizer)?);
        let changed: Option<tokenizers::NormalizerWrapper> = from_json(changed)?;
        committed.with_normalizer(changed).map_err(|error| error.to_string())?;
    }
    if let Some(pre_tokenizer) = prompt.get_pre_tokenizer() {
        let changed: Option<tokenizers::PreTokenizerWrapper> =
            from_json(without_prefix(json(pre_tokenizer)?))?;
        committed.with_pre_tokenizer(changed);
    }
    Ok(committed)
}

fn json(part: &impl serde::Serialize) -> Result<serde_json::Value, String> {
    serde_json::to_value(part).map_err(|error| error.to_string())
}

fn from_json<T: serde::de::DeserializeOwned>(
    value: serde_json::Value,
) -> Result<Option<T>, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Removes whatever adds a space before a text from a normalizer or pre-tokenizer.
fn without_prefix(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(fields) if fields.get("type").is_some_and(|t| t == "Prepend") => Value::Null,
        Value::Object(fields) => {
            let change = |(name, value): (String, Value)| match name.as_str() {
                "add_prefix_space" => (name, Value::Bool(false)),
                "prepend_scheme" => (name, Value::from("never")),
                _ => (name, without_prefix(value)),
            };
            Value::Object(fields.into_iter().map(change).collect())
        }
        Value::Array(items) => {
            let kept = items.into_iter().map(without_prefix).filter(|item| !item.is_null());
            Value::Array(kept.collect())
        }
        other => other,
    }
}
