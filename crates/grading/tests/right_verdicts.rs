//! Compares our verdicts with manual ones, including pairs that math-verify gets wrong.
//!
//! What does not live here: agreement with math-verify (`tests/math_verdicts.rs`), which is a different question.

use std::{fs, path::PathBuf};

use grading::grade::grade;
use serde::Deserialize;

/// One pair, whether it is right, and the verdict of math-verify 0.9.0.
#[derive(Deserialize)]
struct Pair {
    kind: String,
    gold: String,
    response: String,
    right: bool,
    math_verify: bool,
    /// Why math-verify is wrong, if it is.
    why: Option<String>,
}

#[test]
fn verdicts_are_right() {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/right_verdicts.json");
    let pairs: Vec<Pair> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let (mut wrong, mut agreeing) = (Vec::new(), 0);
    for Pair { kind, gold, response, right, math_verify, why } in &pairs {
        assert_eq!(why.is_some(), right != math_verify, "{gold} and {response}: `why` is wrong");
        let verdict = grade(gold, response);
        agreeing += usize::from(verdict.right == *math_verify);
        if verdict.right != *right {
            let read = verdict.answer.as_deref().unwrap_or("nothing");
            wrong.push(format!("{kind}: {gold} against {response:?}, read as {read}"));
        }
    }
    let total = pairs.len();
    println!(
        "{} of {total} verdicts are right; math-verify agrees with {agreeing}",
        total - wrong.len()
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
