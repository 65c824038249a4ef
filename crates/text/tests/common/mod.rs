//! Helpers shared by these tests.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::path::PathBuf;

use text::{Detokenizer, GgufMetadata, GgufValue, Tokenizer};

/// Returns a directory under `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures")).join(name)
}

/// Makes a tokenizer from these files of a model's folder, including `tokenizer.json`.
pub(crate) fn tokenizer_of(files: &[(&str, &str)]) -> Tokenizer {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    Tokenizer::from_json(&directory.path().join("tokenizer.json")).unwrap()
}

pub(crate) fn string(text: &str) -> GgufValue {
    GgufValue::String(text.to_owned())
}

/// Makes the metadata of a GGUF file with a token for every letter of ASCII, for a space and for a line break, and with
/// these tokens and their types. The end of text is "<|endoftext|>".
pub(crate) fn gguf(more: &[(&str, i64)], template: &str) -> GgufMetadata {
    let letters = ('!'..='~').chain(['Ġ', 'Ċ']).map(|letter| (letter.to_string(), 1));
    let more = more.iter().map(|(name, kind)| ((*name).to_owned(), *kind));
    let tokens: Vec<(String, i64)> =
        letters.chain([("<|endoftext|>".to_owned(), 3)]).chain(more).collect();
    let eos = tokens.iter().position(|(name, _)| name == "<|endoftext|>").unwrap();
    let names = tokens.iter().map(|(name, _)| string(name)).collect();
    let kinds = tokens.iter().map(|(_, kind)| GgufValue::Integer(*kind)).collect();
    let values = [
        ("tokenizer.ggml.model", string("gpt2")),
        ("tokenizer.ggml.pre", string("gpt-2")),
        ("tokenizer.ggml.tokens", GgufValue::Array(names)),
        ("tokenizer.ggml.token_type", GgufValue::Array(kinds)),
        ("tokenizer.ggml.merges", GgufValue::Array(Vec::new())),
        ("tokenizer.ggml.eos_token_id", GgufValue::Integer(eos as i64)),
        ("tokenizer.chat_template", string(template)),
    ];
    values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Returns the text that tokens spell.
pub(crate) fn letters(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let (mut detokenizer, mut text) = (Detokenizer::new(), String::new());
    for &id in ids {
        detokenizer.push(tokenizer.piece(id), &mut text);
    }
    text
}

/// Returns the tokens of the prompt of these messages.
pub(crate) fn prompt(tokenizer: &Tokenizer, messages: &[(&str, &str)]) -> Vec<u32> {
    let rendered = tokenizer.template().render(messages.iter().copied()).unwrap();
    tokenizer.encode_prompt(&rendered).unwrap()
}
