//! Files that hold questions and answers: only their owner may read them, and only one process at a time writes them,
//! as far as the file system can ensure that.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// The result of an attempt to lock a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLock {
    /// The lock is ours until the file is closed.
    Held,
    /// Another process has the lock.
    Taken,
    /// This file system has no locks: there is no way to know whether another process writes the file too.
    Absent,
}

impl FileLock {
    /// Returns whether no other process can write the file meanwhile. A file system without locks is no reason not to
    /// write the file. `None` if another process has it.
    pub fn is_exclusive(self) -> Option<bool> {
        match self {
            FileLock::Held => Some(true),
            FileLock::Absent => Some(false),
            FileLock::Taken => None,
        }
    }
}

/// Returns options for a file that is created readable and writable for its owner only.
pub fn private() -> OpenOptions {
    #[allow(unused_mut, reason = "only unix knows a file's mode when it is made")]
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Locks a file against other processes.
pub fn lock(file: &File) -> FileLock {
    came_of(file.try_lock())
}

/// Returns whether a process has locked this file to write it. On a file system without locks this is not known, and
/// the result is `false`.
pub fn is_being_written(file: &File) -> bool {
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn came_of(attempt: Result<(), TryLockError>) -> FileLock {
    match attempt {
        Ok(()) => FileLock::Held,
        Err(TryLockError::WouldBlock) => FileLock::Taken,
        Err(TryLockError::Error(_)) => FileLock::Absent,
    }
}

/// Creates a new file next to another one, to be moved into its place once it is complete.
///
/// # Errors
/// If the folder is not writable.
pub(crate) fn beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 0u32;
    loop {
        let temporary = path.with_file_name(format!(".{name}.{}-{number}", std::process::id()));
        // Left over from a run that was killed, or from another machine.
        match private().write(true).create_new(true).open(&temporary) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|file| (temporary, file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_locks_is_told_from_a_file_that_is_taken() {
        // ENOSYS and ENOLCK, which Lustre, NFS and CIFS return.
        let absent = || Err(TryLockError::Error(io::ErrorKind::Unsupported.into()));
        for (attempt, lock, is_exclusive) in [
            (Ok(()), FileLock::Held, Some(true)),
            (absent(), FileLock::Absent, Some(false)),
            (Err(TryLockError::WouldBlock), FileLock::Taken, None),
        ] {
            assert_eq!(came_of(attempt), lock);
            assert_eq!(lock.is_exclusive(), is_exclusive, "{lock:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let open = || File::create(folder.path().join("file")).unwrap();
        let (one, other) = (open(), open());
        assert!(!is_being_written(&one));
        drop(one);
        let one = open();
        assert_eq!((lock(&one), lock(&other)), (FileLock::Held, FileLock::Taken));
        assert!(is_being_written(&other));
    }
}
