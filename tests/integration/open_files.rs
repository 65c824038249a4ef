//! How many files, and thus connections, the serving programs may have open.

#![cfg(unix)]

use std::ffi::OsStr;

use tests::{Process, Signal, fixture};

use crate::{SMALL, SPECTHINK};

#[test]
fn what_serves_may_open_as_many_files_as_the_system_lets_it() {
    let model = fixture("tiny-llama");
    let node: [&OsStr; 5] =
        [SMALL.as_ref(), "--threads".as_ref(), "1".as_ref(), "--model".as_ref(), model.as_ref()];
    let server: [&OsStr; 2] = [SPECTHINK.as_ref(), "serve".as_ref()];
    for command in [&node[..], &server] {
        // As in a user's shell, with a soft limit even lower than the usual default.
        let shell = ["-c", "ulimit -S -n 200 && exec \"$0\" \"$@\" -vv --listen 127.0.0.1:0"];
        let args: Vec<&OsStr> =
            shell.iter().map(OsStr::new).chain(command.iter().copied()).collect();
        let mut process = Process::spawn("sh", &args, &[]);
        process.wait_for("listening on ");
        process.signal(Signal::Terminate);
        let said = process.wait().stderr;
        let now = said.split("limit of open files before=200 now=").nth(1).unwrap_or_default();
        let digits = now.find(|c: char| !c.is_ascii_digit()).unwrap_or(now.len());
        assert!(now[..digits].parse::<u64>().is_ok_and(|now| now > 200), "{command:?}: {said}");
    }
}
