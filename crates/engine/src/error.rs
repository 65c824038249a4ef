//! Errors of loading and running a model. Each message is one line: what, why, how to fix it. Errors of a session are
//! `thinking::thinker::Failure`, not here.

use std::path::PathBuf;

use crate::{device::one_line, memory::UsableMemory};

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is nothing at the path, or nothing that a model can be loaded from.
    #[error(
        "no model at {}: {why}; give a .gguf file or a Hugging Face directory with config.json and \
         safetensors",
        path.display()
    )]
    NotFound {
        /// The path that was tried.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// The operating system refused a file.
    #[error("cannot read {}: {source}; check that it exists and that you may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is cut short or damaged.
    #[error("{} is damaged or incomplete: {why}; fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file is a Git LFS pointer: the repository was cloned without its large files.
    #[error(
        "{} is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder, or download the file",
        path.display()
    )]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// A part of a split GGUF file is missing.
    #[error(
        "{} is missing: it is a part of a split GGUF file; put all parts into one folder under their own names",
        path.display()
    )]
    MissingPart {
        /// The missing part.
        path: PathBuf,
    },
    /// The model is of a family that this engine does not know.
    #[error(
        "{} holds architecture {found:?}, which is not supported; use a model of one of the families \
         {known}",
        path.display()
    )]
    Architecture {
        /// The file.
        path: PathBuf,
        /// The architecture that the file names.
        found: String,
        /// The names of the supported families, as a comma-separated list.
        known: String,
    },
    /// The model is of a family that is known but not supported.
    #[error("{} holds architecture {found:?}, which is not supported: {why}", path.display())]
    Family {
        /// The file.
        path: PathBuf,
        /// The architecture that the file names.
        found: String,
        /// Why, and what to use instead.
        why: &'static str,
    },
    /// A weight format that this engine cannot compute with.
    #[error(
        "{}: unsupported quantisation: {what}; use {instead}",
        path.display()
    )]
    Quantisation {
        /// The file.
        path: PathBuf,
        /// The format, and what is in it.
        what: String,
        /// What to use instead.
        instead: String,
    },
    /// The family is supported, but the model uses a feature that is not.
    #[error("{}: {what} is not supported; use a model without it", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The feature.
        what: String,
    },
    /// A setting is missing or invalid.
    #[error("{}: {why}; fetch the model again or fix the setting", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Which setting, and what is wrong with it.
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
    /// A weight's shape differs from what the configuration says.
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
    /// The weights need more memory than is usable.
    #[error(
        "{} takes {needed} of memory, more than the {usable}; {}",
        path.display(),
        usable.limit.remedy()
    )]
    TooLarge {
        /// The file or directory.
        path: PathBuf,
        /// Memory that the weights take.
        needed: String,
        /// Memory that is usable.
        usable: UsableMemory,
    },
    /// There is not enough memory for the cache of one session.
    #[error(
        "a session of {tokens} tokens takes {needed} of memory for its cache, and {caches}; {remedy}"
    )]
    SessionTooLarge {
        /// The session's length.
        tokens: usize,
        /// Memory that its cache takes.
        needed: String,
        /// What caches may take, in words.
        caches: String,
        /// How to fix it.
        remedy: String,
    },
    /// The tokenizer cannot be built.
    #[error(transparent)]
    Tokenizer(#[from] text::TokenizerError),
    /// The system refused to start a thread.
    #[error("cannot start the engine's thread: {0}; free some memory or raise the process limit")]
    Thread(std::io::Error),
    /// The options are invalid.
    #[error("{0}")]
    Options(String),
    /// The device refused the weights, mostly for lack of memory.
    #[error(
        "cannot place {} on the device: {}; use a smaller model or another device",
        path.display(),
        one_line(source)
    )]
    Device {
        /// The file or directory.
        path: PathBuf,
        /// The device's error.
        source: candle_core::Error,
    },
    /// The weights are in place, and the device cannot compute with them.
    #[error(
        "{device} cannot run the model: a first forward pass failed: {why}; use another device, or a build for this one"
    )]
    FirstPass {
        /// The device's name.
        device: String,
        /// What failed, in one line.
        why: String,
    },
}

/// Why a forward pass failed.
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
    /// A token id is outside the model's vocabulary.
    #[error("token {id} is not in the model's vocabulary of {vocab}; tokenizer and model differ")]
    UnknownToken {
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A cache was made by another kind of decoder.
    #[error(
        "a row of a forward pass has a cache of another decoder; pass one that this decoder made"
    )]
    ForeignCache,
    /// The decoder cannot give the logits that were asked for.
    #[error("this model gives logits for the last token of a row only; ask for no others")]
    OnlyLastLogits,
    /// A row has no tokens, so there is nothing to compute.
    #[error("a row of a forward pass has no tokens; leave it out")]
    EmptyRow,
    /// The device failed.
    #[error("the device failed: {}; try again, or use another device", one_line(.0))]
    Device(#[from] candle_core::Error),
}

impl ForwardError {
    /// Returns what went wrong, without what to do.
    pub(crate) fn cause(&self) -> String {
        match self {
            ForwardError::Device(error) => one_line(error),
            _ => self.to_string(),
        }
    }
}
