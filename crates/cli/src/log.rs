//! The log of the commands.

use flags::LogFormat;
use traces::TraceExporter;

use crate::exit::{CliError, Exit};

/// The filters without `-v`, with one and with two. By default only a changed file that cannot be used is logged.
const LEVELS: [&str; 3] = [
    "off,reload=warn",
    "coordinator=info,reload=info,serve=info,transport=info,upstream=info",
    "coordinator=debug,flags=debug,reload=debug,serve=debug,transport=debug,upstream=debug",
];

/// Starts the log on standard error, as `-v` and its variables ask for. The exporter takes its spans from it.
///
/// When a variable does not hold a valid filter.
pub fn start_logging(
    verbose: u8,
    format: LogFormat,
    exporter: Option<&TraceExporter>,
) -> Result<(), CliError> {
    let spans = exporter.and_then(TraceExporter::layer);
    flags::start_logging(verbose, format, LEVELS, spans)
        .map_err(|error| CliError::new(Exit::Usage, error))
}
