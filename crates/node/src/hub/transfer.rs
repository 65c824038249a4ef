//! The transfer of files into the cache: what is there is left alone, what was cut is gone on with,
//! what arrives is checked before it gets its name.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use sha1::Digest as _;
use tokio::io::AsyncWriteExt as _;

use super::{
    HubError,
    cache::RepoCache,
    client::{Client, Head, pause},
};
use crate::progress::{Console, ConsoleProgress};

/// A transfer is given up after this many failures in a row, none of which brought a byte.
const FAILURES: u32 = 4;

/// The transfer of files of one commit.
pub(super) struct Transfer<'a> {
    pub(super) client: &'a Client,
    pub(super) cache: &'a RepoCache,
    pub(super) commit: &'a str,
    pub(super) console: &'a Console,
}

impl Transfer<'_> {
    /// Sees to it that all these files are in the commit's snapshot.
    pub(super) async fn all(&self, files: &[String]) -> Result<(), HubError> {
        for file in files {
            if !self.cache.snapshot(self.commit).join(file).is_file() {
                self.one(file).await?;
            }
        }
        Ok(())
    }

    async fn one(&self, file: &str) -> Result<PathBuf, HubError> {
        let head = self.client.head(self.commit, file).await?;
        let blob = self.cache.blob(&head.etag);
        let lock = self.cache.lock(&head.etag).await?;
        if !blob.is_file() {
            let partial = self.cache.partial(&head.etag);
            if let Some(folder) = partial.parent() {
                std::fs::create_dir_all(folder).map_err(HubError::disk(folder))?;
            }
            self.bytes(file, &head, &partial).await?;
            std::fs::rename(&partial, &blob).map_err(HubError::disk(&blob))?;
        }
        drop(lock);
        self.cache.link(self.commit, file, &head.etag)
    }

    /// Fills the partial file until it is the whole one.
    async fn bytes(&self, file: &str, head: &Head, partial: &Path) -> Result<(), HubError> {
        let mut progress = self.console.progress(file, head.bytes);
        let mut failures = 0;
        loop {
            let (mut written, mut check) = resume(partial, head).await?;
            progress.set(written);
            let before = written;
            let result =
                self.piece(file, head, partial, &mut written, &mut check, &mut progress).await;
            match result {
                Ok(()) => {
                    if let Err(why) = check.verify(head) {
                        let _ = std::fs::remove_file(partial);
                        return Err(HubError::Damaged { file: file.to_owned(), why });
                    }
                    progress.done();
                    return Ok(());
                }
                Err(error @ HubError::Unreachable { .. }) => {
                    failures = if written > before { 1 } else { failures + 1 };
                    if failures >= FAILURES {
                        return Err(error);
                    }
                    tracing::debug!(%error, file, written, "the transfer was cut; going on");
                    tokio::time::sleep(pause(failures)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One request's worth of bytes, added to the partial file.
    async fn piece(
        &self,
        file: &str,
        head: &Head,
        partial: &Path,
        written: &mut u64,
        check: &mut Check,
        progress: &mut ConsoleProgress,
    ) -> Result<(), HubError> {
        if *written == head.bytes && head.bytes > 0 {
            return Ok(());
        }
        let mut answer = self.client.get(self.commit, file, *written).await?;
        if *written > 0 && !continues_at(&answer, *written) {
            // The server cannot, or the partial file is not what it was: from the start.
            std::fs::remove_file(partial).map_err(HubError::disk(partial))?;
            *written = 0;
            *check = Check::new(head);
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
                    check.update(&chunk);
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
        // Also after a cut: the next attempt reads the file to see where it goes on.
        out.sync_all().await.map_err(HubError::disk(partial))?;
        if let Err(HubError::Damaged { .. }) = &result {
            let _ = std::fs::remove_file(partial);
        }
        result
    }
}

/// Whether the answer is the rest of the file from here on.
fn continues_at(answer: &reqwest::Response, start: u64) -> bool {
    let range = answer.headers().get("content-range").and_then(|value| value.to_str().ok());
    answer.status() == 206
        && range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}

/// Reads what was transferred before: its length, and the checksum so far. A file that is too long is dropped.
async fn resume(partial: &Path, head: &Head) -> Result<(u64, Check), HubError> {
    let (path, head) = (partial.to_owned(), head.clone());
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<(u64, Check)> {
        let mut check = Check::new(&head);
        let mut file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok((0, check)),
            Err(why) => return Err(why),
        };
        if file.metadata()?.len() > head.bytes {
            std::fs::remove_file(&path)?;
            return Ok((0, check));
        }
        let (mut bytes, mut buffer) = (0, vec![0; 1 << 20]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok((bytes, check)),
                n => {
                    check.update(&buffer[..n]);
                    bytes += n as u64;
                }
            }
        }
    });
    read.await.map_err(std::io::Error::other).flatten().map_err(HubError::disk(partial))
}

/// The checksum that a blob's name is, where it is one.
enum Check {
    Sha256(sha2::Sha256),
    /// Of a git blob: a header with the length, then the content.
    GitSha1(sha1::Sha1),
    /// The name says nothing; only the length is checked.
    Length,
}

impl Check {
    fn new(head: &Head) -> Check {
        let hex = head.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        match head.etag.len() {
            64 if hex => Check::Sha256(sha2::Sha256::new()),
            40 if hex => Check::GitSha1(
                sha1::Sha1::new().chain_update(format!("blob {}\0", head.bytes).as_bytes()),
            ),
            _ => Check::Length,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Check::Sha256(hash) => hash.update(bytes),
            Check::GitSha1(hash) => hash.update(bytes),
            Check::Length => {}
        }
    }

    fn verify(self, head: &Head) -> Result<(), String> {
        let (name, got) = match self {
            Check::Sha256(hash) => ("SHA-256", hex(&hash.finalize())),
            Check::GitSha1(hash) => ("git SHA-1", hex(&hash.finalize())),
            Check::Length => return Ok(()),
        };
        if got.eq_ignore_ascii_case(&head.etag) {
            Ok(())
        } else {
            Err(format!("its {name} is {got}, announced was {}", head.etag))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
