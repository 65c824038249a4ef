//! The bytes of each token id, laid out once so that decoding needs no strings and no maps.

use std::collections::HashMap;

use crate::thought::is_mark;

/// Bytes per token id.
#[derive(Debug)]
pub(super) struct Pieces {
    bytes: Vec<u8>,
    /// Where each id's bytes end in `bytes`.
    ends: Vec<usize>,
    longest: usize,
}

/// How a vocabulary writes bytes.
enum Style {
    /// GPT-2's alphabet: one printable character per byte.
    ByteLevel(HashMap<char, u8>),
    /// "▁" for a space, "<0x0A>" for a byte that no token has.
    ByteFallback,
}

impl Pieces {
    /// Lays out the vocabulary. The error says what is unknown about how it writes bytes.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> Result<Self, String> {
        let style = Style::of(tokenizer)?;
        let vocabulary = tokenizer.get_vocab(true);
        let len = vocabulary.values().max().map_or(0, |&id| id as usize + 1);
        // Ids are nearly dense; a file that skips millions is broken, not big.
        if len > 2 * vocabulary.len() + 1024 {
            return Err(format!("its ids go up to {len} with {} tokens", vocabulary.len()));
        }
        let mut tokens = vec![None; len];
        for (token, id) in &vocabulary {
            tokens[*id as usize] = Some(token.as_str());
        }
        // Control tokens spell no text. What the model thinks is for its readers, and so are the marks around it.
        for (id, token) in tokenizer.get_added_tokens_decoder() {
            if token.special && !is_mark(&token.content) {
                tokens[id as usize] = None;
            }
        }
        // As it is written, which is never shorter than its bytes.
        let longest = vocabulary.keys().map(String::len).max().unwrap_or(0);
        let mut pieces = Pieces { bytes: Vec::new(), ends: Vec::with_capacity(len), longest };
        for token in tokens {
            if let Some(token) = token {
                style.write(token, &mut pieces.bytes);
            }
            pieces.ends.push(pieces.bytes.len());
        }
        Ok(pieces)
    }

    /// Returns the bytes of a token; none for a control token or an unknown id.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start..end]
    }

    /// Returns an upper bound for the bytes of the longest token, control tokens included.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Returns one more than the greatest id.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

impl Style {
    fn of(tokenizer: &tokenizers::Tokenizer) -> Result<Style, String> {
        let decoder = serde_json::to_value(tokenizer.get_decoder())
            .map_err(|error| format!("its decoder cannot be read ({error})"))?;
        let kind = |value: &serde_json::Value| {
            value.get("type").and_then(|t| t.as_str()).unwrap_or("none").to_owned()
        };
        let parts = decoder.get("decoders").and_then(|parts| parts.as_array());
        let kinds: Vec<String> = match parts {
            Some(parts) => parts.iter().map(kind).collect(),
            None => vec![kind(&decoder)],
        };
        let has = |name: &str| kinds.iter().any(|kind| kind == name);
        if has("ByteLevel") {
            Ok(Style::ByteLevel(byte_alphabet()))
        } else if has("ByteFallback") || has("Metaspace") {
            Ok(Style::ByteFallback)
        } else {
            Err(format!("its decoder is {}", kinds.join(", ")))
        }
    }

    fn write(&self, token: &str, into: &mut Vec<u8>) {
        match self {
            Style::ByteLevel(alphabet) => {
                let bytes: Option<Vec<u8>> =
                    token.chars().map(|letter| alphabet.get(&letter).copied()).collect();
                // An added token may hold characters outside the alphabet: it is literal.
                into.extend(bytes.as_deref().unwrap_or(token.as_bytes()));
            }
            Style::ByteFallback => match fallback_byte(token) {
                Some(byte) => into.push(byte),
                None => into.extend(token.replace('▁', " ").bytes()),
            },
        }
    }
}

/// Returns the byte of a token such as "<0x0A>".
fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// Returns GPT-2's characters for bytes: printable Latin-1 is itself, the rest follows from U+0100.
///
/// Source: `bytes_to_unicode` of <https://github.com/openai/gpt-2/blob/master/src/encoder.py>.
pub(super) fn byte_alphabet() -> HashMap<char, u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let own = (0..=255u8).filter(printable).map(|byte| (char::from(byte), byte));
    let moved = (0..=255u8).filter(|byte| !printable(byte));
    let moved = ('\u{100}'..).zip(moved);
    own.chain(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_has_every_byte_once() {
        let alphabet = byte_alphabet();
        assert_eq!(alphabet.len(), 256);
        assert_eq!(alphabet[&'a'], b'a');
        assert_eq!(alphabet[&'Ġ'], b' ');
        assert_eq!(alphabet[&'Ċ'], b'\n');
        assert_eq!(alphabet[&'Ń'], 0xad);
    }

    #[test]
    fn fallback_bytes_are_read() {
        for (token, byte) in
            [("<0x0A>", Some(10)), ("<0xff>", Some(255)), ("<0x0>", None), ("a", None)]
        {
            assert_eq!(fallback_byte(token), byte, "{token}");
        }
    }
}
