//! The log of a command.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

/// The log goes to standard error and is off by default: `-v` turns it on, or a filter in
/// `SPECTHINK_LOG`, or in `RUST_LOG` where that is unset.
pub fn start_logging(verbose: u8) {
    let ours = match verbose {
        0 => "off",
        1 => "coordinator=info,transport=info",
        _ => "coordinator=debug,transport=debug",
    };
    let named = || std::env::var("SPECTHINK_LOG").or_else(|_| std::env::var("RUST_LOG")).ok();
    let filter = match verbose {
        0 => named().and_then(|filter| EnvFilter::try_new(filter).ok()),
        _ => None,
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(ours)))
        .with_writer(stderr)
        .with_ansi(flags::takes_colour(stderr().is_terminal()));
    // A second start in one process (tests) keeps the first log.
    let _ = log.try_init();
}
