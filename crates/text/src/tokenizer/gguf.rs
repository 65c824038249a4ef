//! Builds a tokenizer from the metadata of a GGUF file: byte-level BPE, or one over a SentencePiece vocabulary.
//!
//! For byte-level BPE, a GGUF file has the tokens, their types and the merges, but only names the rules that cut text
//! before the merges ([`super::pre_tokenizer`]). For SentencePiece it has scores instead of merges
//! ([`super::sentence_pieces`]). The metadata is described in
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use tokenizers::{
    AddedToken, NormalizerWrapper,
    models::bpe::{BPE, Vocab},
    normalizers::unicode::NFC,
    pre_tokenizers::byte_level::ByteLevel,
    processors::template::TemplateProcessing,
};

use super::{
    pre_tokenizer::Rules,
    sentence_pieces::{self, Piece},
};
use crate::{
    error::{TokenizerError, first_line},
    metadata::{GgufMetadata, GgufValue, boolean, text, token_id},
};

const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";

/// Token types as GGUF numbers them.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;

fn unsupported(what: String) -> TokenizerError {
    TokenizerError::Unsupported { origin: "the GGUF file".to_owned(), what: first_line(&what) }
}

/// Builds the tokenizer that encodes prompts. The note says what its file leaves open.
pub(super) fn build(
    metadata: &GgufMetadata,
) -> Result<(tokenizers::Tokenizer, Option<String>), TokenizerError> {
    let tokens = strings(metadata, TOKENS)?;
    let types = token_types(metadata, tokens.len())?;
    let (mut tokenizer, adds_bos, note) = match text(metadata, "tokenizer.ggml.model") {
        Some("gpt2") => byte_level(metadata, &tokens, &types)?,
        Some("llama") => (of_pieces(metadata, &tokens, &types)?, true, None),
        Some(other) => return Err(unsupported(format!("it is of kind {other:?}"))),
        None => return Err(missing("tokenizer.ggml.model")),
    };
    let added = tokens.iter().zip(&types).filter_map(|(token, &kind)| {
        let special = kind == CONTROL;
        (special || kind == USER_DEFINED)
            .then(|| AddedToken::from(*token, special).normalized(false))
    });
    tokenizer.add_tokens(added).map_err(|error| metadata_error(TYPES, error.to_string()))?;
    let add_bos = boolean(metadata, "tokenizer.ggml.add_bos_token").unwrap_or(adds_bos);
    if add_bos && let Some(bos) = token_id(metadata, BOS) {
        let token = tokens.get(bos as usize).ok_or_else(|| {
            metadata_error(BOS, format!("{bos}, beyond the {} tokens", tokens.len()))
        })?;
        put_before_raw_prompts(&mut tokenizer, token, bos)?;
    }
    Ok((tokenizer, note))
}

/// Builds byte-level BPE. Also returns whether a begin-of-text token goes before a raw prompt if the file does not say.
fn byte_level(
    metadata: &GgufMetadata,
    tokens: &[&str],
    types: &[i64],
) -> Result<(tokenizers::Tokenizer, bool, Option<String>), TokenizerError> {
    let (name, note) = Rules::name(metadata, tokens);
    let rules =
        Rules::named(name).ok_or_else(|| unsupported(format!("its pre-tokenizer is {name:?}")))?;
    let model = BPE::builder()
        .vocab_and_merges(vocabulary(tokens, types), merges(metadata)?)
        .ignore_merges(rules.ignore_merges)
        .build()
        .map_err(|error| metadata_error(MERGES, error.to_string()))?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    if rules.compose {
        tokenizer
            .with_normalizer(Some(NormalizerWrapper::NFC(NFC)))
            .map_err(|error| unsupported(error.to_string()))?;
    }
    tokenizer.with_pre_tokenizer(Some(rules.pre_tokenizer().map_err(unsupported)?));
    tokenizer.with_decoder(Some(ByteLevel::new(false, false, false)));
    Ok((tokenizer, rules.add_bos, note))
}

/// Builds a tokenizer over a SentencePiece vocabulary.
fn of_pieces(
    metadata: &GgufMetadata,
    tokens: &[&str],
    types: &[i64],
) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let scores = scores(metadata, tokens.len())?;
    let pieces = tokens.iter().zip(types).zip(scores);
    let pieces = pieces.map(|((&text, &kind), score)| Piece {
        text,
        score,
        is_text: kind == NORMAL || kind == USER_DEFINED,
    });
    let unknown = types.iter().position(|kind| *kind == UNKNOWN);
    let named = token_id(metadata, "tokenizer.ggml.unknown_token_id").map(|id| id as usize);
    let unknown = unknown.or(named).and_then(|id| tokens.get(id));
    let adds_space = boolean(metadata, "tokenizer.ggml.add_space_prefix").unwrap_or(true);
    sentence_pieces::tokenizer(&pieces.collect::<Vec<_>>(), unknown.copied(), adds_space)
        .map_err(|why| metadata_error(SCORES, why))
}

fn put_before_raw_prompts(
    tokenizer: &mut tokenizers::Tokenizer,
    token: &str,
    id: u32,
) -> Result<(), TokenizerError> {
    let processor = serde_json::from_value::<TemplateProcessing>(serde_json::json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
    }))
    .map_err(|error| metadata_error(BOS, error.to_string()))?;
    tokenizer.with_post_processor(Some(processor));
    Ok(())
}

/// Returns the tokens with their ids. Rows that only pad the matrix are left out.
fn vocabulary(tokens: &[&str], types: &[i64]) -> Vocab {
    let used = tokens.iter().zip(types).zip(0u32..).filter(|((_, kind), _)| **kind != UNUSED);
    used.map(|((token, _), id)| ((*token).to_owned(), id)).collect()
}

fn merges(metadata: &GgufMetadata) -> Result<Vec<(String, String)>, TokenizerError> {
    let pair = |merge: &str| {
        let (a, b) = merge.split_once(' ')?;
        Some((a.to_owned(), b.to_owned()))
    };
    let pairs = strings(metadata, MERGES)?.into_iter().map(|merge| {
        pair(merge).ok_or_else(|| metadata_error(MERGES, format!("damaged at {merge:?}")))
    });
    pairs.collect()
}

fn scores(metadata: &GgufMetadata, tokens: usize) -> Result<Vec<f64>, TokenizerError> {
    let Some(GgufValue::Array(values)) = metadata.get(SCORES) else { return Err(missing(SCORES)) };
    if values.len() != tokens {
        let why = format!("{} entries long but there are {tokens} tokens", values.len());
        return Err(metadata_error(SCORES, why));
    }
    let number = |value: &GgufValue| match value {
        GgufValue::Float(score) => Ok(*score),
        _ => Err(metadata_error(SCORES, "not a list of numbers".to_owned())),
    };
    values.iter().map(number).collect()
}

fn token_types(metadata: &GgufMetadata, tokens: usize) -> Result<Vec<i64>, TokenizerError> {
    let Some(GgufValue::Array(values)) = metadata.get(TYPES) else { return Err(missing(TYPES)) };
    if values.len() != tokens {
        let why = format!("{} entries long but there are {tokens} tokens", values.len());
        return Err(metadata_error(TYPES, why));
    }
    let integer = |value: &GgufValue| match value {
        GgufValue::Integer(kind) => Ok(*kind),
        _ => Err(metadata_error(TYPES, "not a list of integers".to_owned())),
    };
    values.iter().map(integer).collect()
}

fn strings<'a>(
    metadata: &'a GgufMetadata,
    key: &'static str,
) -> Result<Vec<&'a str>, TokenizerError> {
    let Some(GgufValue::Array(values)) = metadata.get(key) else { return Err(missing(key)) };
    let string = |value: &'a GgufValue| match value {
        GgufValue::String(text) => Ok(text.as_str()),
        _ => Err(metadata_error(key, "not a list of strings".to_owned())),
    };
    values.iter().map(string).collect()
}

fn missing(key: &'static str) -> TokenizerError {
    metadata_error(key, "missing".to_owned())
}

fn metadata_error(key: &'static str, why: String) -> TokenizerError {
    TokenizerError::Metadata { key, why: first_line(&why) }
}
