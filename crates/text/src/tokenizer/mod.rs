//! Text to token ids and back, for one model.
//!
//! The encoding itself is done by the `tokenizers` crate. What is ours: building it from a GGUF's metadata ([`gguf`],
//! [`pre_tokenizer`], [`sentence_pieces`]), the encoding of prompts and of committed text ([`mod@encode`]), the bytes
//! of each token ([`pieces`]) and the [`fingerprint`]. [`special`] reads what a model's files say besides the
//! vocabulary (end-of-text ids, chat template); [`turn_ends`] and [`control`] apply it to the vocabulary.
//! [`crate::template`] renders chat templates, and [`crate::letters`] decides which names in messages are only letters.

mod control;
mod encode;
mod fingerprint;
mod gguf;
mod pieces;
mod pre_tokenizer;
mod sentence_pieces;
mod special;
mod turn_ends;

use std::{borrow::Cow, collections::HashMap, ops::Range, path::Path};

use crate::{
    error::{TokenizerError, first_line},
    letters::ControlNames,
    metadata::GgufMetadata,
    template::ChatTemplate,
    thought::{Thought, is_mark},
};

use self::{
    encode::{encode, encode_rendered},
    pieces::Pieces,
    special::SpecialText,
};

/// Text to token ids and back.
///
/// There are two encodings. Prompt text is made by a chat template: control tokens that it writes ("<|im_end|>") are
/// encoded as such, but their names in messages are letters. Committed text was written by a model or a person: control
/// tokens in it are only text, and no leading space is ever added, because it continues the text before it.
#[derive(Debug)]
pub struct Tokenizer {
    prompt: tokenizers::Tokenizer,
    committed: tokenizers::Tokenizer,
    pieces: Pieces,
    special: SpecialText,
    template: ChatTemplate,
    /// The marks around thoughts that are tokens.
    marks: HashMap<String, u32>,
    end_of_text: Vec<u32>,
    fingerprint: String,
    notes: Vec<String>,
}

/// Committed text as tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoded {
    /// The tokens.
    pub ids: Vec<u32>,
    /// For each token the bytes of the text that it comes from; several tokens may share one character.
    pub spans: Vec<(usize, usize)>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, in the same folder, `tokenizer_config.json`, `generation_config.json`, `config.json`
    /// and `chat_template.jinja` if they exist.
    ///
    /// # Errors
    /// If a file cannot be read or understood.
    pub fn from_json(path: &Path) -> Result<Self, TokenizerError> {
        let bytes = std::fs::read(path)
            .map_err(|source| TokenizerError::Read { path: path.to_owned(), source })?;
        let damaged =
            |why: String| TokenizerError::Damaged { path: path.to_owned(), why: first_line(&why) };
        let mut prompt =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| damaged(error.to_string()))?;
        // Files of embedding models truncate or pad what they encode.
        prompt.with_padding(None);
        prompt.with_truncation(None).map_err(|error| damaged(error.to_string()))?;
        let special = SpecialText::from_directory(path.parent().unwrap_or(Path::new(".")))?;
        Tokenizer::new(prompt, special, &path.display().to_string(), Vec::new())
    }

    /// Builds the tokenizer from the metadata of a GGUF file.
    ///
    /// # Errors
    /// If metadata is missing, or the kind of tokenizer is not supported.
    pub fn from_gguf(metadata: &GgufMetadata) -> Result<Self, TokenizerError> {
        let (prompt, note) = gguf::build(metadata)?;
        let notes = note.into_iter().collect();
        Tokenizer::new(prompt, SpecialText::from_gguf(metadata), "the GGUF file", notes)
    }

    fn new(
        mut prompt: tokenizers::Tokenizer,
        special: SpecialText,
        origin: &str,
        mut notes: Vec<String>,
    ) -> Result<Self, TokenizerError> {
        let unsupported = |what: String| TokenizerError::Unsupported {
            origin: origin.to_owned(),
            what: first_line(&what),
        };
        let template =
            ChatTemplate::with_tokens(special.chat_template.as_deref(), special.tokens.clone());
        let end_of_text = turn_ends::of(&prompt, &special, &template);
        let unmarked =
            control::complete(&mut prompt, end_of_text.iter().copied()).map_err(&unsupported)?;
        notes.extend(unmarked.iter().map(|name| {
            format!(
                "{origin} does not mark {name} as a control token: it ends turns here, as its name or the chat \
                 template says"
            )
        }));
        let pieces = Pieces::of(&prompt).map_err(&unsupported)?;
        let committed = encode::for_committed_text(&prompt).map_err(unsupported)?;
        let marks = prompt.get_added_tokens_decoder().into_iter();
        let marks = marks.filter(|(_, token)| is_mark(&token.content));
        let marks = marks.map(|(id, token)| (token.content, id)).collect();
        let fingerprint = fingerprint::of(&prompt, &committed)?;
        let template = template.with_control_names(ControlNames::of(&prompt));
        let end_of_text = end_of_text.into_iter().collect();
        Ok(Tokenizer {
            prompt,
            committed,
            pieces,
            special,
            template,
            marks,
            end_of_text,
            fingerprint,
            notes,
        })
    }

    /// Returns the same tokenizer for a model with a context of `tokens` tokens: its chat template may use up as much
    /// as such a context can need.
    #[must_use]
    pub fn for_context(self, tokens: usize) -> Self {
        Tokenizer { template: self.template.for_context(tokens), ..self }
    }

    /// Encodes text that a chat template rendered ([`Tokenizer::template`]). Control tokens that the template wrote are
    /// encoded as such, their names in messages as letters. There is a begin-of-text token only if the template wrote
    /// one.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if the vocabulary cannot express the text.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        encode_rendered(&self.prompt, text)
    }

    /// Encodes text without a template, with or without the tokens that the model expects before every text. Control
    /// tokens in it are encoded as such.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode_prompt`].
    pub fn encode_text(&self, text: &str, with_special: bool) -> Result<Vec<u32>, TokenizerError> {
        match with_special {
            true => self.encode_raw_prompt(text),
            false => Ok(encode(&self.prompt, text, false)?.get_ids().to_vec()),
        }
    }

    /// Returns the bytes that tokens spell, with the names of control tokens. Leaves out a space that encoding puts
    /// before a text.
    ///
    /// # Errors
    /// [`TokenizerError::NoToken`] for an id that is not in use.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<u8>, TokenizerError> {
        let (mut bytes, mut begins) = (Vec::new(), true);
        for &id in ids {
            let is_text = !self.piece(id).is_empty();
            let piece = self.shown_piece(id);
            if piece.is_empty() && self.prompt.id_to_token(id).is_none() {
                let vocabulary_size = self.vocabulary_size();
                return Err(TokenizerError::NoToken { id, vocabulary_size });
            }
            let has_space = begins && is_text && piece.starts_with(b" ") && self.adds_space()?;
            bytes.extend_from_slice(&piece[usize::from(has_space)..]);
            begins &= !is_text;
        }
        Ok(bytes)
    }

    /// Returns whether encoding puts a space before a text.
    fn adds_space(&self) -> Result<bool, TokenizerError> {
        let ids = encode(&self.prompt, "a", false)?;
        Ok(ids.get_ids().first().is_some_and(|&id| self.piece(id).starts_with(b" ")))
    }

    /// Returns the bytes of a token as people see it: a control token has its name.
    pub fn shown_piece(&self, id: u32) -> Cow<'_, [u8]> {
        match self.piece(id) {
            [] => {
                let name = self.prompt.id_to_token(id).unwrap_or_default();
                Cow::Owned(name.into_bytes())
            }
            bytes => Cow::Borrowed(bytes),
        }
    }

    /// Encodes a raw prompt. Control tokens in it are encoded as such. The begin-of-text token goes before it if the
    /// model expects one and the prompt does not begin with it already.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode_prompt`].
    pub fn encode_raw_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = encode(&self.prompt, text, true)?.get_ids().to_vec();
        let bos = self.bos_text().and_then(|bos| self.prompt.token_to_id(bos));
        if let (Some(bos), [first, second, ..]) = (bos, ids.as_slice())
            && [*first, *second] == [bos; 2]
        {
            let written = encode(&self.prompt, text, false)?;
            if written.len() < ids.len() {
                ids.remove(0);
            }
        }
        Ok(ids)
    }

    /// Encodes committed text that follows an answer whose thought is in this state. Control tokens in it are plain
    /// text, except for the marks of the thought ([`Thought`]); other added tokens (`<tool_call>`) are tokens.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode_prompt`].
    pub fn encode_committed(
        &self,
        text: &str,
        thought: Thought,
    ) -> Result<Encoded, TokenizerError> {
        let (mut encoded, mut from) = (Encoded::default(), 0);
        for (start, end) in thought.marks(text) {
            if let Some(&id) = self.marks.get(&text[start..end]) {
                self.encode_letters(text, from..start, &mut encoded)?;
                encoded.ids.push(id);
                encoded.spans.push((start, end));
                from = end;
            }
        }
        self.encode_letters(text, from..text.len(), &mut encoded)?;
        Ok(encoded)
    }

    fn encode_letters(
        &self,
        text: &str,
        range: Range<usize>,
        into: &mut Encoded,
    ) -> Result<(), TokenizerError> {
        let from = range.start;
        let encoding = encode(&self.committed, &text[range], false)?;
        into.ids.extend_from_slice(encoding.get_ids());
        let spans = encoding.get_offsets().iter();
        into.spans.extend(spans.map(|(start, end)| (from + start, from + end)));
        Ok(())
    }

    /// Returns the greatest length in bytes of a text that is encoded in this many tokens.
    pub fn most_bytes(&self, tokens: usize) -> usize {
        // Normalisation may shorten a text, but never to less than a quarter.
        let normal_form = if self.prompt.get_normalizer().is_some() { 4 } else { 1 };
        tokens.saturating_mul(self.pieces.longest()).saturating_mul(normal_form)
    }

    /// Returns the bytes that a token spells: none for an id that is not in use, and none for a control token unless it
    /// is a mark around a thought.
    pub fn piece(&self, id: u32) -> &[u8] {
        self.pieces.bytes(id)
    }

    /// Returns whether these tokens spell exactly this text, with no control token between them.
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

    /// Returns whether this token ends the text.
    pub fn is_end_of_text(&self, id: u32) -> bool {
        self.end_of_text.contains(&id)
    }

    /// Returns the tokens that end the text.
    pub fn end_of_text(&self) -> &[u32] {
        &self.end_of_text
    }

    /// Returns one more than the greatest id in use.
    pub fn vocabulary_size(&self) -> usize {
        self.pieces.len()
    }

    /// Returns a fingerprint that is equal for two tokenizers if they give the same ids for the same text.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns what the user should know about the model's files; one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the template that makes the model's prompts from messages.
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// Returns the texts of special tokens by their names in chat templates: `bos_token`, `eos_token`, ...
    pub fn special_tokens(&self) -> impl Iterator<Item = (&str, &str)> {
        self.special.tokens.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Returns the source of the chat template, if the model has one.
    pub fn template_source(&self) -> Option<&str> {
        self.special.chat_template.as_deref()
    }

    /// Returns the begin-of-text token's text, as chat templates use it.
    pub fn bos_text(&self) -> Option<&str> {
        self.special.bos.as_deref()
    }
}
