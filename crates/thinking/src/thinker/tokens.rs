//! Requests to a Thinker's tokenizer outside any session: the tokens of a text, and the text of tokens.

use std::{future::Future, pin::Pin};

use super::{Failure, Message};

/// What to convert to tokens or text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenInput {
    /// Nothing: only the tokenizer's card is wanted.
    Nothing,
    /// Text used without a chat template. Control tokens in it count as control tokens.
    Text {
        /// The text.
        text: String,
        /// Whether to prepend the tokens that the model expects before every text.
        with_special: bool,
    },
    /// A conversation, rendered with the model's chat template.
    Messages {
        /// The conversation.
        messages: Vec<Message>,
        /// Whether to open the assistant's turn after it.
        opens_turn: bool,
    },
    /// Tokens to convert to text.
    Ids(Vec<u32>),
}

/// A request to a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenQuery {
    /// What to convert to tokens or text.
    pub input: TokenInput,
    /// Whether to return the text of each token.
    pub wants_pieces: bool,
    /// Whether to return the tokenizer's card.
    pub wants_card: bool,
}

/// A tokenizer's reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenReply {
    /// The tokens of the input, or the input itself if it was tokens.
    pub ids: Vec<u32>,
    /// The text of the given ids, including the names of control tokens; otherwise empty.
    pub text: String,
    /// Whether the bytes of the given ids are not valid text: then U+FFFD replaces the invalid ones.
    pub is_broken: bool,
    /// The text of each token, if requested; partial characters appear as U+FFFD.
    pub pieces: Vec<String>,
    /// The longest session of the model, in tokens.
    pub context_tokens: u32,
    /// The tokenizer's card, if requested.
    pub card: Option<TokenizerCard>,
}

/// A description of a tokenizer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizerCard {
    /// One more than the greatest id.
    pub vocabulary_size: u32,
    /// The text of tokens with a special role, by the names that chat templates use: `bos_token`, `eos_token`.
    pub special_tokens: Vec<(String, String)>,
    /// The source of the chat template, if there is one.
    pub chat_template: Option<String>,
    /// Two tokenizers with equal fingerprints give the same ids for the same text.
    pub fingerprint: String,
}

/// The reply to a tokenizer request; `None` if there is no tokenizer to ask.
pub type TokenFuture = Pin<Box<dyn Future<Output = Result<Option<TokenReply>, Failure>> + Send>>;

impl TokenQuery {
    /// A query for the tokens or the text only.
    pub fn new(input: TokenInput) -> Self {
        TokenQuery { input, wants_pieces: false, wants_card: false }
    }

    /// Returns the size of the input in bytes; for ids, that of their `u32`s.
    pub fn bytes(&self) -> usize {
        match &self.input {
            TokenInput::Nothing => 0,
            TokenInput::Text { text, .. } => text.len(),
            TokenInput::Messages { messages, .. } => {
                messages.iter().map(|message| message.role.len() + message.content.len()).sum()
            }
            TokenInput::Ids(ids) => ids.len() * size_of::<u32>(),
        }
    }
}
