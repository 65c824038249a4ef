//! The line of every error of the server's own files, as snapshots. Errors of requests are in `error`.

use std::io::ErrorKind;

use answer::journal::JournalError;
use error_lines::error_lines;

use crate::{ApiKeysError, journals::FolderError};

#[test]
fn api_keys_errors() {
    let path = || "keys.txt".into();
    insta::assert_snapshot!(error_lines!(ApiKeysError {
        File { path: path(), why: ErrorKind::PermissionDenied.into() },
        Line { path: path(), line: 7 },
        Empty { path: path() },
    }));
}

#[test]
fn folder_errors() {
    let read = JournalError::Read {
        path: "journals/a7.jsonl".into(),
        why: ErrorKind::PermissionDenied.into(),
    };
    insta::assert_snapshot!(error_lines!(FolderError {
        NotThere("a7".into()),
        Unreadable("a7".into(), Box::new(read)),
        Folder(ErrorKind::PermissionDenied.into()),
    }));
}
