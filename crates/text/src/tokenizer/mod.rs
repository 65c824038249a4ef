//! Text to token ids and back, for one model.
//!
//! The encoding itself is the `tokenizers` crate's. What is ours: building it from a GGUF's metadata
//! ([`gguf`]), the encoding of committed text ([`mod@encode`]), the bytes of each token ([`pieces`])
//! and the [`fingerprint`]. What a model's files say beside the vocabulary (end-of-text ids, chat
//! template) is read in [`special`]; chat templates are rendered in [`crate::template`].

mod encode;
mod fingerprint;
mod gguf;
mod pieces;
mod special;

use std::path::Path;

use crate::{
    error::{TokenizerError, first_line},
    metadata::GgufMetadata,
};

use self::{encode::encode, pieces::Pieces, special::SpecialText};

/// Text to token ids and back.
///
/// There are two encodings. Prompt text is made by a chat template: control tokens in it ("<|im_end|>")
/// are meant. Committed text was written by a model or a person: control tokens in it are only
/// text, and no leading space is ever added, because it continues what stands before it.
#[derive(Debug)]
pub struct Tokenizer {
    prompt: tokenizers::Tokenizer,
    committed: tokenizers::Tokenizer,
    pieces: Pieces,
    special: SpecialText,
    end_of_text: Vec<u32>,
    fingerprint: String,
}

/// Committed text as tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoded {
    /// The tokens.
    pub ids: Vec<u32>,
    /// For each token the bytes of the text it comes from; several tokens may share one character.
    pub spans: Vec<(usize, usize)>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, beside it, `tokenizer_config.json`, `generation_config.json`,
    /// `config.json` and `chat_template.jinja` where there are any.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn from_json(path: &Path) -> Result<Self, TokenizerError> {
        let bytes = std::fs::read(path)
            .map_err(|source| TokenizerError::Read { path: path.to_owned(), source })?;
        let damaged =
            |why: String| TokenizerError::Damaged { path: path.to_owned(), why: first_line(&why) };
        let mut prompt =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| damaged(error.to_string()))?;
        // Files of embedding models cut or fill up what they encode.
        prompt.with_padding(None);
        prompt.with_truncation(None).map_err(|error| damaged(error.to_string()))?;
        let special = SpecialText::from_directory(path.parent().unwrap_or(Path::new(".")))?;
        Tokenizer::new(prompt, special, &path.display().to_string())
    }

    /// Builds the tokenizer from the metadata of a GGUF file.
    ///
    /// # Errors
    /// Metadata that is missing, or a kind of tokenizer that is not supported.
    pub fn from_gguf(metadata: &GgufMetadata) -> Result<Self, TokenizerError> {
        let prompt = gguf::build(metadata)?;
        Tokenizer::new(prompt, SpecialText::from_gguf(metadata), "the GGUF file")
    }

    fn new(
        prompt: tokenizers::Tokenizer,
        special: SpecialText,
        origin: &str,
    ) -> Result<Self, TokenizerError> {
        let unsupported = |what: String| TokenizerError::Unsupported {
            origin: origin.to_owned(),
            what: first_line(&what),
        };
        let pieces = Pieces::of(&prompt).map_err(&unsupported)?;
        let committed = encode::for_committed_text(&prompt).map_err(unsupported)?;
        let end_of_text = special.end_of_text_ids(&prompt, &pieces);
        let fingerprint = fingerprint::of(&prompt, &committed)?;
        Ok(Tokenizer { prompt, committed, pieces, special, end_of_text, fingerprint })
    }

    /// Encodes text that a chat template made; control tokens in it are meant, and a begin-of-text
    /// token is there only if the template wrote one.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] when the vocabulary cannot express the text.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        Ok(encode(&self.prompt, text, false)?.get_ids().to_vec())
    }

    /// Encodes a prompt that no template made: as [`Tokenizer::encode_prompt`], with the
    /// begin-of-text token where the model wants one.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_prompt`].
    pub fn encode_raw_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        Ok(encode(&self.prompt, text, true)?.get_ids().to_vec())
    }

    /// Encodes committed text: control tokens in it are plain text, other added tokens
    /// (`</think>`) are tokens.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_prompt`].
    pub fn encode_committed(&self, text: &str) -> Result<Encoded, TokenizerError> {
        let encoding = encode(&self.committed, text, false)?;
        Ok(Encoded { ids: encoding.get_ids().to_vec(), spans: encoding.get_offsets().to_vec() })
    }

    /// The greatest length in bytes of a text that is encoded in this many tokens.
    pub fn most_bytes(&self, tokens: usize) -> usize {
        // Normal forms make a text shorter, but never to less than a quarter.
        let normal_form = if self.prompt.get_normalizer().is_some() { 4 } else { 1 };
        tokens.saturating_mul(self.pieces.longest()).saturating_mul(normal_form)
    }

    /// The bytes a token stands for: none for a control token or an id that nothing is behind.
    pub fn piece(&self, id: u32) -> &[u8] {
        self.pieces.bytes(id)
    }

    /// Whether these tokens stand for exactly this text, with no control token between.
    pub fn spells(&self, ids: &[u32], text: &str) -> bool {
        let mut left = text.as_bytes();
        for &id in ids {
            match left.strip_prefix(self.piece(id)) {
                Some(rest) if !self.piece(id).is_empty() => left = rest,
                _ => return false,
            }
        }
        left.is_empty()
    }

    /// Whether this token ends the text.
    pub fn is_end_of_text(&self, id: u32) -> bool {
        self.end_of_text.contains(&id)
    }

    /// The tokens that end the text.
    pub fn end_of_text(&self) -> &[u32] {
        &self.end_of_text
    }

    /// One more than the greatest id that something is behind.
    pub fn vocabulary_size(&self) -> usize {
        self.pieces.len()
    }

    /// Equal where two tokenizers give the same ids for the same text.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The chat template, where the model has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.special.chat_template.as_deref()
    }

    /// The begin-of-text token's text, as chat templates use it.
    pub fn bos_text(&self) -> Option<&str> {
        self.special.bos.as_deref()
    }

    /// The end-of-text token's text, as chat templates use it.
    pub(crate) fn eos_text(&self) -> Option<&str> {
        self.special.eos.as_deref()
    }
}
