//! Why a sweep cannot start or continue: its folder, its nodes, a link, a run over the data set.

use std::{io, path::PathBuf};

use runs::EvalError;
use thinking::thinker::Failure;
use transport::RemoteError;

use crate::link::NotUp;

/// Why a sweep's folder cannot be used. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A file or folder cannot be read or written.
    #[error("cannot use {}: {why}; give --out a readable and writable folder", path.display())]
    Files {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// The folder holds something else.
    #[error("{} holds no sweep: {why}; give --out an empty or a new folder", path.display())]
    NotASweep {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The folder has no results to read.
    #[error("{} holds no sweep: {why}; give a folder that `specthink-lab sweep` wrote", path.display())]
    NotResults {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Results of several data sets.
    #[error(
        "{} is of another data set than {}, so their answers cannot be compared: report on them one by one",
        path.display(),
        first.display()
    )]
    OtherDataSet {
        /// The folder.
        path: PathBuf,
        /// The one that it differs from.
        first: PathBuf,
    },
    /// The folder belongs to another experiment.
    #[error(
        "{} is of an experiment with another {what}: give --out another folder, or the settings that it began with",
        path.display()
    )]
    OtherExperiment {
        /// The folder.
        path: PathBuf,
        /// The first setting that differs.
        what: &'static str,
    },
    /// Another sweep writes it.
    #[error("another sweep is writing to {}: wait for it, or give --out another folder", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}

/// Why a sweep cannot start or continue. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum SweepRunError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Folder(#[from] SweepError),
    /// A cell's log or journal cannot be used, or nothing can be graded.
    #[error(transparent)]
    Run(#[from] EvalError),
    /// A link cannot be set up.
    #[error(transparent)]
    Link(#[from] NotUp),
    /// A node may not be reached in plain text, or a TLS file is unusable.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A node does not answer before the sweep starts.
    #[error("{node}: {failure}; {remedy}")]
    NoNode {
        /// Its role, and its pair.
        node: String,
        /// Why not.
        failure: Failure,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The large node does not answer over a link.
    #[error(
        "large node over the link {link}: {failure}; it answers without the link, so give one with less loss or delay"
    )]
    NoNodeOverLink {
        /// The link's name.
        link: String,
        /// Why not.
        failure: Failure,
    },
}
