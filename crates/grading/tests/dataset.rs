//! Data sets in their published shapes, and the errors for broken ones.
//!
//! What does not live here: the sets themselves. Two rows of each shape represent them.

use std::fs;

use grading::dataset::{Dataset, DatasetError, LineFault, Problem, bytes, parse};
use proptest::prelude::*;

fn rows(text: &str) -> Vec<(String, String, String)> {
    let set = parse("set.jsonl", text.as_bytes(), false);
    let set = set.unwrap_or_else(|error| panic!("{error}"));
    let row = |Problem { id, question, answer }| (id, question, answer);
    set.problems.into_iter().map(row).collect()
}

fn row(id: &str, question: &str, answer: &str) -> (String, String, String) {
    (id.to_owned(), question.to_owned(), answer.to_owned())
}

#[test]
fn our_own_shape() {
    let text = "\u{feff}{\"id\":\"a\",\"question\":\"1 + 1?\",\"answer\":\"2\",\"level\":3}\r\n\n{\"question\":\"2 + 2?\",\"answer\":4}\n";
    assert_eq!(rows(text), [row("a", "1 + 1?", "2"), row("3", "2 + 2?", "4")]);
}

#[test]
fn gsm8k() {
    let text = r#"{"question":"A robe takes 2 bolts of blue fiber and half that much white fiber.  How many bolts in total does it take?","answer":"It takes 2\/2=<<2\/2=1>>1 bolt of white fiber\nSo the total amount of fabric is 2+1=<<2+1=3>>3 bolts of fabric\n#### 3","idx":1}
{"question":"How much profit did he make?","answer":"He made 200,000-130,000 = $<<200000-130000=70000>>70,000\n#### 70,000","idx":2}"#;
    let question = "A robe takes 2 bolts of blue fiber and half that much white fiber.  How many bolts in total does it take?";
    assert_eq!(
        rows(text),
        [row("1", question, "3"), row("2", "How much profit did he make?", "70000")]
    );
}

#[test]
fn math_500() {
    let text = r#"{"problem": "Convert the point $(0,3)$.", "solution": "...", "answer": "\\left( 3, \\frac{\\pi}{2} \\right)", "subject": "Precalculus", "level": 2, "unique_id": "test/precalculus/807.json"}
{"problem": "Define $p$.", "solution": "...", "answer": "p - q", "subject": "Intermediate Algebra", "level": 5, "unique_id": "test/intermediate_algebra/1994.json"}"#;
    assert_eq!(
        rows(text),
        [
            row(
                "test/precalculus/807.json",
                "Convert the point $(0,3)$.",
                "\\left( 3, \\frac{\\pi}{2} \\right)"
            ),
            row("test/intermediate_algebra/1994.json", "Define $p$.", "p - q"),
        ]
    );
}

#[test]
fn aime_and_amc() {
    let text = r#"{"id":60,"problem":"Every morning Aya goes for a walk.","solution":"...","answer":"204","url":"u"}
{"id":61,"problem":"Let $ABC$ be a triangle.","answer":113}
{"id":0,"problem":"Cities $A$ and $B$ are $45$ miles apart.","answer":27.0,"url":"u","question":"Cities $A$ and $B$ are $45$ miles apart."}
{"id":1,"question":"How much?","answer":-3.14}"#;
    assert_eq!(
        rows(text),
        [
            row("60", "Every morning Aya goes for a walk.", "204"),
            row("61", "Let $ABC$ be a triangle.", "113"),
            row("0", "Cities $A$ and $B$ are $45$ miles apart.", "27"),
            row("1", "How much?", "-3.14"),
        ]
    );
}

#[test]
fn svamp() {
    let text = r#"{"Answer":145.0,"Question":"How big is each group of bananas?","Equation":"( 290.0 \/ 2.0 )","Body":"There are 87 oranges and 290 bananas in Philip's collection.","Type":"Common-Division","ID":"chal-777","idx":0}
{"Answer":0.5,"Question":"How much is it?","Body":"It is half.","ID":"chal-508","idx":1}"#;
    assert_eq!(
        rows(text),
        [
            row(
                "chal-777",
                "There are 87 oranges and 290 bananas in Philip's collection. How big is each group of bananas?",
                "145"
            ),
            row("chal-508", "It is half. How much is it?", "0.5"),
        ]
    );
}

#[test]
fn names_in_any_case() {
    let text = r#"{"ID":"2024-X-1","Problem":"What is 2+2?","Solution":"It is \\boxed{5}.","Answer":4}
{"ID":"1983-1","Year":1983,"Problem Number":1,"Question":"Find $w$.","Answer":"60","Part":null}
{"BODY":"He has 2.","QUESTION":"How many?","ANSWER":2.0,"Unique_ID":"x"}
{"Answer":"no","answer":"yes","question":"?","Problem":"!"}"#;
    assert_eq!(
        rows(text),
        [
            row("2024-X-1", "What is 2+2?", "4"),
            row("1983-1", "Find $w$.", "60"),
            row("x", "He has 2. How many?", "2"),
            row("4", "?", "yes"),
        ]
    );
}

#[test]
fn a_solution_without_an_answer_has_it_in_its_box() {
    let text = r#"{"id":60,"problem":"Every morning?","solution":"So \\boxed{204}.","url":"u"}"#;
    assert_eq!(rows(text), [row("60", "Every morning?", "204")]);
    let unboxed = br#"{"problem":"Every morning?","solution":"It is 204."}"#;
    let error = parse("set.jsonl", unboxed, false).unwrap_err().to_string();
    assert!(error.contains("no answer"), "{error}");
}

#[test]
fn numbers_of_any_size_are_exact() {
    let long = "7".repeat(5000);
    for (number, want) in [
        ("9007199254740993", "9007199254740993"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("-12345678901234567890123.0", "-12345678901234567890123"),
        ("1e23", "100000000000000000000000"),
        ("0.12345678901234567890123", "0.12345678901234567890123"),
        ("1e-7", "0.0000001"),
        ("1e400", &format!("1{}", "0".repeat(400))),
        (&long, &long),
    ] {
        let line = format!(r#"{{"id":{number},"question":"?","answer":{number}}}"#);
        assert_eq!(rows(&line), [row(want, "?", want)]);
    }
}

const GOOD: &str = r#"{"id":1,"question":"1 + 1?","answer":"2"}"#;

#[test]
fn each_fault_is_one_line_with_its_place() {
    for (line, want) in [
        ("{", "not JSON (EOF while parsing an object, column 1); write one object on one line"),
        ("[1]", "an array instead of an object; write {\"question\": ..., \"answer\": ...}"),
        (
            r#"{"answer":"2"}"#,
            "no question; looked for \"question\", \"problem\", \"Body\" with \"Question\": rename the field that holds it",
        ),
        (
            r#"{"question":"?"}"#,
            "no answer; looked for \"answer\", \"Answer\": rename the field that holds it",
        ),
        (
            r#"{"question":" ","answer":"2"}"#,
            "\"question\" is empty; fill it in or remove the line",
        ),
        (
            r#"{"question":"?","answer":"so\n####"}"#,
            "\"answer\" is empty; fill it in or remove the line",
        ),
        (r#"{"question":7,"answer":"2"}"#, "\"question\" is a number; make it a string"),
        (r#"{"question":"?","answer":null}"#, "\"answer\" is null; make it a string or a number"),
        (
            r#"{"question":"?","answer":"2","id":[]}"#,
            "\"id\" is an array; make it a string or a number",
        ),
        (GOOD, "id \"1\" is also that of line 1; give each line its own id, or none at all"),
    ] {
        let text = format!("{GOOD}\n\n{line}\n");
        let error = parse("set.jsonl", text.as_bytes(), false).unwrap_err().to_string();
        assert_eq!(error, format!("set.jsonl, line 3: {want}"));
        // With `skip_bad`, the same line is reported and the rest is read.
        let Dataset { problems, skipped } = parse("set.jsonl", text.as_bytes(), true).unwrap();
        assert_eq!((problems.len(), skipped.len()), (1, 1));
        assert_eq!((skipped[0].line, skipped[0].fault.to_string()), (3, want.to_owned()));
    }
}

#[test]
fn a_set_without_a_good_line_is_an_error_even_then() {
    let error = parse("set.jsonl", b"\n{\n[]", true).unwrap_err();
    assert!(matches!(error, DatasetError::AllBad { lines: 2, line: 2, .. }), "{error}");
    for skip_bad in [false, true] {
        let error = parse("set.jsonl", b"\xef\xbb\xbf\n \n", skip_bad).unwrap_err().to_string();
        assert_eq!(error, "set.jsonl is empty: give a JSONL file with one problem on each line");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.jsonl");
    assert!(matches!(bytes(&path), Err(DatasetError::Missing { .. })));
    assert!(matches!(bytes(folder.path()), Err(DatasetError::Unreadable { .. })));
    fs::write(&path, GOOD).unwrap();
    assert_eq!(bytes(&path).unwrap(), GOOD.as_bytes());
    let error = parse("set.jsonl", b"{\"question\":\"\xff\",\"answer\":\"2\"}", false).unwrap_err();
    let want =
        DatasetError::BadLine { path: "set.jsonl".to_owned(), line: 1, fault: LineFault::NotUtf8 };
    assert_eq!(error, want);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        for skip_bad in [false, true] {
            let _ = parse("set.jsonl", &bytes, skip_bad);
            let _ = parse("set.jsonl", text.as_bytes(), skip_bad);
            let line = serde_json::json!({"question": text, "answer": text}).to_string();
            let _ = parse("set.jsonl", line.as_bytes(), skip_bad);
        }
    }
}
