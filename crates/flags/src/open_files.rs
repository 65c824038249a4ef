//! How many files and connections a program may have open.

/// The most that macOS allows (`OPEN_MAX`), whatever its hard limit says.
#[cfg(unix)]
const MOST_OF_MACOS: u64 = 10_240;

/// Raises the soft limit of open files to the hard one. For programs that serve, since every connection is an open
/// file. Many systems start with 1024, for the sake of programs that use `select`. The result is logged; if the limit
/// cannot be raised, connections are refused earlier.
pub fn raise_open_files() {
    #[cfg(unix)]
    match raise() {
        Ok((before, now)) => tracing::debug!(before, now, "limit of open files"),
        Err(why) => tracing::warn!(%why, "cannot raise the limit of open files"),
    }
}

/// Raises the limit, and returns it before and after.
#[cfg(unix)]
fn raise() -> nix::Result<(u64, u64)> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = wanted(soft, hard);
    if wanted > soft {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    }
    Ok((soft, wanted))
}

/// Returns the soft limit to set in place of this one. It is never lower.
#[cfg(unix)]
fn wanted(soft: u64, hard: u64) -> u64 {
    let most = if cfg!(target_os = "macos") { MOST_OF_MACOS } else { u64::MAX };
    hard.min(most).max(soft)
}

#[cfg(all(test, unix))]
mod tests {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one_and_never_falls() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        // Low, but enough for the tests that run at the same time.
        let low = hard.min(256);
        setrlimit(Resource::RLIMIT_NOFILE, low, hard).unwrap();
        let raised = raise().unwrap();
        assert_eq!(raised, (low, wanted(low, hard)));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (raised.1, hard));
        assert_eq!(raise().unwrap(), (raised.1, raised.1), "nothing more to raise");
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        assert_eq!(wanted(512, 512), 512);
        assert_eq!(wanted(20_000, 256), 20_000);
    }
}
