//! The line of every error, as a snapshot.

use std::io::ErrorKind;

use answer::journal::JournalError;
use error_lines::error_lines;
use thinking::policy::PolicyError;

use crate::EvalError;

#[test]
fn eval_errors() {
    let path = || "run.jsonl".into();
    insta::assert_snapshot!(error_lines!(EvalError {
        Open { path: path(), why: ErrorKind::PermissionDenied.into() },
        Locked { path: path() },
        NotALog { path: path(), why: "its first line is not a header".into() },
        OtherRun { path: path(), what: "seed" },
        Write { path: path(), why: ErrorKind::StorageFull.into() },
        Policy(PolicyError::BadShare { share: "1.5".into() }),
        Journal(JournalError::Exists { path: "journals/q7.jsonl".into() }),
        Grade {
            id: "q7".into(),
            why: "math-verify's process ended (exit status: 3); check that the program is a Python 3 that has math-verify".into(),
        },
    }));
}
