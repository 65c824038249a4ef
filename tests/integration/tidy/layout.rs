//! The rules for the shape of Rust files: headers, lengths, widths.

use super::{
    MAX_WIDTH, expect_none,
    source::{self, functions},
};

/// A file must have fewer lines than this.
const FILE_LINES: usize = 500;

/// The maximum number of lines of a function, without its doc comment. Test code is exempt.
const FUNCTION_LINES: usize = 70;

#[test]
fn every_file_begins_with_a_header() {
    let offences: Vec<String> = source::all()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| {
            format!(
                "{}:1: header: begin with `//!`: what lives here, and what does not",
                source.path
            )
        })
        .collect();
    expect_none(&offences);
}

#[test]
fn files_and_functions_are_short() {
    let mut offences = Vec::new();
    for source in source::all() {
        let lines = source.text.lines().count();
        if lines >= FILE_LINES {
            offences.push(format!(
                "{}:{lines}: length: {lines} lines, a file has fewer than {FILE_LINES}: split it by purpose",
                source.path
            ));
        }
        for function in functions(&source.production()) {
            if function.length > FUNCTION_LINES {
                offences.push(format!(
                    "{}:{}: length: `{}` has {} lines, a function has at most {FUNCTION_LINES}: split it",
                    source.path, function.line, function.name, function.length
                ));
            }
        }
    }
    expect_none(&offences);
}

#[test]
fn lines_of_code_are_narrow() {
    let mut offences = Vec::new();
    for source in source::all() {
        for (number, line) in (1..).zip(source.text.lines()) {
            let width = line.chars().count();
            if width > MAX_WIDTH && !is_data(line, source.is_test()) {
                offences.push(format!(
                    "{}:{number}: width: {width} characters, a line has at most {MAX_WIDTH}: wrap \
                     it by hand, since rustfmt leaves comments and strings alone",
                    source.path
                ));
            }
        }
    }
    expect_none(&offences);
}

/// Returns whether a line holds data that wrapping would change or hide: a row of a table, a raw
/// string, a string that a test compares.
fn is_data(line: &str, is_test: bool) -> bool {
    let text = line.trim_start();
    let is_row = text.trim_start_matches('"').starts_with("| ");
    let is_raw = line.contains("r\"") || line.contains("r#\"");
    is_row || is_raw || (is_test && line.contains('"') && !text.starts_with("//"))
}

mod tests {
    use super::is_data;

    #[test]
    fn data_may_be_wide_and_comments_may_not() {
        for (line, is_test, expected) in [
            ("| link | RTT |", false, true),
            ("    \"| {} | {} |\",", false, true),
            ("const PATTERN: &str = r\"\\s+\";", false, true),
            ("    \"a message\"", false, false),
            ("    let yaml = \"a: b\";", true, true),
            ("    // A \"comment\".", true, false),
            ("    let sum = a + b;", true, false),
        ] {
            assert_eq!(is_data(line, is_test), expected, "{line}");
        }
    }
}
