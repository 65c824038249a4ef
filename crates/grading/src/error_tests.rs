//! The line of every error, as snapshots.

use error_lines::error_lines;

use crate::{
    answer::NoAnswer,
    dataset::{DatasetError, LineFault},
    math_verify::GradeError,
};

#[test]
fn dataset_errors() {
    let path = || "questions.jsonl".into();
    insta::assert_snapshot!(error_lines!(DatasetError {
        Missing { path: path() },
        Unreadable { path: path(), why: "permission denied".into() },
        Empty { path: path() },
        BadLine { path: path(), line: 7, fault: LineFault::NotUtf8 },
        AllBad { path: path(), lines: 9, line: 1, fault: LineFault::NotUtf8 },
    }));
}

#[test]
fn line_faults() {
    insta::assert_snapshot!(error_lines!(LineFault {
        NotUtf8,
        NotJson { why: "EOF while parsing an object at column 12".into() },
        NotObject { found: "a list" },
        NoQuestion { looked_for: "question, problem or prompt" },
        NoAnswer { looked_for: "answer, solution or target" },
        WrongType { field: "id".into(), found: "a list", must_be: "a text or a number" },
        EmptyField { field: "answer".into() },
        DuplicateId { id: "q7".into(), first: 3 },
    }));
}

#[test]
fn grade_errors() {
    let program = || "python3".into();
    insta::assert_snapshot!(error_lines!(GradeError {
        NotFound { program: program() },
        NotStarted { program: program(), why: "permission denied".into() },
        NoPackage { program: program(), why: "No module named math_verify".into() },
        Died { how: "exit status: 3".into() },
        TimedOut { limit_s: 5.0 },
        BadReply { program: program(), reply: "hello".into() },
        Failed { why: "maximum recursion depth exceeded".into() },
    }));
}

#[test]
fn why_there_is_no_answer() {
    insta::assert_snapshot!(error_lines!(NoAnswer { OpenThought, NotFound }));
}
