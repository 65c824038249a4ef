//! The number of CPU threads to compute with. candle reads it from the environment once, when it first computes, so it
//! must be set before the process starts.

use std::{num::NonZero, process::ExitCode};

const RAYON: &str = "RAYON_NUM_THREADS";
const CANDLE: &str = "CANDLE_NUM_THREADS";

/// The default number of threads for a built-in model. Its matrices are so small that threads wait for each other
/// longer than they compute, and far longer if cores are busy.
const BUILTIN_THREADS: usize = 1;

/// The default number of threads for any other model: one per core that this process may use. The second hardware
/// thread of a core does not count; it only slows arithmetic down.
fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, NonZero::get);
    allowed.min(num_cpus::get_physical()).max(1)
}

/// Makes the process compute with this many threads. Must be called first in `main`: if the environment has another
/// value, the program re-executes itself with the right one.
///
/// Changing the environment of a running process is `unsafe` in Rust, because another thread may be reading it.
///
/// Returns the exit code to end with, if another process did the work.
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

/// Returns the number of threads for a built-in model inside another program. That program's environment is left alone,
/// and such a model never makes candle use more.
pub fn builtin_threads() -> usize {
    set(RAYON).unwrap_or(BUILTIN_THREADS)
}

fn set(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok().filter(|threads| *threads > 0)
}

/// Replaces this process with the command; its id, terminal and parent stay the same.
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
