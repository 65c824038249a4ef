//! What the commands log.

use flags::LogFormat;

use crate::exit::{CliError, Exit};

/// What is logged without `-v`, with it, and with two: nothing unless asked for.
const LEVELS: [&str; 3] = [
    "off",
    "coordinator=info,serve=info,transport=info,upstream=info",
    "coordinator=debug,flags=debug,serve=debug,transport=debug,upstream=debug",
];

/// Starts the log on standard error, as `-v` and the variables for it say.
///
/// # Errors
/// When a variable holds no filter.
pub fn start_logging(verbose: u8, format: LogFormat) -> Result<(), CliError> {
    flags::start_logging(verbose, format, LEVELS).map_err(|error| CliError::new(Exit::Usage, error))
}
