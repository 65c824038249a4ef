//! Token ids to text, piece by piece: no character is ever split, nothing is decoded twice.
//!
//! Parts of a character are held back until the rest comes. Bytes that can never become a character are replaced by
//! U+FFFD, exactly as decoding everything at once would. [`crate::tokenizer`] knows which bytes a token has.

/// Turns the bytes of tokens into text as they come.
#[derive(Debug, Clone, Default)]
pub struct Detokenizer {
    /// The beginning of a character; at most three bytes between calls.
    held: Vec<u8>,
}

impl Detokenizer {
    /// Makes a detokenizer at the beginning of a text.
    pub fn new() -> Self {
        Detokenizer::default()
    }

    /// Reads a token's bytes and appends the characters they complete to `text`.
    pub fn push(&mut self, piece: &[u8], text: &mut String) {
        self.held.extend_from_slice(piece);
        let mut read = 0;
        while read < self.held.len() {
            match std::str::from_utf8(&self.held[read..]) {
                Ok(rest) => {
                    text.push_str(rest);
                    read = self.held.len();
                }
                Err(error) => {
                    let valid = &self.held[read..read + error.valid_up_to()];
                    text.push_str(&String::from_utf8_lossy(valid));
                    read += error.valid_up_to();
                    // Without a length, more bytes may still complete the character.
                    let Some(broken) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    read += broken;
                }
            }
        }
        self.held.drain(..read);
    }

    /// Returns whether every byte read so far is in the text.
    pub fn is_clean(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds bytes in pieces of the given lengths, over and over.
    fn in_pieces(bytes: &[u8], lengths: &[usize]) -> (String, bool) {
        let (mut detokenizer, mut text, mut left) = (Detokenizer::new(), String::new(), bytes);
        for &length in lengths.iter().cycle() {
            if left.is_empty() {
                break;
            }
            let (piece, rest) = left.split_at(length.min(left.len()));
            detokenizer.push(piece, &mut text);
            left = rest;
        }
        (text, detokenizer.is_clean())
    }

    #[test]
    fn a_character_comes_whole() {
        let (mut detokenizer, mut text) = (Detokenizer::new(), String::new());
        for (byte, expected, clean) in
            [(0xf0, "", false), (0x9f, "", false), (0x99, "", false), (0x82, "🙂", true)]
        {
            detokenizer.push(&[byte], &mut text);
            assert_eq!((text.as_str(), detokenizer.is_clean()), (expected, clean));
        }
    }

    #[test]
    fn broken_bytes_are_replaced_as_in_one_go() {
        let broken = [b'a', 0xff, 0xe6, 0x95, b'b', 0xf0, 0x9f, 0xc3, 0xa9, 0xed, 0xa0, 0x80, b'c'];
        for length in 1..=broken.len() {
            assert_eq!(in_pieces(&broken, &[length]).0, String::from_utf8_lossy(&broken));
        }
    }

    proptest! {
        #[test]
        fn text_survives_every_cut(
            text in "\\PC{0,40}", lengths in prop::collection::vec(1usize..7, 1..8),
        ) {
            prop_assert_eq!(in_pieces(text.as_bytes(), &lengths), (text, true));
        }

        #[test]
        fn any_bytes_read_as_in_one_go(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            lengths in prop::collection::vec(0usize..5, 1..8),
        ) {
            prop_assume!(lengths.iter().any(|&length| length > 0));
            // A whole decode also replaces an unfinished character at the end, which is held back here.
            let mut whole = bytes.clone();
            whole.push(b'.');
            let (text, clean) = in_pieces(&whole, &lengths);
            prop_assert!(clean);
            prop_assert_eq!(text, String::from_utf8_lossy(&whole));
        }
    }
}
