//! The log of a program, on standard error, and the filter that decides what it shows.

use std::{
    env,
    io::{IsTerminal as _, stderr},
    str::FromStr,
};

use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::ParseError, fmt, layer::SubscriberExt as _, registry,
    util::SubscriberInitExt as _,
};

/// The variables that may hold a filter. The first one that is set and not empty counts.
const VARIABLES: [&str; 2] = ["SPECTHINK_LOG", "RUST_LOG"];

/// A variable whose value is not a valid log filter. One line.
#[derive(Debug, thiserror::Error)]
#[error(
    "{variable} '{}' is not a log filter: {why}; write one such as transport=debug, or unset it",
    filter.escape_debug()
)]
pub struct BadLogFilter {
    variable: &'static str,
    filter: String,
    why: ParseError,
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// A text that is not a log format. One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write text or json")]
pub struct BadLogFormat;

impl FromStr for LogFormat {
    type Err = BadLogFormat;

    fn from_str(text: &str) -> Result<Self, BadLogFormat> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(BadLogFormat),
        }
    }
}

/// Starts the log. It shows what the filter in `SPECTHINK_LOG` selects, or else in `RUST_LOG`, or else the filter of
/// `levels` for this many `-v`; more of them than there are levels mean the last one. `beside` receives everything,
/// whatever the log shows.
///
/// When a variable does not hold a valid filter.
pub fn start_logging(
    verbose: u8,
    format: LogFormat,
    levels: [&str; 3],
    beside: Option<Box<dyn Layer<Registry> + Send + Sync>>,
) -> Result<(), BadLogFilter> {
    let variable = |name: &str| Some(env::var_os(name)?.to_string_lossy().into_owned());
    let filter = filter(verbose, levels, variable)?;
    let lines = fmt::layer().with_writer(stderr);
    let lines = match format {
        LogFormat::Text => {
            lines.with_ansi(crate::takes_colour(stderr().is_terminal())).with_filter(filter).boxed()
        }
        LogFormat::Json => lines.with_ansi(false).json().with_filter(filter).boxed(),
    };
    let log = registry().with(beside.into_iter().chain([lines]).collect::<Vec<_>>());
    // If the log is started twice in one process (in tests), the first one stays.
    let _ = log.try_init();
    Ok(())
}

fn filter(
    verbose: u8,
    levels: [&str; 3],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<EnvFilter, BadLogFilter> {
    for name in VARIABLES {
        if let Some(filter) = variable(name).filter(|filter| !filter.is_empty()) {
            return EnvFilter::try_new(&filter).map_err(|why| BadLogFilter {
                variable: name,
                filter,
                why,
            });
        }
    }
    Ok(EnvFilter::new(levels[usize::from(verbose).min(levels.len() - 1)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [&str; 3] = ["warn", "info", "debug"];

    /// Returns the filter for this many `-v` and these variables.
    fn shown(verbose: u8, ours: Option<&str>, usual: Option<&str>) -> Result<String, BadLogFilter> {
        let variable = |name: &str| match name {
            "SPECTHINK_LOG" => ours.map(str::to_owned),
            "RUST_LOG" => usual.map(str::to_owned),
            _ => None,
        };
        filter(verbose, LEVELS, variable).map(|filter| filter.to_string())
    }

    #[test]
    fn the_log_is_what_our_variable_says_then_the_usual_one_then_the_flag() {
        for (verbose, ours, usual, filter) in [
            (2, Some("transport=debug"), Some("trace"), "transport=debug"),
            (2, None, Some("node=trace"), "node=trace"),
            (1, Some(""), Some(""), "info"),
            (0, None, None, "warn"),
            (2, None, None, "debug"),
            (9, None, None, "debug"),
        ] {
            assert_eq!(shown(verbose, ours, usual).unwrap(), filter, "{ours:?} {usual:?}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_its_variable() {
        for (name, refused) in [
            ("SPECTHINK_LOG", shown(1, Some("a=b=c"), Some("info"))),
            ("RUST_LOG", shown(1, None, Some("a=b=c"))),
        ] {
            let line = refused.unwrap_err().to_string();
            assert!(line.starts_with(&format!("{name} 'a=b=c' is not a log filter")), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_one_line() {
        let refused = shown(1, Some("a=b=c"), None).unwrap_err();
        insta::assert_snapshot!(error_lines::lines([refused]));
    }
}
