//! The file that a download fills until it is complete. Every download has one of its own, so that no other one writes
//! into it, however reliable locks are on this file system. What a failed download left is found by its name and
//! resumed.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// A partial file that has not been written to for this long is abandoned, if there is no lock to tell. Checking a
/// whole file takes minutes.
const ABANDONED: Duration = Duration::from_secs(600);

/// A download's own partial file. Dropping it leaves what it has to the next download of the same content.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    /// Where it is left when the download ends; the hub's other clients look there too.
    left: PathBuf,
}

impl Partial {
    /// Takes over the largest file that another download of this content left, or starts a new one. `alone` says that
    /// no other download of it runs, so that every partial file is abandoned.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub(super) fn claim(blobs: &Path, etag: &str, alone: bool) -> io::Result<Partial> {
        fs::create_dir_all(blobs)?;
        let partial = Partial {
            path: blobs.join(format!("{etag}.{}.incomplete", unique())),
            left: blobs.join(format!("{etag}.incomplete")),
        };
        let mut left: Vec<(u64, PathBuf)> = all(blobs, etag)
            .filter(|(_, data)| alone || is_abandoned(data))
            .map(|(path, data)| (data.len(), path))
            .collect();
        left.sort();
        // Another download may take one first.
        while let Some((_, path)) = left.pop() {
            if fs::rename(path, &partial.path).is_ok() {
                break;
            }
        }
        if alone {
            // The smaller ones are of no more use.
            for (_, path) in left {
                let _ = fs::remove_file(path);
            }
        }
        Ok(partial)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It no longer exists if it became a blob.
        let _ = fs::rename(&self.path, &self.left);
    }
}

/// Returns how many bytes all partial files of this content have.
pub(super) fn bytes(blobs: &Path, etag: &str) -> u64 {
    all(blobs, etag).map(|(_, data)| data.len()).sum()
}

/// Returns a word that no other process and no other call has, on any machine.
pub(super) fn unique() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

fn all(blobs: &Path, etag: &str) -> impl Iterator<Item = (PathBuf, fs::Metadata)> {
    let (begin, end) = (format!("{etag}."), "incomplete");
    let entries = fs::read_dir(blobs).into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let name = entry.file_name().into_string().ok()?;
        let ours = name.starts_with(&begin) && name.ends_with(end);
        let data = entry.metadata().ok().filter(|data| ours && data.is_file())?;
        Some((entry.path(), data))
    })
}

fn is_abandoned(data: &fs::Metadata) -> bool {
    data.modified().is_ok_and(|at| at.elapsed().is_ok_and(|since| since > ABANDONED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_left_is_taken_up_and_left_again() {
        let folder =
            folder(&[("e.incomplete", "a"), ("e.1.incomplete", "ab"), ("f.incomplete", "x")]);
        let partial = Partial::claim(folder.path(), "e", true).unwrap();
        assert_eq!(fs::read_to_string(partial.path()).unwrap(), "ab", "the largest");
        drop(partial);
        assert_eq!(names(folder.path()), ["e.incomplete", "f.incomplete"]);
        assert_eq!(fs::read_to_string(folder.path().join("e.incomplete")).unwrap(), "ab");
    }

    #[test]
    fn without_a_lock_only_what_nobody_writes_any_more_is_taken() {
        let folder = folder(&[("e.1.incomplete", "ab")]);
        let first = Partial::claim(folder.path(), "e", false).unwrap();
        assert!(!first.path().exists(), "another download may be writing that file");
        let second = Partial::claim(folder.path(), "e", false).unwrap();
        assert_ne!(first.path(), second.path());
        let left = fs::File::options().append(true).open(folder.path().join("e.1.incomplete"));
        left.unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        let third = Partial::claim(folder.path(), "e", false).unwrap();
        assert_eq!(fs::read_to_string(third.path()).unwrap(), "ab");
    }
}
