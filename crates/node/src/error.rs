//! What can go wrong with a node, each in one line, and the exit codes that scripts tell it by.

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
    /// Arguments.
    Usage = 2,
    /// No such model.
    ModelNotFound = 3,
    /// A model's files cannot be read.
    ModelUnreadable = 4,
    /// A model that the engine does not compute.
    ModelUnsupported = 5,
    /// No download.
    Download = 6,
    /// The address.
    Address = 7,
    /// TLS files, token.
    Credentials = 8,
    /// Plain text to other machines.
    Plaintext = 9,
    /// The device.
    Device = 10,
    /// The second signal.
    Forced = 11,
    /// A model's tokenizer.
    Tokenizer = 12,
    /// A form of weights that the engine does not compute with.
    Quantisation = 13,
    /// The server that should compute the model.
    Upstream = 14,
}

impl NodeExit {
    /// All of them, in order.
    pub const ALL: &'static [NodeExit] = NodeExit::VARIANTS;

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            NodeExit::Ok => "stopped by a signal, or while loading; sessions were drained",
            NodeExit::Internal => "a defect or a broken listener",
            NodeExit::Usage => "wrong arguments",
            NodeExit::ModelNotFound => {
                "model not found: no such file, repository, revision or cached copy, or no model in it"
            }
            NodeExit::ModelUnreadable => "model files missing in part, truncated or damaged",
            NodeExit::ModelUnsupported => "architecture or file format not supported",
            NodeExit::Download => "download failed: network, refused by the hub, disk full",
            NodeExit::Address => "address taken or not usable",
            NodeExit::Credentials => "TLS files or token not usable",
            NodeExit::Plaintext => "plain text off this machine without --insecure",
            NodeExit::Device => "device not there or out of memory",
            NodeExit::Forced => "a second signal ended it before sessions were drained",
            NodeExit::Tokenizer => "tokenizer missing, damaged or of a kind not supported",
            NodeExit::Quantisation => "quantisation of the weights not supported",
            NodeExit::Upstream => "the server of --upstream not reachable, or it refuses",
        }
    }
}

/// A node that could not be configured, started or kept running. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(String),
    /// `--model` is neither there nor a name.
    #[error(
        "no model at {path}: there is no such file or folder, and it is no OWNER/NAME of a Hugging \
         Face repository either; {mend}"
    )]
    NoModel {
        /// What was given.
        path: String,
        /// What to do.
        mend: String,
    },
    /// A folder in which no file could be chosen.
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
    /// A model that could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A token that cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A server that does not answer, or refuses.
    #[error(transparent)]
    Upstream(#[from] Failure),
    /// A server that may not be asked, or not so.
    #[error(transparent)]
    UpstreamSetup(#[from] UpstreamError),
    /// The address for what is counted cannot be listened on.
    #[error("cannot listen on {address} for metrics: {why}; choose another address with --metrics")]
    MetricsAddress {
        /// What was asked for.
        address: String,
        /// The system's reason.
        why: std::io::Error,
    },
    /// Serving that cannot begin, or that broke.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Manual pages that cannot be written.
    #[error("{0}")]
    Manual(std::io::Error),
    /// The second signal.
    #[error("a second signal came: stopped before running sessions were drained")]
    Forced,
    /// A defect.
    #[error("{0}")]
    Internal(String),
}

impl NodeError {
    /// The code that the process ends with.
    pub fn exit(&self) -> NodeExit {
        match self {
            NodeError::Usage(_) => NodeExit::Usage,
            NodeError::NoModel { .. } => NodeExit::ModelNotFound,
            NodeError::Choose { why, .. } => choose_exit(why),
            NodeError::Hub(error) => hub_exit(error),
            NodeError::Device { .. } => NodeExit::Device,
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
        | LoadError::TooLarge { .. }
        | LoadError::SessionTooLarge { .. } => NodeExit::Device,
        _ => NodeExit::ModelUnreadable,
    }
}
