//! The hub's cache on disk: `models--OWNER--NAME/{blobs,refs,snapshots}`, in the layout of every client of the hub. A
//! name appears in `snapshots` only when its blob is complete and checked.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    HubError,
    checksum::{self, Checksums},
    choose::list,
    partial::{self, Partial, unique},
};

/// How long to wait for a lock while its holder makes no progress. Checking a whole file takes minutes.
const LOCK_PATIENCE: Duration = Duration::from_secs(600);
const LOCK_POLL: Duration = Duration::from_millis(200);

/// One repository's folder in the cache.
#[derive(Debug, Clone)]
pub(super) struct RepoCache {
    root: PathBuf,
    locks: PathBuf,
}

/// The right to download a blob, as far as the file system can guarantee it.
#[derive(Debug)]
pub(super) enum BlobLock {
    /// No other process of this machine has it. It is released with the file's handle.
    Held { _file: fs::File },
    /// Everybody gets it: this file system only pretends to lock.
    Worthless,
    /// This file system has no locks; holds the reason.
    Absent(String),
}

impl RepoCache {
    pub(super) fn new(cache_dir: &Path, repo: &str) -> RepoCache {
        let folder = format!("models--{}", repo.replace('/', "--"));
        RepoCache { root: cache_dir.join(&folder), locks: cache_dir.join(".locks").join(folder) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// Returns the path of a complete file's bytes, by the hub's name for them.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.blobs().join(etag)
    }

    /// Returns the part of a blob that has been transferred, to resume from.
    pub(super) fn partial(&self, etag: &str, lock: &BlobLock) -> Result<Partial, HubError> {
        let alone = matches!(lock, BlobLock::Held { .. });
        Partial::claim(&self.blobs(), etag, alone).map_err(HubError::disk(&self.blob(etag)))
    }

    /// Returns the commit that a revision was when it was last downloaded; a commit is itself.
    pub(super) fn read_ref(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return self.snapshot(revision).is_dir().then(|| revision.to_owned());
        }
        let commit = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes which commit a revision is, unless that is already noted.
    pub(super) fn write_ref(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if is_commit(revision) || self.read_ref(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        replace(&path, |temporary| fs::write(temporary, commit)).map_err(HubError::disk(&path))
    }

    /// Gives a complete blob its name in a snapshot.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(file);
        let up = "../".repeat(2 + file.matches('/').count());
        let blob = self.blob(etag);
        replace(&path, |temporary| link(&blob, &format!("{up}blobs/{etag}"), temporary))
            .map_err(HubError::disk(&path))
    }

    /// Removes from a snapshot the files whose content does not match their blobs' names, together with these blobs.
    /// Reads the whole snapshot. Returns their names.
    pub(super) fn drop_damaged(&self, commit: &str) -> Result<Vec<String>, HubError> {
        let (snapshot, mut damaged) = (self.snapshot(commit), Vec::new());
        for file in list(&snapshot) {
            let path = snapshot.join(&file);
            let blob = fs::canonicalize(&path).map_err(HubError::disk(&path))?;
            let is_link = path.is_symlink();
            let name = blob.file_name().unwrap_or_default().to_string_lossy();
            if is_link && checksum::kind(&name).is_none() {
                continue;
            }
            let sums = Checksums::of(&blob).map_err(HubError::disk(&path))?;
            // A copy does not say which blob it came from.
            let is_sound = |sum: &str| match is_link {
                true => name.eq_ignore_ascii_case(sum),
                false => self.blob(sum).is_file(),
            };
            if is_sound(&sums.sha256) || is_sound(&sums.git_sha1) {
                continue;
            }
            if is_link {
                fs::remove_file(&blob).map_err(HubError::disk(&blob))?;
            }
            fs::remove_file(&path).map_err(HubError::disk(&path))?;
            damaged.push(file);
        }
        Ok(damaged)
    }

    /// Waits until no other process downloads this blob, if the file system can tell.
    pub(super) async fn lock(&self, etag: &str) -> Result<BlobLock, HubError> {
        let path = self.locks.join(format!("{etag}.lock"));
        let absent = |why: io::Error| Ok(BlobLock::Absent(format!("{}: {why}", path.display())));
        let made = fs::create_dir_all(&self.locks).and_then(|()| fs::File::create(&path));
        let file = match made {
            Ok(file) => file,
            Err(why) => return absent(why),
        };
        let size = || partial::bytes(&self.blobs(), etag);
        let (mut seen, mut since) = (size(), Instant::now());
        loop {
            match file.try_lock() {
                Ok(()) if excludes(&path) => return Ok(BlobLock::Held { _file: file }),
                Ok(()) => return Ok(BlobLock::Worthless),
                Err(fs::TryLockError::Error(why)) => return absent(why),
                Err(fs::TryLockError::WouldBlock) => {}
            }
            let now = size();
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() > LOCK_PATIENCE {
                return Err(HubError::Locked { lock: path.display().to_string() });
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }
}

/// Returns whether a revision is a commit's full hash.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns whether a held lock keeps another handle out.
fn excludes(path: &Path) -> bool {
    let other = fs::File::options().write(true).open(path);
    other.is_ok_and(|other| matches!(other.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// Makes a file under another name and moves it into place, so that it is never seen half-made.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", unique()));
    make(&temporary).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Makes a symbolic link or, if that is not possible (another file system, a missing privilege), a hard link or a copy.
fn link(blob: &Path, relative: &str, path: &Path) -> io::Result<()> {
    symlink(relative, path)
        .or_else(|_| fs::hard_link(blob, path))
        .or_else(|_| fs::copy(blob, path).map(|_| ()))
}

#[cfg(unix)]
fn symlink(relative: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(relative, path)
}

#[cfg(not(unix))]
fn symlink(_relative: &str, _path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_gets_its_name_where_there_are_no_symbolic_links() {
        let folder = tempfile::tempdir().unwrap();
        let blob = folder.path().join("blob");
        fs::write(&blob, "content").unwrap();
        // A symbolic link cannot have an empty target.
        let path = folder.path().join("name");
        link(&blob, "", &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "content");
        assert!(!path.is_symlink());
    }

    /// A file on another file system cannot be hard-linked either.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_blob_is_copied_where_there_are_no_links_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (blob, path) = (Path::new("/proc/version"), folder.path().join("name"));
        link(blob, "", &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), fs::read(blob).unwrap());
        assert!(path.metadata().unwrap().is_file() && !path.is_symlink());
    }

    #[test]
    fn a_file_that_cannot_be_made_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("name");
        let half_made = |temporary: &Path| {
            fs::write(temporary, "half")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        replace(&path, half_made).unwrap_err();
        // Nor does one that cannot be moved into place.
        fs::create_dir(&path).unwrap();
        replace(&path, |temporary| fs::write(temporary, "whole")).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_that_is_held_keeps_another_handle_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let file = fs::File::create(&path).unwrap();
        assert!(!excludes(&path), "nobody holds it");
        file.try_lock().unwrap();
        assert!(excludes(&path));
    }
}
