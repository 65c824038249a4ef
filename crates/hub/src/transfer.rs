//! Transfers files into the cache. What is there is left alone, what was cut is resumed, and what arrives is checked
//! before it gets its name.

use std::{
    fs, io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::io::AsyncWriteExt as _;

use super::{
    HubError,
    cache::{BlobLock, RepoCache},
    checksum::{Checksums, Head},
    client::{Client, pause},
};
use crate::console::{Console, ConsoleProgress};

/// A transfer is given up after this many failures in a row without a byte between them.
const FAILURES: u32 = 4;

/// The transfer of files of one commit.
pub(super) struct Transfer<'a> {
    pub(super) client: &'a Client,
    pub(super) cache: &'a RepoCache,
    pub(super) commit: &'a str,
    pub(super) console: &'a Console,
    /// Whether the note that the cache has no locks was printed.
    pub(super) said_unlocked: AtomicBool,
}

impl Transfer<'_> {
    /// Ensures that all these files are in the commit's snapshot.
    pub(super) async fn all(&self, files: &[String]) -> Result<(), HubError> {
        for file in files {
            if !self.cache.snapshot(self.commit).join(file).is_file() {
                self.one(file).await?;
            }
        }
        Ok(())
    }

    async fn one(&self, file: &str) -> Result<(), HubError> {
        let head = self.client.head(self.commit, file).await?;
        let lock = self.cache.lock(&head.etag).await?;
        if let BlobLock::Absent(why) = &lock
            && !self.said_unlocked.swap(true, Ordering::Relaxed)
        {
            self.console.note(&format!(
                "the cache cannot be locked ({why}); other nodes may download the same file meanwhile"
            ));
        }
        let blob = self.cache.blob(&head.etag);
        if !self.is_sound(&blob, &head).await? {
            let partial = self.cache.partial(&head.etag, &lock)?;
            self.bytes(file, &head, partial.path(), &blob).await?;
        }
        drop(lock);
        self.cache.link(self.commit, file, &head.etag)
    }

    /// Returns whether this blob exists and its content matches its name.
    async fn is_sound(&self, blob: &Path, head: &Head) -> Result<bool, HubError> {
        let (path, head) = (blob.to_owned(), head.clone());
        let read = blocking(move || match Checksums::of(&path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            sums => sums.map(|sums| Some(sums.check(&head))),
        });
        match read.await.map_err(HubError::disk(blob))? {
            Some(Ok(())) => Ok(true),
            None => Ok(false),
            Some(Err(why)) => {
                let blob = blob.display();
                self.console.note(&format!("{blob} is damaged ({why}) and is downloaded again"));
                Ok(false)
            }
        }
    }

    /// Fills the partial file until it is complete, and makes it the blob.
    async fn bytes(
        &self,
        file: &str,
        head: &Head,
        partial: &Path,
        blob: &Path,
    ) -> Result<(), HubError> {
        let mut progress = self.console.progress(file, head.bytes);
        // What an earlier download left may be wrong.
        let mut is_resumed = length(partial, head)? > 0;
        let mut failures = 0;
        loop {
            let mut written = length(partial, head)?;
            progress.set(written);
            let before = written;
            match self.piece(file, head, partial, &mut written, &mut progress).await {
                Ok(()) => {}
                Err(error @ HubError::Unreachable { .. }) => {
                    failures = if written > before { 1 } else { failures + 1 };
                    if failures >= FAILURES {
                        return Err(error);
                    }
                    tracing::debug!(%error, file, written, "the transfer was cut; resuming");
                    tokio::time::sleep(pause(failures)).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let why = match settle(partial, blob, head).await? {
                Settled::Whole => {
                    progress.done();
                    return Ok(());
                }
                Settled::Gone if self.is_sound(blob, head).await? => return Ok(()),
                Settled::Gone => {
                    failures += 1;
                    "another process took it".to_owned()
                }
                Settled::Differs(why) => {
                    failures = if std::mem::take(&mut is_resumed) { 0 } else { FAILURES };
                    why
                }
            };
            if failures >= FAILURES {
                return Err(HubError::Damaged { file: file.to_owned(), why });
            }
            tracing::debug!(why, file, "the transferred content is wrong; starting over");
        }
    }

    /// Makes one request and appends its bytes to the partial file.
    async fn piece(
        &self,
        file: &str,
        head: &Head,
        partial: &Path,
        written: &mut u64,
        progress: &mut ConsoleProgress,
    ) -> Result<(), HubError> {
        if *written == head.bytes && head.bytes > 0 {
            return Ok(());
        }
        let mut answer = self.client.get(self.commit, file, *written).await?;
        if *written > 0 && !continues_at(&answer, *written) {
            // The server cannot resume, or the partial file has changed: start over.
            std::fs::remove_file(partial).map_err(HubError::disk(partial))?;
            *written = 0;
            if answer.status() == 416 {
                answer = self.client.get(self.commit, file, 0).await?;
            }
        }
        let mut out = tokio::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(partial)
            .await
            .map_err(HubError::disk(partial))?;
        let result = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    *written += chunk.len() as u64;
                    if *written > head.bytes {
                        break Err(HubError::Damaged {
                            file: file.to_owned(),
                            why: format!("more than the announced {} bytes", head.bytes),
                        });
                    }
                    out.write_all(&chunk).await.map_err(HubError::disk(partial))?;
                    progress.set(*written);
                }
                Ok(None) if *written < head.bytes => {
                    break Err(HubError::Unreachable {
                        endpoint: answer.url().host_str().unwrap_or_default().to_owned(),
                        why: format!("the transfer ended at byte {written} of {}", head.bytes),
                    });
                }
                Ok(None) => break Ok(()),
                Err(why) => break Err(self.client.unreachable(&why)),
            }
        };
        // Also after a cut: the next attempt reads the file to see where to resume.
        out.sync_all().await.map_err(HubError::disk(partial))?;
        if let Err(HubError::Damaged { .. }) = &result {
            let _ = std::fs::remove_file(partial);
        }
        result
    }
}

/// Returns whether the answer is the rest of the file from `start` on.
fn continues_at(answer: &reqwest::Response, start: u64) -> bool {
    let range = answer.headers().get("content-range").and_then(|value| value.to_str().ok());
    answer.status() == 206
        && range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}

/// Returns how much of the file is there. Deletes a file that is too long.
fn length(partial: &Path, head: &Head) -> Result<u64, HubError> {
    match fs::metadata(partial) {
        Ok(data) if data.len() <= head.bytes => Ok(data.len()),
        Ok(_) => fs::remove_file(partial).map(|()| 0).map_err(HubError::disk(partial)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(why) => Err(HubError::disk(partial)(why)),
    }
}

/// The outcome of settling a partial file.
enum Settled {
    /// It matches its name, and is the blob from now on.
    Whole,
    /// It differs, and was deleted.
    Differs(String),
    /// It is missing: without a lock, another process took it for an abandoned one.
    Gone,
}

/// Makes the partial file the blob if its content on disk matches the blob's name.
async fn settle(partial: &Path, blob: &Path, head: &Head) -> Result<Settled, HubError> {
    let (from, to, head) = (partial.to_owned(), blob.to_owned(), head.clone());
    let settled = blocking(move || match Checksums::of(&from)?.check(&head) {
        Ok(()) => fs::rename(&from, &to).map(|()| Settled::Whole),
        Err(why) => fs::remove_file(&from).map(|()| Settled::Differs(why)),
    });
    match settled.await {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Settled::Gone),
        settled => settled.map_err(HubError::disk(blob)),
    }
}

/// Reads files on a thread that may block.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other).flatten()
}
