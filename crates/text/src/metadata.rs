//! The metadata of a GGUF file, as far as text needs it. No file is read here: callers convert the values of their own
//! reader.

use std::collections::HashMap;

/// The metadata of a GGUF file by key. Only `general.architecture` and keys that begin with "tokenizer." are used.
pub type GgufMetadata = HashMap<String, GgufValue>;

/// A value in the metadata of a GGUF file. The file's many widths of numbers become two kinds here.
///
/// Source: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.
#[derive(Debug, Clone, PartialEq)]
pub enum GgufValue {
    /// A string.
    String(String),
    /// A whole number of any width.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A list; in a file all its values are of one kind.
    Array(Vec<GgufValue>),
}

/// Returns a string in the metadata.
pub(crate) fn text<'a>(metadata: &'a GgufMetadata, key: &str) -> Option<&'a str> {
    match metadata.get(key)? {
        GgufValue::String(text) => Some(text),
        _ => None,
    }
}

/// Returns a token id in the metadata.
pub(crate) fn token_id(metadata: &GgufMetadata, key: &str) -> Option<u32> {
    token_ids(metadata, key).into_iter().next()
}

/// Returns token ids in the metadata: one, or a list of them.
pub(crate) fn token_ids(metadata: &GgufMetadata, key: &str) -> Vec<u32> {
    let values = match metadata.get(key) {
        Some(GgufValue::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    let id = |value: &GgufValue| match value {
        GgufValue::Integer(id) => u32::try_from(*id).ok(),
        _ => None,
    };
    values.iter().filter_map(id).collect()
}

/// Returns a boolean in the metadata.
pub(crate) fn boolean(metadata: &GgufMetadata, key: &str) -> Option<bool> {
    match metadata.get(key)? {
        GgufValue::Bool(yes) => Some(*yes),
        _ => None,
    }
}
