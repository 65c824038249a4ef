//! What the commands log.

use flags::LogFormat;
use traces::TraceExporter;

use crate::exit::{CliError, Exit};

/// What is logged without `-v`, with it, and with two: unless asked for, only that a file changed and cannot be used.
const LEVELS: [&str; 3] = [
    "off,reload=warn",
    "coordinator=info,reload=info,serve=info,transport=info,upstream=info",
    "coordinator=debug,flags=debug,reload=debug,serve=debug,transport=debug,upstream=debug",
];

/// Starts the log on standard error, as `-v` and the variables for it say. The exporter takes its spans from it.
///
/// # Errors
/// When a variable holds no filter.
pub fn start_logging(
    verbose: u8,
    format: LogFormat,
    exporter: Option<&TraceExporter>,
) -> Result<(), CliError> {
    let spans = exporter.and_then(TraceExporter::layer);
    flags::start_logging(verbose, format, LEVELS, spans)
        .map_err(|error| CliError::new(Exit::Usage, error))
}
