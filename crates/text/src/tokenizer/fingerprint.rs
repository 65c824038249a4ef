//! A short name for a tokenizer's behaviour.
//!
//! It is made from the vocabulary, the merges and the ids of a probe text, so that the same tokenizer gets the same
//! name whether it was read from tokenizer.json or from a GGUF file, which store it quite differently.

use std::hash::Hasher;

use fnv::FnvHasher;

use crate::error::{TokenizerError, first_line};

use super::encode::encode;

/// Covers what pre-tokenizers and normalizers differ in: contractions, digits, cases, punctuation, runs of white space,
/// combining marks in both orders, scripts, code.
const PROBE: &str = "I'll I'LL we've 1234567 3.14 x=y+1; //\t\tfoo_bar(BazQux)  two   spaces\n\n\n \n\
    é e\u{301} \u{3a9} 数学 かな 한국어 🙂👍🏽 \u{200b}\u{a0}½²…—“q” ½ Ǆ ﬁ <b>";

/// Returns the name, from the tokenizers for prompts and for committed text: FNV-1a, 64 bits, in hexadecimal.
pub(super) fn of(
    prompt: &tokenizers::Tokenizer,
    committed: &tokenizers::Tokenizer,
) -> Result<String, TokenizerError> {
    let mut hash = FnvHasher::default();
    let mut vocabulary: Vec<(u32, String)> =
        prompt.get_vocab(true).into_iter().map(|(token, id)| (id, token)).collect();
    vocabulary.sort_unstable();
    for (id, token) in &vocabulary {
        hash.write(format!("{id}\u{1}{token}\u{2}").as_bytes());
    }
    let model = serde_json::to_value(prompt.get_model())
        .map_err(|error| TokenizerError::Encode(first_line(&error.to_string())))?;
    if let Some(merges) = model.get("merges") {
        hash.write(merges.to_string().as_bytes());
    }
    for tokenizer in [prompt, committed] {
        hash.write(format!("{:?}", encode(tokenizer, PROBE, false)?.get_ids()).as_bytes());
    }
    Ok(format!("{:016x}", hash.finish()))
}
