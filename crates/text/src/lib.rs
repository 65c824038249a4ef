//! Text as a model sees it: chat templates ([`ChatTemplate`]), token ids of text and the bytes behind
//! them ([`Tokenizer`]), and text from tokens as they come ([`Detokenizer`]).
//!
//! All of it is read from a Hugging Face folder or from the metadata of a GGUF file. There are no weights here, no
//! runtime, no network and nothing of the `Thinker` port, so code that prepares text for a model, or reads what it
//! wrote, needs no engine.
//!
//! # Example
//!
//! A tokenizer of six tokens from the metadata of a GGUF file, whose reader converts its values to
//! [`GgufValue`]s. [`Tokenizer::from_json`] reads a Hugging Face folder instead.
//!
//! ```
//! use text::{Detokenizer, GgufMetadata, GgufValue, Tokenizer};
//!
//! let string = |text: &str| GgufValue::String(text.to_owned());
//! // Byte-level vocabularies write bytes as characters: "Ġ" is a space, "Ã" and "©" are the bytes of "é".
//! let tokens = ["H", "i", "Ġ", "Ã", "©", "<|end|>"].map(string);
//! let types = [1, 1, 1, 1, 1, 3].map(GgufValue::Integer); // 3: a control token.
//! let template = "{{ messages[0].content }}<|end|>";
//! let metadata = GgufMetadata::from([
//!     ("tokenizer.ggml.model".to_owned(), string("gpt2")),
//!     ("tokenizer.ggml.tokens".to_owned(), GgufValue::Array(tokens.into())),
//!     ("tokenizer.ggml.token_type".to_owned(), GgufValue::Array(types.into())),
//!     ("tokenizer.ggml.merges".to_owned(), GgufValue::Array(Vec::new())),
//!     ("tokenizer.ggml.eos_token_id".to_owned(), GgufValue::Integer(5)),
//!     ("tokenizer.chat_template".to_owned(), string(template)),
//! ]);
//! let tokenizer = Tokenizer::from_gguf(&metadata)?;
//!
//! // A prompt: the messages as the chat template renders them, with its own control tokens.
//! let prompt = tokenizer.template().render([("user", "Hi é")])?;
//! assert_eq!(prompt, "Hi é<|end|>");
//! let ids = tokenizer.encode_prompt(&prompt)?;
//! assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
//!
//! // An answer: text as its tokens come. Half a character is held back.
//! let (mut detokenizer, mut answer) = (Detokenizer::new(), String::new());
//! for &id in &ids[..4] {
//!     detokenizer.push(tokenizer.piece(id), &mut answer);
//! }
//! assert_eq!((answer.as_str(), detokenizer.is_clean()), ("Hi ", false));
//! detokenizer.push(tokenizer.piece(ids[4]), &mut answer);
//! assert_eq!((answer.as_str(), detokenizer.is_clean()), ("Hi é", true));
//! assert!(tokenizer.is_end_of_text(ids[5]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod detokenize;
mod error;
#[cfg(test)]
mod error_tests;
mod letters;
mod metadata;
mod spans;
mod template;
mod thought;
mod tokenizer;

pub use detokenize::Detokenizer;
pub use error::{TemplateError, TokenizerError};
pub use metadata::{GgufMetadata, GgufValue};
pub use spans::{before_last_word, spans_of, spans_of_ids};
pub use template::ChatTemplate;
pub use thought::Thought;
pub use tokenizer::{Encoded, Tokenizer};
