//! Which exit code each error of a library leads to.

use answer::prices::PricesError;
use grading::dataset::DatasetError;
use hub::HubError;
use runs::EvalError;
use thinking::thinker::{Code, Failure};
use transport::{RemoteError, TlsError};
use upstream::UpstreamError;

use crate::{
    endpoints::EndpointsError,
    exit::{CliError, Exit},
};

impl From<Code> for Exit {
    fn from(code: Code) -> Self {
        match code {
            Code::UnsupportedVersion => Exit::Version,
            Code::ContextTooLong => Exit::ContextTooLong,
            Code::MessageTooLarge => Exit::MessageTooLarge,
            Code::Unauthenticated => Exit::Unauthenticated,
            Code::Overloaded => Exit::Overloaded,
            Code::Unavailable => Exit::Unreachable,
            Code::DeadlineExceeded => Exit::Deadline,
            Code::Template => Exit::Template,
            Code::InvalidArgument | Code::Internal => Exit::NodeFailed,
        }
    }
}

impl From<&RemoteError> for Exit {
    fn from(error: &RemoteError) -> Self {
        match error {
            RemoteError::Plaintext { .. } => Exit::Usage,
            RemoteError::Tls(_) => Exit::Credentials,
        }
    }
}

impl From<&UpstreamError> for Exit {
    fn from(error: &UpstreamError) -> Self {
        match error {
            UpstreamError::Plaintext { .. } | UpstreamError::Tokenizer { .. } => Exit::Usage,
            UpstreamError::Tls { .. } => Exit::Credentials,
        }
    }
}

impl From<&HubError> for Exit {
    fn from(error: &HubError) -> Self {
        if error.is_failed_download() { Exit::Download } else { Exit::Usage }
    }
}

impl From<&EvalError> for Exit {
    fn from(error: &EvalError) -> Self {
        match error {
            EvalError::Grade { .. } => Exit::Grader,
            EvalError::Policy(_) => Exit::Usage,
            _ => Exit::Journal,
        }
    }
}

impl From<PricesError> for CliError {
    fn from(error: PricesError) -> Self {
        CliError::new(Exit::Usage, error)
    }
}

impl From<EndpointsError> for CliError {
    fn from(error: EndpointsError) -> Self {
        CliError::new(Exit::Usage, error)
    }
}

impl From<RemoteError> for CliError {
    fn from(error: RemoteError) -> Self {
        CliError::new(Exit::from(&error), error)
    }
}

impl From<TlsError> for CliError {
    fn from(error: TlsError) -> Self {
        CliError::new(Exit::Credentials, error)
    }
}

impl From<UpstreamError> for CliError {
    fn from(error: UpstreamError) -> Self {
        CliError::new(Exit::from(&error), error)
    }
}

impl From<DatasetError> for CliError {
    fn from(error: DatasetError) -> Self {
        CliError::new(Exit::DataSet, error)
    }
}

impl From<EvalError> for CliError {
    fn from(error: EvalError) -> Self {
        CliError::new(Exit::from(&error), error)
    }
}

impl From<&Failure> for CliError {
    fn from(failure: &Failure) -> Self {
        let again = match failure.retry_after_ms {
            Some(wait_ms) => format!("; try again in {:.1} s", wait_ms as f64 / 1e3),
            None => String::new(),
        };
        CliError::new(failure.code.into(), format!("{}{again}", failure.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line() {
        let failure = Failure {
            retry_after_ms: Some(1500),
            ..Failure::new(Code::Overloaded, "full:\n  64 sessions")
        };
        let error = CliError::from(&failure);
        assert_eq!(error.to_string(), "full: 64 sessions; try again in 1.5 s");
        assert_eq!(error.exit, Exit::Overloaded);
        let error = CliError::new(Exit::DataSet, "no file x\x1b]0;title\x07\u{202e}");
        assert_eq!(error.to_string(), "no file x\u{fffd}]0;title\u{fffd}\u{fffd}");
    }
}
