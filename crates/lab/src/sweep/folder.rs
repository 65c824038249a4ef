//! The folder of a sweep: checks that it belongs to this experiment, and knows the path of each cell.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use answer::file::lock;

use super::{
    error::SweepError,
    experiment::{Experiment, NAME},
};
use crate::link::{LinkProfile, Links};

/// The folder of the report, inside the folder of one sweep or of several.
pub const REPORT: &str = "report";

/// An open folder. No other sweep can have it open, if the file system supports locks.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_locked: bool,
    /// Holds the lock.
    _file: File,
}

impl Folder {
    /// Creates or resumes the folder of an experiment.
    ///
    /// # Errors
    /// When it cannot be used, or belongs to another experiment.
    pub fn open(path: &Path, experiment: &Experiment) -> Result<Folder, SweepError> {
        let files = |why| SweepError::Files { path: path.to_owned(), why };
        let not_a_sweep = |why: String| SweepError::NotASweep { path: path.to_owned(), why };
        fs::create_dir_all(path).map_err(files)?;
        let name = path.join(NAME);
        if !name.exists() && fs::read_dir(path).map_err(files)?.next().is_some() {
            return Err(not_a_sweep(format!("it contains files, but no {NAME}")));
        }
        let mut options = File::options();
        options.read(true).append(true).create(true);
        let mut file = options.open(&name).map_err(files)?;
        let is_locked = lock(&file)
            .is_exclusive()
            .ok_or_else(|| SweepError::Locked { path: path.to_owned() })?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(files)?;
        if text.is_empty() {
            let text = toml::to_string(experiment).map_err(|why| files(io::Error::other(why)))?;
            file.write_all(text.as_bytes()).map_err(files)?;
        } else {
            let found = Experiment::parse(&text).map_err(not_a_sweep)?;
            if let Some(what) = found.difference(experiment) {
                return Err(SweepError::OtherExperiment { path: path.to_owned(), what });
            }
        }
        Ok(Folder { path: path.to_owned(), is_locked, _file: file })
    }

    /// Returns whether no other sweep can write to it meanwhile; `false` if the file system has no locks.
    pub(super) fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Checks that a folder can hold these pairs' folders: it does not exist yet, or it holds only such folders of the
    /// same experiment, with these pairs or others, and their report.
    ///
    /// # Errors
    /// When it holds anything else, or cannot be read.
    pub fn of_pairs(path: &Path, pairs: &[Experiment]) -> Result<(), SweepError> {
        let files = |why| SweepError::Files { path: path.to_owned(), why };
        let not_pairs = |why: String| SweepError::NotASweep { path: path.to_owned(), why };
        let entries = match fs::read_dir(path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(files)?,
        };
        if Experiment::is_in(path) {
            return Err(not_pairs("it belongs to a sweep without --pair".to_owned()));
        }
        for entry in entries {
            let entry = entry.map_err(files)?.path();
            if entry.ends_with(REPORT) || !entry.is_dir() {
                continue;
            }
            if !Experiment::is_in(&entry) {
                return Err(not_pairs(format!("{} does not belong to a pair", entry.display())));
            }
            let found = Experiment::read(&entry)?;
            let ours = pairs.iter().find(|pair| pair.pair_name == found.pair_name).cloned();
            let ours = ours.or_else(|| pairs.first().map(|pair| pair.with_pair_of(&found)));
            if let Some(what) = ours.and_then(|ours| found.difference(&ours)) {
                return Err(SweepError::OtherExperiment { path: entry, what });
            }
        }
        Ok(())
    }

    /// Returns the folder of a cell, which is created if needed.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(super) fn cell(&self, policy: &str, link: &str, seed: u64) -> Result<PathBuf, SweepError> {
        let path = cell_path(&self.path, policy, link, seed);
        let made = fs::create_dir_all(path.join("journals"));
        made.map_err(|why| SweepError::Files { path: path.clone(), why })?;
        Ok(path)
    }
}

/// Returns the path of a cell's folder in a sweep's folder.
pub(crate) fn cell_path(folder: &Path, policy: &str, link: &str, seed: u64) -> PathBuf {
    folder.join(file_name(policy)).join(file_name(link)).join(format!("seed-{seed}"))
}

/// Returns the path of a question's journal in a cell's folder.
pub(crate) fn journal_path(cell: &Path, id: &str) -> PathBuf {
    cell.join("journals").join(format!("{}.jsonl", file_name(id)))
}

/// Returns the link that the journals in a folder were recorded over, from the sweep's experiment, or `None` if the
/// folder is not a sweep's.
pub fn link_of(journals: &Path) -> Option<LinkProfile> {
    let path = fs::canonicalize(journals).ok()?;
    // SWEEP/POLICY/LINK/seed-N/journals
    let (link, sweep) = (path.ancestors().nth(2)?.file_name()?, path.ancestors().nth(4)?);
    let links = Experiment::read(sweep).ok()?.links;
    let (name, description) = links.iter().find(|(name, _)| *file_name(name) == *link)?;
    let profile = Links::shipped().ok()?.link(description).ok()?;
    Some(LinkProfile { name: name.clone(), ..profile })
}

/// Converts a text to a file name: anything except letters, digits and `-_.=,` is written as its bytes in hex after a
/// percent sign. Different texts give different names.
pub fn file_name(text: &str) -> String {
    let mut name = String::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            // A name that begins with a dot is hidden, or means a folder itself.
            b'.' if at == 0 => name.push_str("%2e"),
            b'-' | b'_' | b'.' | b'=' | b',' => name.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => {
                let _ = write!(name, "%{byte:02x}");
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn any_text_is_a_name_and_no_two_are_the_same() {
        assert_eq!(file_name("random:share=0.3"), "random%3ashare=0.3");
        assert_eq!(file_name("test/algebra/1.json"), "test%2falgebra%2f1.json");
        assert_eq!(file_name(".."), "%2e.");
        assert_ne!(file_name("a%2f"), file_name("a/"));
    }
}
