//! The rule that crates which may not know each other agree on the marks around thoughts.

use super::{expect_none, read};

/// Where the marks stand, and whether as pairs or the closing ones alone. `text` and `grading` depend on no crate of
/// the workspace, and `thinking` on no tokenizer.
const PLACES: [(&str, &str, bool); 3] = [
    ("crates/text/src/thought.rs", "const MARKS:", true),
    ("crates/grading/src/thought.rs", "const MARKS:", true),
    ("crates/thinking/src/policy/limited.rs", "const CLOSING_MARKS:", false),
];

#[test]
fn marks_of_thoughts_are_the_same_everywhere() {
    let (path, name, _) = PLACES[0];
    let pairs = quoted(&read(path), name);
    let closing: Vec<String> = pairs.iter().skip(1).step_by(2).cloned().collect();
    assert!(closing.contains(&"</think>".to_owned()), "{path}: {pairs:?}");
    let mut offences = Vec::new();
    for (other, name, as_pairs) in PLACES {
        let (found, expected) =
            (quoted(&read(other), name), if as_pairs { &pairs } else { &closing });
        if found != *expected {
            offences.push(format!(
                "{other}: marks: {found:?}, and {path} has {expected:?}: make them alike"
            ));
        }
    }
    expect_none(&offences);
}

/// The texts in quotes of a constant.
fn quoted(source: &str, name: &str) -> Vec<String> {
    let body =
        source.split_once(name).and_then(|(_, rest)| rest.split_once(';')?.1.split_once(';'));
    let body = body.map_or("", |(body, _)| body);
    body.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}
