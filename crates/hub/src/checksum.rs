//! The hub's description of a file's content, and whether a file on disk matches it.

use std::{fs::File, io::Read as _, path::Path};

use sha1::Digest as _;

/// What the hub announces about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The hub's name for its content: a SHA-256, a git blob's SHA-1, or anything else that can be a file name.
    pub(super) etag: String,
    /// Its length in bytes.
    pub(super) bytes: u64,
}

/// The checksums of a file on disk, in hex.
pub(super) struct Checksums {
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// Of a git blob: a header with the length, then the content.
    pub(super) git_sha1: String,
}

impl Checksums {
    /// Computes the checksums of a file. Reads all of it.
    pub(super) fn of(path: &Path) -> std::io::Result<Checksums> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut sha256 = sha2::Sha256::new();
        let mut git_sha1 = sha1::Sha1::new().chain_update(format!("blob {length}\0").as_bytes());
        let (mut bytes, mut buffer) = (0, vec![0; 1 << 20]);
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => {
                    sha256.update(&buffer[..n]);
                    git_sha1.update(&buffer[..n]);
                    bytes += n as u64;
                }
            }
        }
        let (sha256, git_sha1) = (hex(&sha256.finalize()), hex(&git_sha1.finalize()));
        Ok(Checksums { bytes, sha256, git_sha1 })
    }

    /// Checks the file against what the hub announced. The error says what differs.
    pub(super) fn check(&self, head: &Head) -> Result<(), String> {
        if self.bytes != head.bytes {
            return Err(format!("it has {} of {} bytes", self.bytes, head.bytes));
        }
        let (name, got) = match kind(&head.etag) {
            Some(Kind::Sha256) => ("SHA-256", &self.sha256),
            Some(Kind::GitSha1) => ("git SHA-1", &self.git_sha1),
            None => return Ok(()),
        };
        if got.eq_ignore_ascii_case(&head.etag) {
            Ok(())
        } else {
            Err(format!("its {name} is {got}, not {} as announced", head.etag))
        }
    }
}

/// The kind of checksum that a blob's name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sha256,
    GitSha1,
}

/// Returns which checksum a blob's name is; `None` if it says nothing about the content.
pub(super) fn kind(etag: &str) -> Option<Kind> {
    let hex = etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    match etag.len() {
        64 if hex => Some(Kind::Sha256),
        40 if hex => Some(Kind::GitSha1),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
