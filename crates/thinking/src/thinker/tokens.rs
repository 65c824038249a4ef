//! What a Thinker's tokenizer is asked beside its sessions: the tokens of a text, and the text of tokens.

use std::{future::Future, pin::Pin};

use super::{Failure, Message};

/// What is to become tokens or text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenInput {
    /// Nothing: only what the tokenizer is.
    Nothing,
    /// A text that no chat template made. Control tokens in it are meant.
    Text {
        /// The text.
        text: String,
        /// Whether the tokens that the model wants before every text go before it.
        with_special: bool,
    },
    /// A conversation, through the model's chat template.
    Messages {
        /// The conversation.
        messages: Vec<Message>,
        /// Whether the assistant's turn is opened behind it.
        opens_turn: bool,
    },
    /// Tokens, which become text.
    Ids(Vec<u32>),
}

/// A question to a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenQuery {
    /// What is to become tokens or text.
    pub input: TokenInput,
    /// Whether the text of each token is wanted.
    pub wants_pieces: bool,
    /// Whether it is wanted what the tokenizer is.
    pub wants_card: bool,
}

/// What a tokenizer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenReply {
    /// The tokens of what was given, or those that were given.
    pub ids: Vec<u32>,
    /// The text of the ids that were given, with the names of control tokens; else empty.
    pub text: String,
    /// Whether the ids that were given make no text as they are: U+FFFD stands for bytes that are no character.
    pub is_broken: bool,
    /// The text of each token, where it was wanted; half characters as U+FFFD.
    pub pieces: Vec<String>,
    /// Longest session of the model in tokens.
    pub context_tokens: u32,
    /// What the tokenizer is, where it was wanted.
    pub card: Option<TokenizerCard>,
}

/// What a tokenizer is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizerCard {
    /// One more than the greatest id.
    pub vocabulary_size: u32,
    /// The text of tokens that have a part, by the names that chat templates know them by: `bos_token`, `eos_token`
    pub special_tokens: Vec<(String, String)>,
    /// The source of the chat template, where there is one.
    pub chat_template: Option<String>,
    /// Equal where two tokenizers give the same ids for the same text.
    pub fingerprint: String,
}

/// What comes of a question to a tokenizer; `None` where there is none to ask.
pub type TokenFuture = Pin<Box<dyn Future<Output = Result<Option<TokenReply>, Failure>> + Send>>;

impl TokenQuery {
    /// Asks for the tokens or the text alone.
    pub fn new(input: TokenInput) -> Self {
        TokenQuery { input, wants_pieces: false, wants_card: false }
    }

    /// How much is given, in bytes; of ids about as much.
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
