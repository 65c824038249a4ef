//! Rust files as the rules see them: lines, functions and public types, recognised by the layout that rustfmt produces.
//!
//! This is not a parser. An item ends at the first closing brace with the indentation of its first line, which rustfmt
//! guarantees and CI checks.

use std::sync::LazyLock;

use super::{arrows::members, files, read};

/// A Rust file of the workspace.
pub(super) struct Source {
    /// Relative to the root of the checkout.
    pub(super) path: String,
    pub(super) text: String,
}

/// A function with a body.
#[derive(Debug, PartialEq)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    /// The line number of its first line.
    pub(super) line: usize,
    /// How many lines it has, from the first to its closing brace.
    pub(super) length: usize,
}

/// A `pub` type.
#[derive(Debug, PartialEq)]
pub(super) struct PublicType<'a> {
    pub(super) name: &'a str,
    pub(super) line: usize,
}

/// A line of a file and its number, counted from 1.
type Line<'a> = (usize, &'a str);

/// Returns every Rust file of every workspace member.
pub(super) fn all() -> &'static [Source] {
    static ALL: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let paths = members().into_iter().flat_map(|member| files(&member, "rs"));
        paths.map(|path| Source { text: read(&path), path }).collect()
    });
    &ALL
}

impl Source {
    /// Returns whether the whole file is test, bench or example code.
    pub(super) fn is_test(&self) -> bool {
        let file = self.path.rsplit('/').next().unwrap_or_default();
        file.ends_with("tests.rs")
            || self.path.split('/').any(|part| ["tests", "benches", "examples"].contains(&part))
    }

    /// Returns the lines of the file that are not test code.
    pub(super) fn production(&self) -> Vec<Line<'_>> {
        if self.is_test() { Vec::new() } else { without_tests(&self.text) }
    }
}

/// Returns the lines of a text without the items marked `#[cfg(test)]`.
fn without_tests(text: &str) -> Vec<Line<'_>> {
    let lines: Vec<Line<'_>> = (1..).zip(text.lines()).collect();
    let (mut kept, mut at) = (Vec::new(), 0);
    while let Some((_, line)) = lines.get(at) {
        if line.trim_start().starts_with("#[cfg(test)]") {
            while lines.get(at).is_some_and(|(_, line)| line.trim_start().starts_with("#[")) {
                at += 1;
            }
            at = end(&lines, at) + 1;
        } else {
            kept.push(lines[at]);
            at += 1;
        }
    }
    kept
}

/// Returns the functions with bodies, including nested ones and methods.
pub(super) fn functions<'a>(lines: &[Line<'a>]) -> Vec<Function<'a>> {
    let mut found = Vec::new();
    for (at, (line, text)) in lines.iter().enumerate() {
        let Some(name) = declared(text, &["fn"]) else { continue };
        let last = end(lines, at);
        if lines[last].1.ends_with('}') {
            found.push(Function { name, line: *line, length: lines[last].0 - line + 1 });
        }
    }
    found
}

/// Returns the types that are `pub`, but not `pub(..)`.
pub(super) fn public_types<'a>(lines: &[Line<'a>]) -> Vec<PublicType<'a>> {
    lines
        .iter()
        .filter(|(_, text)| text.trim_start().starts_with("pub "))
        .filter_map(|(line, text)| {
            let name = declared(text, &["struct", "enum", "trait", "type", "union"])?;
            Some(PublicType { name, line: *line })
        })
        .collect()
}

/// Returns the name that a line declares with one of these keywords, after any qualifiers.
fn declared<'a>(text: &'a str, keywords: &[&str]) -> Option<&'a str> {
    let mut words = text.split_whitespace();
    let keyword = words.find(|word| {
        let qualifier = ["pub", "const", "async", "unsafe", "extern", "default", "\"C\""];
        !(qualifier.contains(word) || word.starts_with("pub(") && word.ends_with(')'))
    })?;
    let name = words.next().filter(|_| keywords.contains(&keyword))?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// Returns the index of the last line of the item that begins at this index.
fn end(lines: &[Line<'_>], first: usize) -> usize {
    let Some((_, head)) = lines.get(first) else { return lines.len().saturating_sub(1) };
    let closes = |text: &str| text.ends_with('}') || text.ends_with(';');
    if closes(head) {
        return first;
    }
    let ends = |(_, text): &Line<'_>| {
        indent(text) == indent(head) && (text.trim_start().starts_with('}') || closes(text))
    };
    let after = lines[first + 1..].iter().position(ends);
    after.map_or(lines.len() - 1, |after| first + 1 + after)
}

fn indent(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

mod tests {
    use super::*;

    const FILE: &str = "\
//! A file.

pub struct Open<T> {
    field: T,
}

pub(crate) struct Inner;

/// pub struct NotInComments;
pub trait Port {
    fn declared(
        &self,
    ) -> u8;

    fn given(&self) {}
}

pub type Short = Open<u8>;

impl Open<u8> {
    pub const fn long(
        self,
    ) -> u8
    where
        Self: Sized,
    {
        fn nested() {
            //
        }
        let pattern = if self.field == 0 {
            1
        } else {
            2
        };
        pattern
    }
}

#[cfg(test)]
mod far;

#[cfg(test)]
#[allow(dead_code)]
mod tests {
    pub struct OfTests;

    fn of_tests() {
    }
}

pub async unsafe fn last() {
}
";

    #[test]
    fn functions_are_measured_from_the_first_line_to_the_closing_brace() {
        let lines = without_tests(FILE);
        let found: Vec<(&str, usize, usize)> =
            functions(&lines).iter().map(|f| (f.name, f.line, f.length)).collect();
        let expected = [("given", 15, 1), ("long", 21, 16), ("nested", 27, 3), ("last", 51, 2)];
        assert_eq!(found, expected);
    }

    #[test]
    fn public_types_are_those_that_are_pub_without_limits() {
        let lines = without_tests(FILE);
        let found: Vec<(&str, usize)> =
            public_types(&lines).iter().map(|t| (t.name, t.line)).collect();
        assert_eq!(found, [("Open", 3), ("Port", 10), ("Short", 18)]);
    }

    #[test]
    fn an_item_that_never_ends_takes_the_rest_of_the_file() {
        assert_eq!(
            without_tests("fn a() {}\n#[cfg(test)]\nmod tests {\n    x"),
            [(1, "fn a() {}")]
        );
        assert_eq!(without_tests("#[cfg(test)]"), []);
        assert_eq!(functions(&[(1, "fn a() {"), (2, "    x")]), []);
    }

    #[test]
    fn test_code_is_known_by_its_path() {
        for (path, is_test) in [
            ("crates/lab/src/link.rs", false),
            ("crates/lab/src/link/pump/tests.rs", true),
            ("crates/engine/src/sample_tests.rs", true),
            ("crates/thinking/src/testing/fake.rs", false),
            ("crates/node/tests/hub.rs", true),
            ("crates/engine/examples/speed.rs", true),
        ] {
            let source = Source { path: path.to_owned(), text: String::new() };
            assert_eq!(source.is_test(), is_test, "{path}");
        }
    }
}
