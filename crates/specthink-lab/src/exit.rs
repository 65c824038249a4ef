//! The exit code of each error of the lab.

use std::fmt::Display;

use cli::{CliError, Exit};
use lab::{
    calibrate::CalibrateError,
    link::{LinkError, NotUp},
    replay::ReplayError,
    report::ReportError,
    sizing::SizingError,
    sweep::{SweepError, SweepRunError},
};
use machines::MachineError;

/// An error that ends the command.
pub(crate) trait Ends: Display {
    /// Returns the exit code for it.
    fn exit(&self) -> Exit;
}

/// Converts an error of the lab to an error of the command.
pub(crate) fn cli_error(error: impl Ends) -> CliError {
    CliError::new(error.exit(), error)
}

impl Ends for LinkError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Ends for ReplayError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Ends for NotUp {
    fn exit(&self) -> Exit {
        match self {
            NotUp::Loopback(_) => Exit::Unreachable,
            NotUp::Netem(_) => Exit::Usage,
        }
    }
}

impl Ends for CalibrateError {
    fn exit(&self) -> Exit {
        match self {
            CalibrateError::NotUp(error) => error.exit(),
            _ => Exit::Unreachable,
        }
    }
}

impl Ends for SweepError {
    fn exit(&self) -> Exit {
        Exit::Journal
    }
}

impl Ends for SweepRunError {
    fn exit(&self) -> Exit {
        match self {
            SweepRunError::Folder(error) => error.exit(),
            SweepRunError::Run(error) => error.into(),
            SweepRunError::Link(error) => error.exit(),
            SweepRunError::Remote(error) => error.into(),
            SweepRunError::NoNode { failure, .. }
            | SweepRunError::NoNodeOverLink { failure, .. } => failure.code.into(),
        }
    }
}

impl Ends for ReportError {
    fn exit(&self) -> Exit {
        match self {
            ReportError::Draw(_) => Exit::Internal,
            ReportError::Sweep(_) | ReportError::Write { .. } => Exit::Journal,
        }
    }
}

impl Ends for MachineError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Ends for SizingError {
    fn exit(&self) -> Exit {
        match self {
            SizingError::NoTraces => Exit::Journal,
            _ => Exit::Usage,
        }
    }
}
