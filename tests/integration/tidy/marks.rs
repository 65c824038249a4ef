//! The rule that crates which must not depend on each other agree on the marks around thoughts.

use super::{expect_none, read};

/// Where the marks are defined. `text` and `grading` depend on no crate of the workspace, and `thinking` on no
/// tokenizer.
const PLACES: [&str; 3] = [
    "crates/text/src/thought.rs",
    "crates/grading/src/thought.rs",
    "crates/thinking/src/thought.rs",
];

#[test]
fn marks_of_thoughts_are_the_same_everywhere() {
    let path = PLACES[0];
    let marks = quoted(&read(path), "const MARKS:");
    assert!(marks.contains(&"</think>".to_owned()), "{path}: {marks:?}");
    let mut offences = Vec::new();
    for other in PLACES {
        let found = quoted(&read(other), "const MARKS:");
        if found != marks {
            offences.push(format!(
                "{other}: marks: {found:?}, but {path} has {marks:?}: make them the same"
            ));
        }
    }
    expect_none(&offences);
}

/// Returns the quoted texts of a constant.
fn quoted(source: &str, name: &str) -> Vec<String> {
    let body =
        source.split_once(name).and_then(|(_, rest)| rest.split_once(';')?.1.split_once(';'));
    let body = body.map_or("", |(body, _)| body);
    body.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}
