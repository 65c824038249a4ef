//! Compares our verdicts with math-verify's, pair by pair.
//!
//! What does not live here: individual rules (`tests/grade.rs`).

use std::{env, fs, path::PathBuf};

use grading::grade::grade;
use serde::Deserialize;

/// One pair, and the verdict of math-verify 0.9.0.
#[derive(Deserialize)]
struct Pair {
    gold: String,
    response: String,
    kind: String,
    equivalent: bool,
}

/// `MATH_VERDICTS_FIXTURE` names another file of pairs.
#[test]
fn math_verdicts_agree() {
    let own =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/math_verdicts.json");
    let path = env::var_os("MATH_VERDICTS_FIXTURE").map_or(own, PathBuf::from);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let pairs: Vec<Pair> = serde_json::from_str(&text).unwrap();
    assert!(!pairs.is_empty());
    let (mut false_accepts, mut false_rejects) = (0_usize, 0_usize);
    for Pair { gold, response, kind, equivalent } in &pairs {
        let verdict = grade(gold, response);
        if verdict.right == *equivalent {
            continue;
        }
        let what = if verdict.right { "false accept" } else { "false reject" };
        *(if verdict.right { &mut false_accepts } else { &mut false_rejects }) += 1;
        println!("{what} ({kind}): {gold:?} against {response:?}, read as {:?}", verdict.answer);
    }
    let (total, wrong) = (pairs.len(), false_accepts + false_rejects);
    let percent = |count: usize| 100.0 * count as f64 / total as f64;
    println!(
        "{} of {total} pairs agree ({:.2} %), {false_accepts} false accepts, {false_rejects} false rejects",
        total - wrong,
        percent(total - wrong),
    );
    assert!(percent(total - wrong) >= 97.0, "too few pairs agree");
    assert!(percent(false_accepts) <= 0.5, "too many false accepts");
}
