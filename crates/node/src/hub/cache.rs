//! The hub's cache on disk: `models--OWNER--NAME/{blobs,refs,snapshots}`, as every client of the hub
//! lays it out. A name in `snapshots` appears only when its blob is whole and checked.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use super::HubError;

/// How long a lock may be held by a process that makes no progress.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
const LOCK_POLL: Duration = Duration::from_millis(200);

/// One repository's folder in the cache.
#[derive(Debug, Clone)]
pub(super) struct RepoCache {
    root: PathBuf,
    locks: PathBuf,
}

impl RepoCache {
    pub(super) fn new(cache_dir: &Path, repo: &str) -> RepoCache {
        let folder = format!("models--{}", repo.replace('/', "--"));
        RepoCache { root: cache_dir.join(&folder), locks: cache_dir.join(".locks").join(folder) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// A whole file's bytes, by the hub's name for them.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// The part of a blob that has been transferred.
    pub(super) fn partial(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// The commit that a revision was when it was last downloaded; a commit is itself.
    pub(super) fn read_ref(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return self.snapshot(revision).is_dir().then(|| revision.to_owned());
        }
        let commit = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes which commit a revision is.
    pub(super) fn write_ref(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if is_commit(revision) {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        replace(&path, |temporary| fs::write(temporary, commit)).map_err(HubError::disk(&path))
    }

    /// Gives a whole blob its name in a snapshot.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<PathBuf, HubError> {
        let path = self.snapshot(commit).join(file);
        let up = "../".repeat(2 + file.matches('/').count());
        let blob = self.blob(etag);
        replace(&path, |temporary| link(&blob, &format!("{up}blobs/{etag}"), temporary))
            .map_err(HubError::disk(&path))?;
        Ok(path)
    }

    /// Waits until no other process downloads this blob. The lock goes with the file's handle.
    pub(super) async fn lock(&self, etag: &str) -> Result<fs::File, HubError> {
        let path = self.locks.join(format!("{etag}.lock"));
        fs::create_dir_all(&self.locks).map_err(HubError::disk(&path))?;
        let file = fs::File::create(&path).map_err(HubError::disk(&path))?;
        let size = || fs::metadata(self.partial(etag)).map_or(0, |data| data.len());
        let (mut seen, mut since) = (size(), Instant::now());
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::Error(why)) => return Err(HubError::disk(&path)(why)),
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
}

/// Whether a revision is a commit's full hash.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Makes a file under another name and moves it into place, so that it is never seen half-made.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    make(&temporary).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(unix)]
fn link(_blob: &Path, relative: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(relative, path)
}

/// Symbolic links need a privilege there; a hard link needs none.
#[cfg(not(unix))]
fn link(blob: &Path, _relative: &str, path: &Path) -> io::Result<()> {
    fs::hard_link(blob, path).or_else(|_| fs::copy(blob, path).map(|_| ()))
}
