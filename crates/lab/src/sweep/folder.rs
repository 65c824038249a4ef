//! The folder of a sweep: which experiment it is of, and where each cell is.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The version of the folder's layout.
const VERSION: u32 = 1;
/// The experiment's file.
const NAME: &str = "sweep.toml";

/// Everything that the results of a sweep depend on, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// The layout's version.
    pub specthink_sweep: u32,
    /// The data set's file name.
    pub data_set: String,
    /// SHA-256 of the data set's file, in hex.
    pub data_set_sha256: String,
    /// How many questions are asked.
    pub questions: u64,
    /// Who grades.
    pub grader: String,
    /// Questions at a time: they share the link and the nodes, so that it is part of what is measured.
    pub parallel: u16,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The small nodes' models, and the large node's.
    pub models: Vec<String>,
    /// The policies: for each what its results depend on beside the seed, as JSON.
    pub policies: BTreeMap<String, String>,
    /// The links by name, as descriptions.
    pub links: BTreeMap<String, String>,
}

impl Experiment {
    /// The version that this program writes.
    pub const VERSION: u32 = VERSION;

    /// The first thing that another experiment has otherwise.
    fn difference(&self, other: &Experiment) -> Option<&'static str> {
        let differences = [
            ("layout", self.specthink_sweep != other.specthink_sweep),
            ("data set", self.data_set_sha256 != other.data_set_sha256),
            ("--limit", self.questions != other.questions),
            ("--grader", self.grader != other.grader),
            ("--parallel", self.parallel != other.parallel),
            ("--seed", self.seeds != other.seeds),
            ("model", self.models != other.models),
            ("policy, or setting of the answers", self.policies != other.policies),
            ("link", self.links != other.links),
        ];
        differences.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what)
    }
}

/// Why a sweep's folder cannot be used. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Something cannot be read or written.
    #[error("cannot use {}: {why}; give --out a folder that can be read and written", path.display())]
    Files {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// The folder holds something else.
    #[error("{} holds no sweep: {why}; give --out an empty or a new folder", path.display())]
    NotASweep {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The folder is another experiment's.
    #[error(
        "{} is of an experiment with another {what}: give --out another folder, or the settings that it began with",
        path.display()
    )]
    OtherExperiment {
        /// The folder.
        path: PathBuf,
        /// The first setting that differs.
        what: &'static str,
    },
    /// Another sweep writes it.
    #[error("another sweep is writing to {}: wait for it, or give --out another folder", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}

/// An open folder. No other sweep can have it open.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Folder {
    /// Begins the folder of an experiment, or goes on in it.
    ///
    /// # Errors
    /// When it cannot be used, or is of another experiment.
    pub fn open(path: &Path, experiment: &Experiment) -> Result<Folder, SweepError> {
        let files = |why| SweepError::Files { path: path.to_owned(), why };
        let not_a_sweep = |why: String| SweepError::NotASweep { path: path.to_owned(), why };
        fs::create_dir_all(path).map_err(files)?;
        let name = path.join(NAME);
        if !name.exists() && fs::read_dir(path).map_err(files)?.next().is_some() {
            return Err(not_a_sweep(format!("there are files, and no {NAME}")));
        }
        let mut options = File::options();
        options.read(true).append(true).create(true);
        let mut file = options.open(&name).map_err(files)?;
        file.try_lock().map_err(|why| match why {
            TryLockError::WouldBlock => SweepError::Locked { path: path.to_owned() },
            TryLockError::Error(why) => files(why),
        })?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(files)?;
        if text.is_empty() {
            let text = toml::to_string(experiment).map_err(|why| files(io::Error::other(why)))?;
            file.write_all(text.as_bytes()).map_err(files)?;
        } else {
            let found: Experiment = toml::from_str(&text)
                .map_err(|why| not_a_sweep(format!("{NAME}: {}", why.message())))?;
            if let Some(what) = found.difference(experiment) {
                return Err(SweepError::OtherExperiment { path: path.to_owned(), what });
            }
        }
        Ok(Folder { path: path.to_owned(), _file: file })
    }

    /// The folder of a cell; made where it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn cell(&self, policy: &str, link: &str, seed: u64) -> Result<PathBuf, SweepError> {
        let path = self.path.join(file_name(policy)).join(file_name(link));
        let path = path.join(format!("seed-{seed}"));
        let made = fs::create_dir_all(path.join("journals"));
        made.map_err(|why| SweepError::Files { path: path.clone(), why })?;
        Ok(path)
    }
}

/// A text as a file's name: what is neither a letter, a digit nor one of `-_.=,` is written as its bytes in hex after
/// a percent sign. Different texts give different names.
pub fn file_name(text: &str) -> String {
    let mut name = String::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            // A name that begins with a dot is hidden, or a folder's own.
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
