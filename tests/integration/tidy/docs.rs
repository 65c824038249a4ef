//! The rules for Markdown: prose is narrow, and the words of the glossary occur in the code.

use super::{MAX_WIDTH, expect_none, files, read, root, source};

#[test]
fn prose_is_narrow() {
    let mut paths = files("docs", "md");
    paths.extend(["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"].map(str::to_owned));
    let mut offences = Vec::new();
    for path in &paths {
        let text = read(path);
        offences.extend(wide_lines(&text).iter().map(|(line, width)| {
            format!("{path}:{line}: width: {width} characters, a line of prose has at most {MAX_WIDTH}: wrap it")
        }));
    }
    expect_none(&offences);
}

#[test]
fn links_lead_somewhere() {
    let folders = ["docs", "deploy", "models"];
    let mut pages: Vec<String> = folders.iter().flat_map(|folder| files(folder, "md")).collect();
    pages.extend(
        ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned),
    );
    let mut offences = Vec::new();
    for page in &pages {
        for (line, target) in links(&read(page)) {
            let (path, anchor) = target.split_once('#').unwrap_or((target.as_str(), ""));
            let path = if path.is_empty() { page.clone() } else { beside(page, path) };
            let leads = root().join(&path).exists()
                && (anchor.is_empty()
                    || !path.ends_with(".md")
                    || has_heading(&read(&path), anchor));
            if !leads {
                offences.push(format!(
                    "{page}:{line}: link: {target} leads nowhere: name a file, or a heading of it, that exists"
                ));
            }
        }
    }
    expect_none(&offences);
}

/// The targets of a page's links to other files and headings, with the numbers of their lines. Code has none.
fn links(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut in_code) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        let ours = targets.filter(|target| !in_code && !target.contains("://"));
        found.extend(ours.map(|target| (number, target.to_owned())));
    }
    found
}

/// A path that is relative to a page, relative to the root.
fn beside(page: &str, path: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether a page has the heading that an anchor names: in lower case, without punctuation, with hyphens for spaces.
fn has_heading(text: &str, anchor: &str) -> bool {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    headings.map(|heading| heading.trim_start_matches('#').trim().to_lowercase()).any(|heading| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).eq(anchor.chars())
    })
}

#[test]
fn the_words_of_the_glossary_are_those_of_the_code() {
    let code: String = source::all()
        .iter()
        .flat_map(|source| {
            source.production().iter().map(|(_, line)| words(line)).collect::<Vec<_>>()
        })
        .collect();
    let text = read("ARCHITECTURE.md");
    let glossary = glossary(&text);
    assert!(!glossary.is_empty(), "ARCHITECTURE.md: glossary: there is no table under `## Words`");
    let offences: Vec<String> = glossary
        .iter()
        .filter(|(_, word)| !code.contains(&words(word)))
        .map(|(line, word)| {
            format!("ARCHITECTURE.md:{line}: glossary: no code uses `{word}`: delete the row, or correct the word")
        })
        .collect();
    expect_none(&offences);
}

/// Returns the numbers and widths of the prose lines that are too wide. Tables and code are not prose, and the targets
/// of links do not count, since they cannot be wrapped.
fn wide_lines(text: &str) -> Vec<(usize, usize)> {
    let (mut found, mut in_code) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        let start = line.trim_start();
        if start.starts_with("```") {
            in_code = !in_code;
        } else if !in_code && !start.starts_with('|') {
            let width = without_targets(line).chars().count();
            if width > MAX_WIDTH {
                found.push((number, width));
            }
        }
    }
    found
}

/// Returns a line without the targets of its links.
fn without_targets(line: &str) -> String {
    let (mut rest, mut kept) = (line, String::new());
    while let Some((before, target)) = rest.split_once("](") {
        kept.push_str(before);
        kept.push(']');
        rest = target.split_once(')').map_or("", |(_, after)| after);
    }
    kept + rest
}

/// Returns the words of the table under `## Words`, with their line numbers.
fn glossary(text: &str) -> Vec<(usize, &str)> {
    (1..)
        .zip(text.lines())
        .skip_while(|(_, line)| *line != "## Words")
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .filter_map(|(number, line)| {
            Some((number, line.strip_prefix('|')?.split('|').next()?.trim()))
        })
        .skip(2)
        .collect()
}

/// Returns a line's words in lower case, with a space before and after each. Identifiers are split into their words.
fn words(line: &str) -> String {
    let (mut words, mut was_lower) = (String::from(" "), false);
    for c in line.chars() {
        if !c.is_alphanumeric() {
            if !words.ends_with(' ') {
                words.push(' ');
            }
        } else {
            if c.is_uppercase() && was_lower {
                words.push(' ');
            }
            words.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase();
    }
    words.truncate(words.trim_end().len());
    words + " "
}

mod tests {
    use super::*;

    #[test]
    fn tables_code_and_targets_of_links_may_be_wide() {
        let wide = "a".repeat(MAX_WIDTH + 1);
        let table = format!("| {wide} |");
        let code = format!("```sh\n{wide}\n```\nshort");
        let link = format!("see [the notes]({wide}) and more");
        for text in [&table, &code, &link] {
            assert_eq!(wide_lines(text), [], "{text}");
        }
        assert_eq!(wide_lines(&format!("short\n{code}\n- {wide}")), [(6, MAX_WIDTH + 3)]);
        assert_eq!(wide_lines(&format!("{link} {wide}")), [(1, MAX_WIDTH + 26)]);
    }

    #[test]
    fn identifiers_fall_into_their_words() {
        assert_eq!(words("    /// A *takeover*."), " a takeover ");
        assert_eq!(
            words("fn takeoverShare(KvStore, prefill_ms)"),
            " fn takeover share kv store prefill ms "
        );
        assert_eq!(words("///"), " ");
    }

    #[test]
    fn the_glossary_is_the_table_under_its_heading() {
        let text = "| no | no |\n## Words\n\n| word | meaning |\n| --- | --- |\n| warm | not cold |\n\n## More\n| no | |";
        assert_eq!(glossary(text), [(6, "warm")]);
    }
}
