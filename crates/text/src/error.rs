//! Errors of tokenizers and chat templates. Each message is one line: what, why, how to fix it.

use std::path::PathBuf;

/// Why a tokenizer could not be built, or could not encode.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The operating system refused a file.
    #[error("cannot read {}: {source}; a model directory needs tokenizer.json beside its weights", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is cut short or damaged.
    #[error("{} is not a valid tokenizer file: {why}; fetch the model again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A GGUF file lacks a part of its tokenizer.
    #[error(
        "the GGUF file's tokenizer is incomplete: {key} is {why}; fetch or convert the model again"
    )]
    Metadata {
        /// The metadata's name.
        key: &'static str,
        /// "missing", or what is wrong with it.
        why: String,
    },
    /// The tokenizer is of a kind that is not supported.
    #[error(
        "the tokenizer of {origin} is not supported: {what}; use a model with a byte-level BPE \
         tokenizer, or one with tokenizer.json"
    )]
    Unsupported {
        /// The file.
        origin: String,
        /// What is not supported.
        what: String,
    },
    /// The vocabulary cannot express a text.
    #[error("the tokenizer cannot encode the text: {0}; change the text or use another model")]
    Encode(String),
    /// A token id is not in the vocabulary.
    #[error(
        "{id} is not a token of this model, which has {vocabulary_size}; send ids of its own tokenizer"
    )]
    NoToken {
        /// The token.
        id: u32,
        /// One more than the greatest id in use.
        vocabulary_size: usize,
    },
}

/// Why messages could not be made into a prompt.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The model has no chat template, or one that cannot be read; holds which.
    #[error("{0}; send a raw prompt or use an instruct or reasoning model")]
    Unusable(String),
    /// The template takes more steps or memory than a context can need.
    #[error(
        "the model's chat template takes too many steps for these messages; send fewer or shorter ones, or a raw prompt"
    )]
    TooCostly,
    /// The template refuses these messages, or fails on them; holds why.
    #[error(
        "the model's chat template refuses the messages: {0}; change them or send a raw prompt"
    )]
    Refused(String),
}

/// Returns the first line. Errors of other crates may span several lines, but a message to a person is one.
pub(crate) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
