//! What a row of logits says about the token that follows: how much likelier the model's own favourite is.
//!
//! Probabilities are at temperature 1, without sampling rules. The difference of two log-probabilities is then the
//! difference of their logits, so nothing is exponentiated for a token that stands.

use text::Tokenizer;

/// The judgement of what stands at a place. `gap` is NaN if the logits are unusable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// By how much the likeliest token is likelier, in nats.
    pub(crate) gap: f32,
    /// What would stand there instead: the likeliest token that can be written, or an end of text.
    pub(crate) instead: u32,
    /// How many tokens are likelier; 0 if the gap is allowed.
    pub(crate) rank: u32,
    /// The log-probability in nats; 0 if the gap is allowed.
    pub(crate) log_p: f32,
}

/// Logits are searched in blocks of this many.
const BLOCK: usize = 1024;
const LANES: usize = 16;

/// Returns what these logits say about the likeliest of these tokens. Computes more than the gap only if the gap is
/// larger than `allowed`.
pub(crate) fn verdict(
    logits: &[f32],
    stands: &[u32],
    allowed: f32,
    tokenizer: &Tokenizer,
) -> Verdict {
    let logits = known(logits, tokenizer);
    let Some((best, most)) = likeliest(logits, tokenizer) else {
        return Verdict { gap: f32::NAN, instead: 0, rank: 0, log_p: f32::NAN };
    };
    let own = stands.iter().filter_map(|&id| logits.get(id as usize).copied());
    let own = own.fold(f32::NEG_INFINITY, f32::max);
    // At least 0: a token that cannot be written may stand here, and be likelier than any that can.
    let gap = (most - own).max(0.0);
    if gap <= allowed {
        return Verdict { gap, instead: best, rank: 0, log_p: 0.0 };
    }
    let rank = logits.iter().filter(|logit| **logit > own).count() as u32;
    let greatest = greatest(logits);
    let total: f64 = logits.iter().map(|logit| f64::from(logit - greatest).exp()).sum();
    let log_p = f64::from(own - greatest) - total.ln();
    Verdict { gap, instead: best, rank, log_p: log_p.min(0.0) as f32 }
}

/// Returns the likeliest token that can be written or ends the text; `None` if the logits are unusable.
pub(crate) fn best(logits: &[f32], tokenizer: &Tokenizer) -> Option<u32> {
    likeliest(known(logits, tokenizer), tokenizer).map(|(id, _)| id)
}

/// Returns the logits of the tokenizer's tokens: a model's matrix may have more rows than that.
pub(crate) fn known<'a>(logits: &'a [f32], tokenizer: &Tokenizer) -> &'a [f32] {
    &logits[..logits.len().min(tokenizer.vocabulary_size())]
}

/// Returns whether a token is text or ends it.
pub(crate) fn can_be_written(id: u32, tokenizer: &Tokenizer) -> bool {
    tokenizer.is_end_of_text(id) || !tokenizer.piece(id).is_empty()
}

/// Returns the likeliest token that can be written or ends the text, and its logit. Of equals the smallest id wins.
fn likeliest(logits: &[f32], tokenizer: &Tokenizer) -> Option<(u32, f32)> {
    let (mut best, mut most) = (None, f32::NEG_INFINITY);
    for (number, block) in logits.chunks(BLOCK).enumerate() {
        let greatest = greatest(block);
        if greatest.is_nan() {
            return None;
        }
        if greatest <= most {
            continue;
        }
        for (&logit, id) in block.iter().zip((number * BLOCK) as u32..) {
            if logit > most && can_be_written(id, tokenizer) {
                (best, most) = (Some(id), logit);
            }
        }
    }
    best.map(|id| (id, most))
}

/// Returns the greatest value; NaN if one is NaN or plus infinity. Written so that it compiles to vector instructions.
fn greatest(values: &[f32]) -> f32 {
    let (mut most, mut usable) = ([f32::NEG_INFINITY; LANES], [true; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            most[lane] = if chunk[lane] > most[lane] { chunk[lane] } else { most[lane] };
            usable[lane] &= chunk[lane] < f32::INFINITY;
        }
    }
    let are_usable = usable.into_iter().all(|it| it) && rest.iter().all(|it| *it < f32::INFINITY);
    match are_usable {
        true => most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max),
        false => f32::NAN,
    }
}

/// A tokenizer of a few letters, for tests.
#[cfg(test)]
pub(crate) mod testing {
    use text::{GgufMetadata, GgufValue, Tokenizer};

    /// Tokens of a few letters; 4 is a control token, 5 ends the text.
    pub(crate) fn tokenizer() -> Tokenizer {
        let string = |text: &str| GgufValue::String(text.to_owned());
        let tokens = ["a", "b", "Ã", "©", "<s>", "</s>"].map(string);
        let types = [1, 1, 1, 1, 3, 3].map(GgufValue::Integer);
        let metadata = GgufMetadata::from([
            ("tokenizer.ggml.model".to_owned(), string("gpt2")),
            ("tokenizer.ggml.tokens".to_owned(), GgufValue::Array(tokens.into())),
            ("tokenizer.ggml.token_type".to_owned(), GgufValue::Array(types.into())),
            ("tokenizer.ggml.merges".to_owned(), GgufValue::Array(Vec::new())),
            ("tokenizer.ggml.eos_token_id".to_owned(), GgufValue::Integer(5)),
        ]);
        Tokenizer::from_gguf(&metadata).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::tokenizer, *};

    #[test]
    fn a_gap_is_that_to_the_likeliest_token_that_can_be_written() {
        let tokenizer = tokenizer();
        // A control token is likeliest, and there is one row more than there are tokens.
        let logits = [1.0, 3.5, -2.0, 0.0, 9.0, 2.0, 50.0];
        let told = verdict(&logits, &[0], 1.0, &tokenizer);
        assert_eq!((told.gap, told.instead, told.rank), (2.5, 1, 3));
        let total: f64 = logits[..6].iter().map(|it| f64::from(*it).exp()).sum();
        assert!((f64::from(told.log_p) - (1.0 - total.ln())).abs() < 1e-6, "{told:?}");
        let stands = verdict(&logits, &[0], 2.5, &tokenizer);
        assert_eq!((stands.gap, stands.rank, stands.log_p), (2.5, 0, 0.0));
        assert_eq!(verdict(&logits, &[1], 0.0, &tokenizer).gap, 0.0);
        // Of several tokens the likeliest counts, and an end of text may be best.
        assert_eq!(verdict(&logits, &[3, 5, 2], 0.0, &tokenizer).gap, 1.5);
        assert_eq!(best(&[0.0, 1.0, 0.0, 0.0, 0.0, 2.0], &tokenizer), Some(5));
    }

    #[test]
    fn unusable_logits_are_told() {
        let tokenizer = tokenizer();
        for bad in [f32::NAN, f32::INFINITY] {
            let logits = [0.0, 1.0, bad, 0.0, 0.0, 0.0];
            assert!(verdict(&logits, &[0], 9.0, &tokenizer).gap.is_nan());
            assert_eq!(best(&logits, &tokenizer), None);
        }
        assert_eq!(best(&[f32::NEG_INFINITY; 6], &tokenizer), None);
    }

    #[test]
    fn the_greatest_value_is_found_anywhere() {
        for len in [1, 15, 16, 17, 40] {
            for at in 0..len {
                let mut values = vec![-1.0; len];
                values[at] = 2.0;
                assert_eq!(greatest(&values), 2.0);
                values[at] = f32::NAN;
                assert!(greatest(&values).is_nan());
            }
        }
    }
}
