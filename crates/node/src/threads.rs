//! How many CPU threads are computed with. candle reads that from the environment, once, whenever it
//! first computes; so it has to stand there before the process begins.

use std::{num::NonZero, process::ExitCode};

const RAYON: &str = "RAYON_NUM_THREADS";
const CANDLE: &str = "CANDLE_NUM_THREADS";

/// The number of threads for a built-in model when none is asked for. Its matrices are so small that
/// threads wait for each other longer than they compute, and far longer where cores are busy.
const BUILTIN_THREADS: usize = 1;

/// The number of threads for any other model when none is asked for: one per core this process may
/// use, not counting the second thread of a core, which only gets in the way of arithmetic.
fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, NonZero::get);
    allowed.min(num_cpus::get_physical()).max(1)
}

/// Makes the process compute with this many threads. Call it first in `main`: where the
/// environment says something else, the program starts itself again in its own place.
///
/// Changing the environment of a running process is unsafe, in the sense of the word that Rust
/// gives it: another thread may be reading it.
///
/// Returns what to end with, when another process did the work.
pub(crate) fn fix(threads: Option<u16>, builtin: bool) -> Result<Option<ExitCode>, std::io::Error> {
    let default = || if builtin { BUILTIN_THREADS } else { default_threads() };
    let wanted = threads.map(usize::from).or_else(|| set(RAYON)).unwrap_or_else(default);
    if set(RAYON) == Some(wanted) && set(CANDLE) == Some(wanted) {
        return Ok(None);
    }
    let mut line = std::env::args_os();
    let mut command = std::process::Command::new(std::env::current_exe()?);
    let name = line.next();
    command.args(line).env(RAYON, wanted.to_string()).env(CANDLE, wanted.to_string());
    again(command, name)
}

/// The number of threads for a built-in model inside another program: that one's environment stays as it is, and
/// nothing in such a model asks candle for more.
pub fn builtin_threads() -> usize {
    set(RAYON).unwrap_or(BUILTIN_THREADS)
}

fn set(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok().filter(|threads| *threads > 0)
}

/// Becomes the command; the process keeps its number, its terminal and its parent.
#[cfg(unix)]
fn again(
    mut command: std::process::Command,
    name: Option<std::ffi::OsString>,
) -> Result<Option<ExitCode>, std::io::Error> {
    use std::os::unix::process::CommandExt as _;
    if let Some(name) = name {
        command.arg0(name);
    }
    Err(command.exec())
}

#[cfg(not(unix))]
fn again(
    mut command: std::process::Command,
    _name: Option<std::ffi::OsString>,
) -> Result<Option<ExitCode>, std::io::Error> {
    let code = command.status()?.code().unwrap_or(1);
    Ok(Some(ExitCode::from(u8::try_from(code).unwrap_or(1))))
}
