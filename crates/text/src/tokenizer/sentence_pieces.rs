//! A SentencePiece vocabulary (Kudo and Richardson 2018, arXiv 1808.06226) from the metadata of a GGUF file, as byte
//! pair encoding.
//!
//! The file has scores instead of merges: of all neighbours whose union is a token, those with the highest-scoring
//! union are joined first. So every way to cut a token into two tokens is a merge, in the order of the scores.

use std::collections::HashMap;

use tokenizers::{
    DecoderWrapper, NormalizerWrapper,
    decoders::{byte_fallback::ByteFallback, fuse::Fuse, sequence::Sequence as Decoders},
    models::bpe::{BPE, Vocab},
    normalizers::{Prepend, Replace, Sequence as Normalizers},
};

/// Represents a space in such vocabularies.
const SPACE: &str = "▁";

/// A token of the vocabulary.
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) score: f64,
    /// Whether text is ever encoded with it: control tokens and bytes are not text.
    pub(super) is_text: bool,
}

/// Builds the tokenizer over a vocabulary. `unknown` is the token for what no other token covers; `adds_space` puts a
/// space before every text.
///
/// # Errors
/// The error of the tokenizers library.
pub(super) fn tokenizer(
    pieces: &[Piece<'_>],
    unknown: Option<&str>,
    adds_space: bool,
) -> Result<tokenizers::Tokenizer, String> {
    let vocabulary: Vocab =
        pieces.iter().zip(0u32..).map(|(piece, id)| (piece.text.to_owned(), id)).collect();
    let mut model = BPE::builder()
        .vocab_and_merges(vocabulary, merges(pieces))
        .byte_fallback(true)
        .fuse_unk(true);
    if let Some(unknown) = unknown {
        model = model.unk_token(unknown.to_owned());
    }
    let mut tokenizer = tokenizers::Tokenizer::new(model.build().map_err(|it| it.to_string())?);
    let space = Replace::new(" ", SPACE).map_err(|error| error.to_string())?;
    let before = adds_space.then(|| NormalizerWrapper::from(Prepend::new(SPACE.to_owned())));
    let normalizers = before.into_iter().chain([space.into()]).collect();
    tokenizer
        .with_normalizer(Some(NormalizerWrapper::from(Normalizers::new(normalizers))))
        .map_err(|error| error.to_string())?;
    let space = Replace::new(SPACE, " ").map_err(|error| error.to_string())?;
    let decoders: Vec<DecoderWrapper> =
        vec![space.into(), ByteFallback::new().into(), Fuse::new().into()];
    tokenizer.with_decoder(Some(DecoderWrapper::from(Decoders::new(decoders))));
    Ok(tokenizer)
}

/// Returns which neighbours are joined, in order.
fn merges(pieces: &[Piece<'_>]) -> Vec<(String, String)> {
    let of_text = || pieces.iter().zip(0u32..).filter(|(piece, _)| piece.is_text);
    let ids: HashMap<&str, u32> = of_text().map(|(piece, id)| (piece.text, id)).collect();
    let mut found: Vec<(f64, u32, u32, u32)> = Vec::new();
    for (piece, id) in of_text() {
        for (at, _) in piece.text.char_indices().skip(1) {
            let (left, right) = piece.text.split_at(at);
            if let (Some(&left), Some(&right)) = (ids.get(left), ids.get(right)) {
                found.push((piece.score, id, left, right));
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
    let text = |id: u32| pieces[id as usize].text.to_owned();
    found.into_iter().map(|(_, _, left, right)| (text(left), text(right))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, score: f64) -> Piece<'_> {
        Piece { text, score, is_text: true }
    }

    #[test]
    fn neighbours_are_joined_by_the_score_of_what_they_make() {
        let letters = ["▁", "a", "b", "c"].map(|letter| piece(letter, -9.0));
        let joined = [piece("ab", -3.0), piece("bc", -1.0), piece("abc", -2.0), piece("▁a", -4.0)];
        let pieces: Vec<Piece<'_>> = letters.into_iter().chain(joined).collect();
        let merges = merges(&pieces);
        let merges: Vec<(&str, &str)> =
            merges.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(merges, [("b", "c"), ("a", "bc"), ("ab", "c"), ("a", "b"), ("▁", "a")]);
        let tokenizer = tokenizer(&pieces, None, true).unwrap();
        let tokens = |text| tokenizer.encode(text, false).unwrap().get_tokens().to_vec();
        assert_eq!(tokens("abc a"), ["▁", "abc", "▁a"]);
        assert_eq!(tokens("ab"), ["▁", "ab"]);
    }
}
