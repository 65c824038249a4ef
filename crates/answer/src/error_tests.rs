//! The line of every error, as snapshots.

use std::{io::ErrorKind, path::Path};

use error_lines::{error_lines, lines};

use crate::{journal::JournalError, prices::Prices};

#[test]
fn journal_errors() {
    let path = || "answer.jsonl".into();
    insta::assert_snapshot!(error_lines!(JournalError {
        Exists { path: path() },
        Create { path: path(), why: ErrorKind::PermissionDenied.into() },
        Write { why: ErrorKind::StorageFull.into() },
        Read { path: path(), why: ErrorKind::PermissionDenied.into() },
        NotAJournal { path: path(), why: "its first line is not a JSON object".into() },
        Version { path: path(), found: 9, program: "specthink 0.9.0".into() },
        Damaged { path: path(), line: 7, why: "EOF while parsing a value".into() },
    }));
}

#[test]
fn prices_errors() {
    insta::assert_snapshot!(lines([Prices::read(Path::new("Cargo.toml")).unwrap_err()]));
}
