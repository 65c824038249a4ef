//! Exit codes: one table, and the errors that lead to them.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use thinking::thinker::{Code, Failure};

/// How the command ends, as its exit code. The numbers are documented in the help and in docs/ask.md
/// and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// The answer is complete, or was cut off by a limit the user set; also when it is degraded.
    Ok = 0,
    /// Standard output could not be written, or a defect of this program.
    Internal = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// The question is empty or not UTF-8, or cannot be read.
    Question = 3,
    /// The policy file cannot be read or holds something wrong.
    PolicyFile = 4,
    /// The journal cannot be written, or cannot be read again.
    Journal = 5,
    /// A certificate, key or token file does not work.
    Credentials = 6,
    /// No small node can be reached, or the last one was lost in mid-answer.
    Unreachable = 7,
    /// The node wants another credential.
    Unauthenticated = 8,
    /// The node speaks another version of the protocol.
    Version = 9,
    /// The answer is complete but degraded, and `--fail-degraded` was given.
    Degraded = 10,
    /// The question does not fit the model's context.
    ContextTooLong = 11,
    /// A message is larger than a limit.
    MessageTooLarge = 12,
    /// The node has no room now.
    Overloaded = 13,
    /// The deadline passed; what there was is shown.
    Deadline = 14,
    /// The node failed, or refused what it was asked.
    NodeFailed = 15,
    /// Ctrl-C; what there was is shown.
    Cancelled = 130,
}

/// The table as the help shows it.
pub(super) const HELP: &str = "\
Exit codes:
    0  the answer is complete, or cut off by --max-tokens; also when it is
       degraded (the large model had no part in some of it): see --fail-degraded
    1  standard output could not be written, or a defect of this program
    2  the arguments make no sense
    3  the question is empty, not UTF-8, or cannot be read
    4  the policy file cannot be read, or holds something wrong
    5  the journal cannot be written, or cannot be read again
    6  a certificate, key or token file does not work
    7  no small node can be reached, or the last one was lost in mid-answer
    8  a node wants another credential
    9  a node speaks another version of the protocol
   10  the answer is degraded, and --fail-degraded was given
   11  the question does not fit the model's context
   12  a message is larger than a limit
   13  the small node has no room now
   14  the deadline passed; what there was is shown
   15  the small node failed, or refused what it was asked
  130  Ctrl-C; what there was is shown";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

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
            Code::InvalidArgument | Code::Internal => Exit::NodeFailed,
        }
    }
}

/// The end of the command by an error: one line and an exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The exit code.
    pub exit: Exit,
    message: String,
}

impl Stop {
    /// An error; line breaks in the message are taken out.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Stop { exit, message }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<&Failure> for Stop {
    fn from(failure: &Failure) -> Self {
        let again = match failure.retry_after_ms {
            Some(wait_ms) => format!("; try again in {:.1} s", wait_ms as f64 / 1e3),
            None => String::new(),
        };
        Stop::new(failure.code.into(), format!("{}{again}", failure.message))
    }
}

/// Help, version, or arguments that make no sense: clap's own words.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    // A reader that went away (`specthink --help | head`) is no error.
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            Exit::Ok.into()
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::Usage.into()
        }
        _ => {
            let _ = writeln!(io::stderr(), "{}", usage_line(&error.to_string()));
            Exit::Usage.into()
        }
    }
}

/// Clap's message in one line, with its tip and without the usage.
fn usage_line(message: &str) -> String {
    let said = |part: &&str| !part.starts_with("Usage:") && !part.starts_with("For more");
    let parts = message.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).filter(said);
    let line = parts.collect::<Vec<_>>().join("; ");
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{line}; see --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_code_once() {
        let all = [
            Exit::Ok,
            Exit::Internal,
            Exit::Usage,
            Exit::Question,
            Exit::PolicyFile,
            Exit::Journal,
            Exit::Credentials,
            Exit::Unreachable,
            Exit::Unauthenticated,
            Exit::Version,
            Exit::Degraded,
            Exit::ContextTooLong,
            Exit::MessageTooLarge,
            Exit::Overloaded,
            Exit::Deadline,
            Exit::NodeFailed,
            Exit::Cancelled,
        ];
        let listed: Vec<u8> =
            HELP.lines().filter_map(|line| line.get(..5)?.trim().parse().ok()).collect();
        assert_eq!(listed, all.map(|exit| exit as u8));
    }

    #[test]
    fn an_error_is_one_line() {
        let failure = Failure {
            retry_after_ms: Some(1500),
            ..Failure::new(Code::Overloaded, "full:\n  64 sessions")
        };
        let stop = Stop::from(&failure);
        assert_eq!(stop.to_string(), "full: 64 sessions; try again in 1.5 s");
        assert_eq!(stop.exit, Exit::Overloaded);
    }
}
