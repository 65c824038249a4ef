//! Files that hold what was asked and answered: their owner's alone, and written by one process at a time, as far as
//! the file system can see to it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// What came of an attempt to lock a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLock {
    /// It is ours until it is closed.
    Held,
    /// Another process has it.
    Taken,
    /// This file system has no locks: nothing tells whether another process writes the file too.
    Absent,
}

impl FileLock {
    /// Whether no other process can write the file meanwhile. A file system without locks is no reason not to write it;
    /// `None`: another process has it.
    pub fn is_exclusive(self) -> Option<bool> {
        match self {
            FileLock::Held => Some(true),
            FileLock::Absent => Some(false),
            FileLock::Taken => None,
        }
    }
}

/// Options for a file that, when it is made, nobody but its owner may read or write.
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

/// Whether a process has this file locked to write it. Where the file system has no locks, nothing tells.
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

/// Makes a new file beside another, to be moved into its place when it is whole.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 0u32;
    loop {
        let temporary = path.with_file_name(format!(".{name}.{}-{number}", std::process::id()));
        // Of a run that was killed, or of another machine.
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
        // ENOSYS and ENOLCK, as Lustre, NFS and CIFS say it.
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
