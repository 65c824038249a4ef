//! Whether to colour an output when no flag decides.

use std::ffi::OsStr;

/// Returns whether to colour an output: a terminal that is not `TERM=dumb`, with `NO_COLOR` unset or empty
/// (<https://no-color.org>).
pub fn takes_colour(is_terminal: bool) -> bool {
    let variable = |name| std::env::var_os(name).unwrap_or_default();
    colour_by(is_terminal, &variable("NO_COLOR"), &variable("TERM"))
}

fn colour_by(is_terminal: bool, no_color: &OsStr, term: &OsStr) -> bool {
    is_terminal && no_color.is_empty() && term != "dumb"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let colour = |is_terminal, no_color: &str, term: &str| {
            colour_by(is_terminal, no_color.as_ref(), term.as_ref())
        };
        assert!(colour(true, "", "xterm"));
        assert!(colour(true, "", ""));
        assert!(!colour(true, "1", "xterm"));
        assert!(!colour(true, "0", "xterm"), "any value counts");
        assert!(!colour(true, "", "dumb"));
        assert!(!colour(false, "", "xterm"));
    }
}
