//! A model's verdict on a token of a text, from the probabilities that a server reports. Pure.

use text::Tokenizer;

/// What is reported for the token at one position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenOdds {
    /// Its log-probability, in nats at temperature 1.
    pub(crate) log_p: f32,
    /// The likeliest tokens there with their log-probabilities, the likeliest first.
    pub(crate) likeliest: Vec<(u32, f32)>,
    /// How many tokens are more likely, if reported.
    pub(crate) rank: Option<u32>,
}

/// The conclusion from the reported odds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// By how much the likeliest token is more likely, in nats.
    pub(crate) gap: f32,
    /// How many tokens are more likely, of those reported.
    pub(crate) rank: u32,
    /// The log-probability of the token in the text, in nats.
    pub(crate) log_p: f32,
    /// The likeliest token that can be written, or an end of text.
    pub(crate) best: u32,
}

impl TokenOdds {
    /// Judges the token. `is_end`: the token ends the answer, and any other token that ends it counts as equal. Returns
    /// `None` if a reported value is not a number.
    pub(crate) fn verdict(&self, tokenizer: &Tokenizer, is_end: bool) -> Option<Verdict> {
        let ends = |id: u32| tokenizer.is_end_of_text(id);
        let mut told = self.likeliest.iter().map(|(_, log_p)| *log_p).chain([self.log_p]);
        if told.any(f32::is_nan) {
            return None;
        }
        let other_ends = self.likeliest.iter().filter(|(id, _)| is_end && ends(*id));
        let log_p = other_ends.map(|(_, log_p)| *log_p).fold(self.log_p, f32::max).min(0.0);
        let can_be_written = |id: u32| ends(id) || !tokenizer.piece(id).is_empty();
        let best = self.likeliest.iter().find(|(id, _)| can_be_written(*id));
        // None of the reported tokens could be written there.
        let Some(&(best, best_log_p)) = best else {
            return Some(Verdict { gap: 0.0, rank: 0, log_p, best: 0 });
        };
        let told = self.likeliest.iter().filter(|(_, other)| *other > log_p).count() as u32;
        let rank = self.rank.unwrap_or(told);
        Some(Verdict { gap: (best_log_p - log_p).max(0.0), rank, log_p, best })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use text::{GgufMetadata, GgufValue};

    use super::*;

    /// Two letters, a control token and two tokens that end the text.
    fn tokenizer() -> Tokenizer {
        let string = |text: &str| GgufValue::String(text.to_owned());
        let tokens = ["a", "b", "<s>", "</s>", "<eot>"].map(string);
        let types = [1, 1, 3, 3, 3].map(GgufValue::Integer);
        let metadata = GgufMetadata::from([
            ("tokenizer.ggml.model".to_owned(), string("gpt2")),
            ("tokenizer.ggml.tokens".to_owned(), GgufValue::Array(tokens.into())),
            ("tokenizer.ggml.token_type".to_owned(), GgufValue::Array(types.into())),
            ("tokenizer.ggml.merges".to_owned(), GgufValue::Array(Vec::new())),
            ("tokenizer.ggml.eos_token_id".to_owned(), GgufValue::Integer(3)),
            ("tokenizer.ggml.eot_token_id".to_owned(), GgufValue::Integer(4)),
        ]);
        Tokenizer::from_gguf(&metadata).unwrap()
    }

    #[test]
    fn a_gap_is_that_to_the_likeliest_token_that_can_be_written() {
        let tokenizer = tokenizer();
        let odds = |log_p, likeliest: &[(u32, f32)], rank| TokenOdds {
            log_p,
            likeliest: likeliest.to_vec(),
            rank,
        };
        // A control token is likeliest, and counts only as more likely.
        let told = odds(-4.0, &[(2, -0.25), (1, -1.0)], None).verdict(&tokenizer, false);
        assert_eq!(told, Some(Verdict { gap: 3.0, rank: 2, log_p: -4.0, best: 1 }));
        let told = odds(-4.0, &[(3, -0.5)], Some(9)).verdict(&tokenizer, false).unwrap();
        assert_eq!((told.gap, told.rank, told.best), (3.5, 9, 3));
        // Any token that ends the text is an end.
        let ends = odds(-4.0, &[(1, -1.0), (4, -1.5)], None);
        assert_eq!(ends.verdict(&tokenizer, true).unwrap().gap, 0.5);
        assert_eq!(ends.verdict(&tokenizer, false).unwrap().gap, 3.0);
        // None of the reported tokens could be written there.
        assert_eq!(odds(-4.0, &[(2, -0.25)], None).verdict(&tokenizer, false).unwrap().gap, 0.0);
        assert_eq!(odds(f32::NAN, &[(1, -1.0)], None).verdict(&tokenizer, false), None);
        assert_eq!(odds(-1.0, &[(1, f32::NAN)], None).verdict(&tokenizer, false), None);
    }
}
