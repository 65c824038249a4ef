//! Adds a policy's line to a configuration file of `serve`, without changing the rest of the file.

use std::{fs, io, path::Path};

use cli::{CliError, Exit};
use toml::{Table, Value};

/// The name of the table of policies.
const POLICIES: &str = "policies";
const HEAD: &str = "[policies]";

/// A named policy, and the comment above its line.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) policy: &'a str,
    /// The lines of the comment.
    pub(super) comment: Vec<String>,
}

impl Entry<'_> {
    /// Returns the comment and the policy's line.
    fn lines(&self) -> String {
        let comment = self.comment.iter().map(|line| format!("# {line}\n")).collect::<String>();
        let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        let key = match self.name.chars().all(is_bare) {
            true => self.name.to_owned(),
            false => Value::from(self.name).to_string(),
        };
        format!("{comment}{key} = {}\n", Value::from(self.policy))
    }

    /// Returns the entry as a complete file.
    pub(super) fn text(&self) -> String {
        format!("{HEAD}\n{}", self.lines())
    }

    /// Checks that it can be added to the file.
    ///
    /// # Errors
    /// When the file already has the name, is not TOML, or has its policies where no line can be added.
    pub(super) fn check(&self, path: &Path) -> Result<(), CliError> {
        self.added(path).map(|_| ())
    }

    /// Adds the entry to the file, and creates the file if needed.
    ///
    /// # Errors
    /// As [`Entry::check`], and when the file cannot be written.
    pub(super) fn add(&self, path: &Path) -> Result<(), CliError> {
        let text = self.added(path)?;
        fs::write(path, text).map_err(|why| fault(path, &format!("cannot write it: {why}")))
    }

    /// Returns the file's text with the entry added.
    fn added(&self, path: &Path) -> Result<String, CliError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                if folder.is_some_and(|folder| !folder.is_dir()) {
                    return Err(fault(path, "its folder does not exist: create it first"));
                }
                String::new()
            }
            Err(why) => return Err(fault(path, &format!("cannot read it: {why}"))),
        };
        self.put_into(&text).map_err(|why| fault(path, &why))
    }

    /// Adds the entry to a file's text.
    fn put_into(&self, text: &str) -> Result<String, String> {
        let read = |text: &str| text.trim_start_matches('\u{feff}').parse::<Table>();
        let table = read(text).map_err(|why| {
            let why = why.message().split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{why}; write TOML as docs/serve.md shows it")
        })?;
        let mut wanted = table.clone();
        let policies = wanted.entry(POLICIES).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(policies) = policies else {
            return Err(format!("{POLICIES} is not a table: write {HEAD} above its lines"));
        };
        if policies.insert(self.name.to_owned(), self.policy.into()).is_some() {
            let name = self.name;
            return Err(format!(
                "it already has a policy {name:?}: give another --name, or remove that policy"
            ));
        }
        // Only parsing the result shows whether a position in the text is right.
        let candidates = [self.behind_the_last(text), Some(self.at_the_end(text))];
        let fits = |text: &String| read(text).is_ok_and(|table| table == wanted);
        candidates.into_iter().flatten().find(fits).ok_or_else(|| {
            format!("its policies are not in a separate table: write them as lines under {HEAD}")
        })
    }

    /// Returns the text with the entry after the last line under the policies' header, if there is such a header.
    fn behind_the_last(&self, text: &str) -> Option<String> {
        let without_comment = |line: &str| {
            let text = line.split('#').next().unwrap_or("");
            // A file may begin with a byte order mark.
            text.trim_start_matches('\u{feff}').trim().to_owned()
        };
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let head = lines.iter().position(|line| without_comment(line) == HEAD)?;
        let under = lines[head + 1..].iter().position(|line| line.trim_start().starts_with('['));
        let end = under.map_or(lines.len(), |under| head + 1 + under);
        // A comment above the next table belongs to that table.
        let is_line = |line: &&str| !without_comment(line).is_empty();
        let last = lines[..end].iter().rposition(is_line).unwrap_or(head);
        let (before, behind) = lines.split_at(last + 1);
        Some(format!("{}{}{}", ended(&before.concat()), self.lines(), behind.concat()))
    }

    /// Returns the text with a table of policies at its end.
    fn at_the_end(&self, text: &str) -> String {
        let between = if text.trim().is_empty() { "" } else { "\n" };
        format!("{}{between}{}", ended(text), self.text())
    }
}

/// Returns the text with a newline at its end.
fn ended(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}")
}

fn fault(path: &Path, why: &str) -> CliError {
    CliError::new(Exit::Configuration, format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry<'_> {
        let comment = vec!["Chosen by hand.".to_owned()];
        Entry { name, policy: "review:review-gap=2", comment }
    }

    const LINES: &str = "# Chosen by hand.\ncareful = \"review:review-gap=2\"\n";

    #[test]
    fn a_line_is_added_and_the_rest_stays_as_it_is() {
        let table = [
            ("", format!("[policies]\n{LINES}")),
            ("listen = \"h:1\"", format!("listen = \"h:1\"\n\n[policies]\n{LINES}")),
            ("[policies]\n", format!("[policies]\n{LINES}")),
            (
                "# Mine.\n[policies] # named\na = \"strict\"  # one\n\n\
                 # Nodes.\n[endpoints.gpu]\naddress = \"h:1\"\n",
                format!(
                    "# Mine.\n[policies] # named\na = \"strict\"  # one\n{LINES}\n\
                     # Nodes.\n[endpoints.gpu]\naddress = \"h:1\"\n"
                ),
            ),
            (
                "[policies]\na = { name = \"random\", parameters = { share = 0.3 } }",
                format!(
                    "[policies]\na = {{ name = \"random\", parameters = {{ share = 0.3 }} }}\n{LINES}"
                ),
            ),
            (
                "[policies.a]\nname = \"strict\"\n",
                format!("[policies.a]\nname = \"strict\"\n\n[policies]\n{LINES}"),
            ),
            ("\u{feff}[policies]\n", format!("\u{feff}[policies]\n{LINES}")),
        ];
        for (text, with) in table {
            assert_eq!(entry("careful").put_into(text), Ok(with), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_no_bare_key_is_quoted() {
        let text = entry("team/careful").put_into("").unwrap();
        assert!(text.ends_with("\"team/careful\" = \"review:review-gap=2\"\n"), "{text}");
    }

    #[test]
    fn a_file_that_cannot_take_it_is_refused() {
        let table = [
            ("[policies]\ncareful = \"strict\"\n", "already has a policy \"careful\""),
            ("[policies.careful]\nname = \"strict\"\n", "already has a policy \"careful\""),
            ("policies = 7\n", "policies is not a table"),
            ("policies = { a = \"strict\" }\n", "as lines under [policies]"),
            ("policies.a = \"strict\"\n[endpoints]\n", "as lines under [policies]"),
            ("text = '''\n[policies]\n'''\npolicies.a = \"strict\"\n", "as lines under [policies]"),
            ("listen = \n", "write TOML"),
        ];
        for (text, why) in table {
            let line = entry("careful").put_into(text).unwrap_err();
            assert!(line.contains(why) && !line.contains('\n'), "{text}: {line}");
        }
    }
}
