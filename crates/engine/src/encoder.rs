//! The tokenizer as sessions use it: its errors become the port's failures, and encoded bytes are counted so that tests
//! see what is encoded again.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use text::{Encoded, Thought, Tokenizer, TokenizerError};
use thinking::thinker::{Code, Failure};

/// A tokenizer that counts the bytes it encodes.
pub(crate) struct Encoder {
    tokenizer: Tokenizer,
    encoded_bytes: Arc<AtomicU64>,
}

impl Encoder {
    pub(crate) fn new(tokenizer: Tokenizer, encoded_bytes: Arc<AtomicU64>) -> Self {
        Encoder { tokenizer, encoded_bytes }
    }

    /// Returns the tokenizer, for everything except encoding.
    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Encodes a rendered chat template.
    pub(crate) fn rendered(&self, text: &str) -> Result<Vec<u32>, Failure> {
        self.count(text);
        self.tokenizer.encode_prompt(text).map_err(cannot_encode)
    }

    /// Encodes a raw prompt, which no template rendered.
    pub(crate) fn raw_prompt(&self, text: &str) -> Result<Vec<u32>, Failure> {
        self.count(text);
        self.tokenizer.encode_raw_prompt(text).map_err(cannot_encode)
    }

    /// Encodes a text without a template, with or without the tokens that the model expects before every text.
    pub(crate) fn text(&self, text: &str, with_special: bool) -> Result<Vec<u32>, Failure> {
        self.count(text);
        self.tokenizer.encode_text(text, with_special).map_err(cannot_encode)
    }

    /// Encodes text of an answer. `thought` is the state of the answer's thought before it.
    pub(crate) fn committed(&self, text: &str, thought: Thought) -> Result<Encoded, Failure> {
        self.count(text);
        self.tokenizer.encode_committed(text, thought).map_err(cannot_encode)
    }

    /// Refuses a text that cannot fit into `room_tokens` tokens however it is encoded. For use before encoding.
    ///
    /// # Errors
    /// [`Code::ContextTooLong`].
    pub(crate) fn check_bytes(&self, bytes: usize, room_tokens: usize) -> Result<(), Failure> {
        let most = self.tokenizer.most_bytes(room_tokens);
        if bytes <= most {
            return Ok(());
        }
        let message = format!(
            "a text of {bytes} bytes does not fit: the {room_tokens} tokens left in the model's \
             context hold at most {most} bytes; shorten it or use a model with a longer context"
        );
        Err(Failure::new(Code::ContextTooLong, message))
    }

    fn count(&self, text: &str) {
        self.encoded_bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
    }
}

fn cannot_encode(error: TokenizerError) -> Failure {
    Failure::new(Code::InvalidArgument, error.to_string())
}

/// Refuses a session that would be longer than its context. `what` names the cause, for the message.
///
/// # Errors
/// [`Code::ContextTooLong`].
pub(crate) fn check_fits(tokens: usize, context: usize, what: &str) -> Result<(), Failure> {
    if tokens <= context {
        return Ok(());
    }
    let message = format!(
        "{what} makes the session {tokens} tokens long, but the model's context holds {context}; \
         shorten it or use a model with a longer context"
    );
    Err(Failure::new(Code::ContextTooLong, message))
}
