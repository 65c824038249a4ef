//! What can go wrong when a model is loaded or run. Each message is one line: what, why, how to fix it.
//! What can go wrong in a session is `thinking::thinker::Failure`, not here.

use std::path::PathBuf;

use crate::memory::UsableMemory;

/// A model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nothing there, or not something a model can be loaded from.
    #[error(
        "no model at {}: {why}; give a .gguf file or a Hugging Face directory with config.json and \
         safetensors",
        path.display()
    )]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// The operating system refused a file.
    #[error("cannot read {}: {source}; check that it exists and that you may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file is cut short or damaged.
    #[error("{} is damaged or incomplete: {why}; fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// A repository was cloned without its large files.
    #[error(
        "{} is a Git LFS pointer and not the file that it stands for; run `git lfs pull` in its folder, or download \
         the file",
        path.display()
    )]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// A part of a split GGUF file is not there.
    #[error(
        "{} is missing, a part of a split GGUF file; put all parts into one folder under their own names",
        path.display()
    )]
    MissingPart {
        /// The part.
        path: PathBuf,
    },
    /// Not one of the families this engine computes.
    #[error(
        "{} holds architecture {found:?}, which is not supported; use a model of one of the families \
         {known}",
        path.display()
    )]
    Architecture {
        /// The file.
        path: PathBuf,
        /// What it names.
        found: String,
        /// The names of those, as a message lists them.
        known: String,
    },
    /// One that is known, and not served.
    #[error("{} holds architecture {found:?}, which is not supported: {why}", path.display())]
    Family {
        /// The file.
        path: PathBuf,
        /// What it names.
        found: String,
        /// Why, and what to use in its place.
        why: &'static str,
    },
    /// A weight format this engine does not compute with.
    #[error(
        "{}: unsupported quantisation: {what}; use {instead}",
        path.display()
    )]
    Quantisation {
        /// The file.
        path: PathBuf,
        /// The format, and where it stands.
        what: String,
        /// What to use in its place.
        instead: String,
    },
    /// A known family with something in it that this engine does not compute.
    #[error("{}: {what} is not supported; use a model without it", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The feature.
        what: String,
    },
    /// A setting is missing or makes no sense.
    #[error("{}: {why}; fetch the model again or mend the setting", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Which setting and why.
        why: String,
    },
    /// A weight is missing.
    #[error("{} has no tensor {name:?}; fetch all of the model's files again", path.display())]
    MissingTensor {
        /// The file or directory.
        path: PathBuf,
        /// The weight's name there.
        name: String,
    },
    /// A weight has another shape than the configuration says.
    #[error(
        "{}: tensor {name:?} has shape {found:?}, the configuration says {expected:?}; the files \
         belong to different models",
        path.display()
    )]
    WrongShape {
        /// The file or directory.
        path: PathBuf,
        /// The weight's name there.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// The weights are larger than the memory that may be used.
    #[error(
        "{} takes {needed} of memory, more than the {usable}; free some or use a smaller model or \
         quantisation",
        path.display()
    )]
    TooLarge {
        /// The file or directory.
        path: PathBuf,
        /// What the weights take.
        needed: String,
        /// What is there.
        usable: UsableMemory,
    },
    /// There is no memory for the cache of one session.
    #[error(
        "a session of {tokens} tokens takes {needed} of memory for its cache, and {caches}; {mend}"
    )]
    SessionTooLarge {
        /// The session's length.
        tokens: usize,
        /// What its cache takes.
        needed: String,
        /// What there is for caches.
        caches: String,
        /// What to do.
        mend: String,
    },
    /// The tokenizer cannot be built.
    #[error(transparent)]
    Tokenizer(#[from] text::TokenizerError),
    /// The system gives no thread.
    #[error(
        "cannot start the engine's thread: {0}; free some memory or raise the limit of processes"
    )]
    Thread(std::io::Error),
    /// The options do not go together.
    #[error("{0}")]
    Options(String),
    /// The device refused, mostly for lack of memory.
    #[error(
        "cannot place {} on the device: {}; use a smaller model or another device",
        path.display(),
        one_line(source)
    )]
    Device {
        /// The file or directory.
        path: PathBuf,
        /// The device's answer.
        source: candle_core::Error,
    },
}

/// A forward pass could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The sequence would be longer than the model's context.
    #[error("{tokens} tokens do not fit the model's context of {context}; shorten the text")]
    ContextFull {
        /// Length the sequence would have.
        tokens: usize,
        /// Longest possible sequence.
        context: usize,
    },
    /// A token id that the model does not have.
    #[error("token {id} is not in the model's vocabulary of {vocab}; tokenizer and model differ")]
    UnknownToken {
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A cache that another kind of decoder made.
    #[error(
        "a row of a forward pass has a cache of another decoder; take one that this decoder made"
    )]
    ForeignCache,
    /// Logits that this kind of decoder does not give.
    #[error("this model gives the logits behind the last token of a row only; ask for no others")]
    OnlyLastLogits,
    /// A row without tokens: there is nothing to compute for it.
    #[error("a row of a forward pass has no tokens; leave it out")]
    EmptyRow,
    /// The device failed.
    #[error("the device failed: {}", one_line(.0))]
    Device(#[from] candle_core::Error),
}

/// The first line of a tensor library's error, which may carry a backtrace.
fn one_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
