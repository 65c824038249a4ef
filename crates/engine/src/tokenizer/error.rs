//! What can go wrong with a tokenizer. Each message is one line: what, why, how to mend.

use std::path::PathBuf;

/// A tokenizer could not be built, or could not encode.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The operating system refused a file.
    #[error("cannot read {}: {source}; a model directory needs tokenizer.json beside its weights", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file is cut short or damaged.
    #[error("{} is no valid tokenizer file: {why}; fetch the model again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
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
    /// A kind of tokenizer that this engine does not build.
    #[error(
        "the tokenizer of {origin} is not supported: {what}; use a model with a byte-level BPE tokenizer, or one with tokenizer.json"
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
}
