//! A node's errors, each in one line, and its exit codes, which scripts can test.

use std::path::PathBuf;

use engine::LoadError;
use hub::{ChooseError, HubError, TOKENIZER};
use strum::VariantArray;
use thinking::thinker::Failure;
use transport::{ServeError, TokenError};
use upstream::UpstreamError;

/// How a node's process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
#[repr(u8)]
pub enum NodeExit {
    /// It was asked to stop and did.
    Ok = 0,
    /// A defect.
    Internal = 1,
    /// Wrong arguments.
    Usage = 2,
    /// No such model.
    ModelNotFound = 3,
    /// A model's files cannot be read.
    ModelUnreadable = 4,
    /// A model that the engine does not compute.
    ModelUnsupported = 5,
    /// The download failed.
    Download = 6,
    /// The address cannot be used.
    Address = 7,
    /// The TLS files or the token cannot be used.
    Credentials = 8,
    /// Plain text to other machines.
    Plaintext = 9,
    /// The device cannot be used.
    Device = 10,
    /// A second signal ended it.
    Forced = 11,
    /// A model's tokenizer cannot be used.
    Tokenizer = 12,
    /// A quantisation that the engine does not support.
    Quantisation = 13,
    /// The server that should compute the model cannot be used.
    Upstream = 14,
}

impl NodeExit {
    /// All of them, in order.
    pub const ALL: &'static [NodeExit] = NodeExit::VARIANTS;

    /// Returns what the code means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            NodeExit::Ok => "stopped by a signal, or while loading; sessions were drained",
            NodeExit::Internal => "a defect or a broken listener",
            NodeExit::Usage => "wrong arguments",
            NodeExit::ModelNotFound => {
                "model not found: no such file, repository, revision or cached copy, or no model in it"
            }
            NodeExit::ModelUnreadable => "model files incomplete, truncated or damaged",
            NodeExit::ModelUnsupported => "architecture or file format not supported",
            NodeExit::Download => "download failed: network, refused by the hub, disk full",
            NodeExit::Address => "address in use or not usable",
            NodeExit::Credentials => "TLS files or token not usable",
            NodeExit::Plaintext => "plain text to other machines without --insecure",
            NodeExit::Device => "device unavailable, out of memory, or failed",
            NodeExit::Forced => "a second signal ended it before sessions were drained",
            NodeExit::Tokenizer => "tokenizer missing, damaged or of a kind not supported",
            NodeExit::Quantisation => "quantisation of the weights not supported",
            NodeExit::Upstream => "the --upstream server is unreachable or refuses",
        }
    }
}

/// A node that could not be configured, started or kept running. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(String),
    /// `--model` is neither an existing path nor a name.
    #[error(
        "no model at {path}: there is no such file or folder, and it is not an OWNER/NAME of a Hugging \
         Face repository either; {remedy}"
    )]
    NoModel {
        /// What was given.
        path: String,
        /// What to do.
        remedy: String,
    },
    /// A folder from which no file could be chosen.
    #[error("{}: {why}", path.display())]
    Choose {
        /// The folder.
        path: PathBuf,
        /// Why not.
        why: ChooseError,
    },
    /// A model that could not be fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A device that cannot be used.
    #[error(
        "cannot compute on {device}: {why}; use --device cpu, or a build and a machine that have it"
    )]
    Device {
        /// The device.
        device: String,
        /// Why not.
        why: String,
    },
    /// A device that failed while the node served.
    #[error(
        "{device} has failed and cannot be used again: {why}; look at the driver's log, then start the node again"
    )]
    DeviceLost {
        /// The device.
        device: String,
        /// What failed.
        why: String,
    },
    /// A model that could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A token that cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A server that does not answer, or refuses.
    #[error(transparent)]
    Upstream(#[from] Failure),
    /// A server that may not be used as configured.
    #[error(transparent)]
    UpstreamSetup(#[from] UpstreamError),
    /// The address for metrics cannot be bound.
    #[error("cannot listen on {address} for metrics: {why}; choose another address with --metrics")]
    MetricsAddress {
        /// The address as given.
        address: String,
        /// The system's reason.
        why: std::io::Error,
    },
    /// Serving could not start, or it stopped.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Manual pages that cannot be written.
    #[error("{0}")]
    Manual(std::io::Error),
    /// A second signal ended the program.
    #[error("stopped by a second signal before running sessions were drained")]
    Forced,
    /// A defect.
    #[error("{0}")]
    Internal(String),
}

impl NodeError {
    /// Returns the exit code of the process.
    pub fn exit(&self) -> NodeExit {
        match self {
            NodeError::Usage(_) => NodeExit::Usage,
            NodeError::NoModel { .. } => NodeExit::ModelNotFound,
            NodeError::Choose { why, .. } => choose_exit(why),
            NodeError::Hub(error) => hub_exit(error),
            NodeError::Device { .. } | NodeError::DeviceLost { .. } => NodeExit::Device,
            NodeError::Load(error) => load_exit(error),
            NodeError::Token(_) => NodeExit::Credentials,
            NodeError::Upstream(_) => NodeExit::Upstream,
            NodeError::UpstreamSetup(error) => match error {
                UpstreamError::Plaintext { .. } => NodeExit::Plaintext,
                UpstreamError::Tls { .. } => NodeExit::Credentials,
                UpstreamError::Tokenizer { .. } => NodeExit::Tokenizer,
            },
            NodeError::MetricsAddress { .. } => NodeExit::Address,
            NodeError::Serve(error) => match error {
                ServeError::Bind { .. } => NodeExit::Address,
                ServeError::Plaintext { .. } => NodeExit::Plaintext,
                ServeError::Tls(_) => NodeExit::Credentials,
                ServeError::Broken { .. } => NodeExit::Internal,
            },
            NodeError::Forced => NodeExit::Forced,
            NodeError::Manual(_) | NodeError::Internal(_) => NodeExit::Internal,
        }
    }
}

fn choose_exit(why: &ChooseError) -> NodeExit {
    match why {
        ChooseError::Missing(names) if names == TOKENIZER => NodeExit::Tokenizer,
        ChooseError::Missing(_) => NodeExit::ModelUnreadable,
        ChooseError::NoSuchFile { .. } => NodeExit::ModelNotFound,
        ChooseError::NotGguf(_) | ChooseError::Several(_) => NodeExit::Usage,
        ChooseError::Nothing => NodeExit::ModelUnsupported,
    }
}

fn hub_exit(error: &HubError) -> NodeExit {
    match error {
        HubError::Choose { why, .. } => choose_exit(why),
        HubError::BadIndex { .. } => NodeExit::ModelUnreadable,
        _ if error.is_failed_download() => NodeExit::Download,
        _ => NodeExit::ModelNotFound,
    }
}

fn load_exit(error: &LoadError) -> NodeExit {
    match error {
        LoadError::NotFound { .. } => NodeExit::ModelNotFound,
        LoadError::Architecture { .. }
        | LoadError::Family { .. }
        | LoadError::Unsupported { .. } => NodeExit::ModelUnsupported,
        LoadError::Quantisation { .. } => NodeExit::Quantisation,
        LoadError::Tokenizer(_) => NodeExit::Tokenizer,
        LoadError::Options(_) => NodeExit::Usage,
        LoadError::Device { .. }
        | LoadError::FirstPass { .. }
        | LoadError::TooLarge { .. }
        | LoadError::SessionTooLarge { .. } => NodeExit::Device,
        _ => NodeExit::ModelUnreadable,
    }
}
