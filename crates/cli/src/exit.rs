//! The table of exit codes, and how a command ends with one of them.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use flags::usage_line;
use strum::VariantArray;
use thinking::shown::one_line;

/// How a command ends, as its exit code. The numbers never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
#[repr(u8)]
pub enum Exit {
    /// The answer is complete, or was cut off by a limit.
    Ok = 0,
    /// Standard output cannot be written, or a bug.
    Internal = 1,
    /// Invalid arguments.
    Usage = 2,
    /// No readable question.
    Question = 3,
    /// The policy file.
    PolicyFile = 4,
    /// The journal.
    Journal = 5,
    /// A TLS file or a token.
    Credentials = 6,
    /// No small node was reached.
    Unreachable = 7,
    /// A refused credential.
    Unauthenticated = 8,
    /// Another version of the protocol.
    Version = 9,
    /// `--fail-degraded`.
    Degraded = 10,
    /// A question that does not fit.
    ContextTooLong = 11,
    /// A message over the limit.
    MessageTooLarge = 12,
    /// No room on the node.
    Overloaded = 13,
    /// The deadline.
    Deadline = 14,
    /// A failure on the node.
    NodeFailed = 15,
    /// The last small node was lost.
    Lost = 16,
    /// A question that is not UTF-8.
    Encoding = 17,
    /// The chat template.
    Template = 18,
    /// `eval`'s data set.
    DataSet = 19,
    /// `eval`'s grader.
    Grader = 20,
    /// `serve`'s address.
    Listen = 21,
    /// `serve`'s configuration file.
    Configuration = 22,
    /// A failed download.
    Download = 23,
    /// What `doctor` or `probe` found.
    Unhealthy = 24,
    /// A signal.
    Cancelled = 130,
}

impl Exit {
    /// Returns its meaning, in a few words.
    fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => {
                "the answer is complete, or cut off by --max-tokens, a full context or a loop; also when degraded"
            }
            Exit::Internal => "standard output could not be written, or this program has a bug",
            Exit::Usage => "the arguments are invalid",
            Exit::Question => "the question is empty or cannot be read",
            Exit::PolicyFile => "the policy file cannot be read or is invalid",
            Exit::Journal => {
                "the journal or log already exists, cannot be written or read, or belongs to another run"
            }
            Exit::Credentials => {
                "a certificate, key or token file does not work, or already exists"
            }
            Exit::Unreachable => "no small node can be reached, or what answers there is not one",
            Exit::Unauthenticated => "a node refused the credential",
            Exit::Version => "a node speaks another version of the protocol",
            Exit::Degraded => "the answer is degraded, and --fail-degraded was given",
            Exit::ContextTooLong => "the question does not fit the model's context",
            Exit::MessageTooLarge => "a message exceeds a size limit",
            Exit::Overloaded => "the small node has no room at the moment",
            Exit::Deadline => "the deadline passed; the text so far is shown",
            Exit::NodeFailed => "the small node failed, or refused the request",
            Exit::Lost => "the last small node was lost in mid-answer; the text so far is shown",
            Exit::Encoding => "the question is not UTF-8",
            Exit::Template => "the model's chat template is missing or fails",
            Exit::DataSet => "the data set cannot be read, or has a broken line",
            Exit::Grader => "the grader cannot be started, or failed",
            Exit::Listen => {
                "the server cannot listen on the address, or may not without keys and TLS"
            }
            Exit::Configuration => "the configuration file cannot be read or is invalid",
            Exit::Download => {
                "the download of a tokenizer failed: network, refused by the hub, disk full"
            }
            Exit::Unhealthy => "doctor or probe found something that does not work",
            Exit::Cancelled => "Ctrl-C or another signal; the text so far is shown",
        }
    }
}

/// Returns the table, as the help shows it.
pub fn help() -> String {
    let row = |exit: &Exit| format!("\n  {:>3}  {}", *exit as u8, exit.meaning());
    let rows: String = Exit::VARIANTS.iter().map(row).collect();
    format!("Exit codes:{rows}")
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// An error that ends the command: one line and an exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    message: String,
}

impl CliError {
    /// Creates an error. Its message becomes one line that is safe to show, whatever names and reasons it contains.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        CliError { exit, message: one_line(&message.to_string()) }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Prints how a command failed, and returns its exit code.
pub fn fail(error: &CliError) -> ExitCode {
    // If standard error is closed too, there is nobody left to report to.
    let _ = writeln!(io::stderr(), "error: {error}");
    error.exit.into()
}

/// Handles what clap reports: prints the help, the version, or what is wrong with the arguments.
pub fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    // A reader that went away (`specthink --help | head`) is not an error.
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
            let line = one_line(&usage_line(&error.to_string()));
            let tip = if is_word_too_many(error) {
                "; put several words, such as a question, in quotes"
            } else {
                ""
            };
            let _ = writeln!(io::stderr(), "{line}{tip}; see --help");
            Exit::Usage.into()
        }
    }
}

/// Returns whether there are too many arguments, as with a question that is not in quotes.
fn is_word_too_many(error: &clap::Error) -> bool {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let word = error.get(ContextKind::InvalidArg);
    error.kind() == ErrorKind::UnknownArgument
        && matches!(word, Some(ContextValue::String(word)) if !word.starts_with('-'))
}

/// Returns, in one line, what is wrong with arguments that did not come from the command line.
pub fn argument_fault(error: &clap::Error) -> String {
    let line = one_line(&usage_line(&error.to_string()));
    line.strip_prefix("error: ").map_or(line.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_code_and_no_other() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ask.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, codes) = text.split_once("## Exit codes").unwrap();
        let rows: Vec<&str> = codes
            .lines()
            .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
            .collect();
        let row = |exit: &Exit| format!("| {} | {} |", *exit as u8, exit.meaning());
        assert_eq!(rows, Exit::VARIANTS.iter().map(row).collect::<Vec<_>>());
        assert!(Exit::VARIANTS.is_sorted_by_key(|exit| *exit as u8), "each number once, in order");
    }
}
