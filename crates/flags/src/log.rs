//! The log of a program, on standard error, and what of it is shown.

use std::{
    env,
    io::{IsTerminal as _, stderr},
    str::FromStr,
};

use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::ParseError, fmt, layer::SubscriberExt as _, registry,
    util::SubscriberInitExt as _,
};

/// The variables that hold a filter; the first one that is set and not empty counts.
const VARIABLES: [&str; 2] = ["SPECTHINK_LOG", "RUST_LOG"];

/// A variable that should hold a filter of the log and holds something else. One line.
#[derive(Debug, thiserror::Error)]
#[error(
    "{variable} '{}' is no filter of the log: {why}; write one such as transport=debug, or unset it",
    filter.escape_debug()
)]
pub struct BadLogFilter {
    variable: &'static str,
    filter: String,
    why: ParseError,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is no format of the log. One line.
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

/// Starts the log. It shows what the filter in `SPECTHINK_LOG` says, or in `RUST_LOG` where that is unset, or else the
/// filter of `levels` for as many `-v` as were given; the last one is for more of them too. `beside` sees everything,
/// whatever the log shows.
///
/// # Errors
/// When the variable holds no filter.
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
    // A second start in one process (tests) keeps the first log.
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

    /// What is shown with so many `-v` and these variables.
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
            assert!(line.starts_with(&format!("{name} 'a=b=c' is no filter")), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }
}
